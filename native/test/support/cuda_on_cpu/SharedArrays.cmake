# cmake -DNM=nm -DFILE=lib.a -P SharedArrays.cmake: fails when a static shared array of a kernel has no red zones.
#
# The compiler adds none to a static variable of a function that several files may define (an inline function, or a
# template outside an unnamed namespace), nor to the section that is filled before each block. nm shows such a variable
# as unique (u), demangled with its function's parameters: `ns::kernel<32>(float*)::tile`.
execute_process(COMMAND ${NM} -C ${FILE} OUTPUT_VARIABLE symbols RESULT_VARIABLE code)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "${NM} failed on ${FILE}")
endif()
string(REGEX MATCHALL "[0-9a-f]+ u [^\n]*\\)::[A-Za-z_0-9]+\n" found "${symbols}")
if(found)
  list(JOIN found "  " text)
  message(FATAL_ERROR "These arrays have no red zones. Move their kernels into an unnamed namespace:\n  ${text}")
endif()
