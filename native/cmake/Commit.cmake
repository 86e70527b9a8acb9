# cmake -DSOURCE=... -DHEADER=... -P Commit.cmake: writes SMPO_COMMIT, the git commit of the sources, with "-dirty" when
# tracked files have changes and "unknown" where there is no git or no repository. An unchanged header is not touched.
set(commit unknown)
find_program(git git)
if(git)
  execute_process(COMMAND ${git} -C ${SOURCE} rev-parse HEAD
    RESULT_VARIABLE failed OUTPUT_VARIABLE head ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    set(commit ${head})
    # Not every git writes to a repository it only reads: a lock taken here could fail somebody's commit.
    execute_process(COMMAND ${git} --no-optional-locks -C ${SOURCE} status --porcelain --untracked-files=no
      RESULT_VARIABLE failed OUTPUT_VARIABLE changes ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(failed OR NOT changes STREQUAL "")
      string(APPEND commit -dirty)
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#define SMPO_COMMIT \"${commit}\"\n" @ONLY)
