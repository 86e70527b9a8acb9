# cmake -DSOURCE=... -DHEADER=... -P Commit.cmake: writes SMPO_COMMIT, the git commit of the sources: with "-dirty" if
# tracked files have changes, "unknown" without git or without a repository. Leaves an unchanged header alone.
set(commit unknown)
find_program(git git)
if(git)
  execute_process(COMMAND ${git} -C ${SOURCE} rev-parse HEAD
    RESULT_VARIABLE failed OUTPUT_VARIABLE head ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    set(commit ${head})
    # Without optional locks, so that a commit made at the same time does not fail.
    execute_process(COMMAND ${git} --no-optional-locks -C ${SOURCE} status --porcelain --untracked-files=no
      RESULT_VARIABLE failed OUTPUT_VARIABLE changes ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(failed OR NOT changes STREQUAL "")
      string(APPEND commit -dirty)
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#define SMPO_COMMIT \"${commit}\"\n" @ONLY)
