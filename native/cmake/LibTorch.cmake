# LibTorch as imported targets. torch's own CMake package requires a CUDA toolkit even for CPU builds, and fails with
# CUDA 13, which has no nvToolsExt.
if(NOT SMPO_LIBTORCH)
  message(FATAL_ERROR "SMPO_LIBTORCH is not set. Run tools/check (or tools/setup, then tools/build), which sets it.")
endif()
if(NOT EXISTS ${SMPO_LIBTORCH}/include/ATen/ATen.h OR NOT EXISTS ${SMPO_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "SMPO_LIBTORCH=${SMPO_LIBTORCH} has no include/ATen/ATen.h and lib/libtorch_cpu.so: not a LibTorch.")
endif()

file(STRINGS ${SMPO_LIBTORCH}/include/torch/headeronly/version.h smpo_torch_version_lines
     REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
string(REGEX REPLACE "[^0-9;]" "" smpo_torch_version "${smpo_torch_version_lines}")
list(JOIN smpo_torch_version "." smpo_torch_version)
if(smpo_torch_version VERSION_LESS 2.11 OR smpo_torch_version VERSION_GREATER_EQUAL 2.16)
  message(FATAL_ERROR "LibTorch ${smpo_torch_version} in ${SMPO_LIBTORCH}: smpo compiles against 2.11 to 2.15.")
endif()
message(STATUS "LibTorch ${smpo_torch_version}: ${SMPO_LIBTORCH}")

foreach(name c10 torch_cpu)
  add_library(smpo_${name}_imported SHARED IMPORTED)
  set_target_properties(smpo_${name}_imported PROPERTIES IMPORTED_LOCATION ${SMPO_LIBTORCH}/lib/lib${name}.so)
endforeach()
add_library(smpo_torch INTERFACE)
target_include_directories(smpo_torch SYSTEM INTERFACE
  ${SMPO_LIBTORCH}/include ${SMPO_LIBTORCH}/include/torch/csrc/api/include)
target_link_libraries(smpo_torch INTERFACE smpo_torch_cpu_imported smpo_c10_imported)
# The wheel's libraries find their dependencies by RPATH; the linker has to be told where they are.
target_link_options(smpo_torch INTERFACE
  -Wl,-rpath-link,${SMPO_LIBTORCH}/lib:${SMPO_LIBTORCH}/../nvidia/cu13/lib)
# One OpenMP runtime in the process: LibTorch ships libgomp.so.1, and with this RPATH our library loads the same file.
set(CMAKE_BUILD_RPATH ${SMPO_LIBTORCH}/lib)
