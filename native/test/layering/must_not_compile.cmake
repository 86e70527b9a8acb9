# Compiles SOURCE with the options of two layers: LAYER must reject it because it does not find MISSING, ALLOWED must accept it.
function(compile options result output)
  execute_process(COMMAND ${COMPILER} -std=c++20 -fopenmp -fsyntax-only @${options} ${SOURCE}
    RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE text)
  set(${result} ${status} PARENT_SCOPE)
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

compile(${ALLOWING} status text)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "The control does not compile, so the test proves nothing:\n${text}")
endif()
compile(${REFUSING} status text)
if(status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles: its layer sees ${MISSING}.")
endif()
if(NOT text MATCHES "fatal error: ${MISSING}: No such file or directory")
  message(FATAL_ERROR "${SOURCE} does not compile, but for another reason than ${MISSING}:\n${text}")
endif()
