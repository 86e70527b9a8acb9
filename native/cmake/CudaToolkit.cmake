# The CUDA compiler and runtime under SMPO_CUDA_ROOT (a toolkit, or the result of tools/cuda-toolkit), and LibTorch's CUDA
# libraries. FindCUDAToolkit fails with CUDA 13, which has no nvToolsExt, so the targets are defined here:
#   smpo_cudart      the CUDA runtime, shared: the one that LibTorch uses, so there is one in the process
#   smpo_torch_cuda  c10_cuda and torch_cuda
# Sets SMPO_CUDA_VERSION ("13.0") and SMPO_CUDA_TARGETS ("sm_80 sm_90a compute_90"). Needs no GPU and no driver.
if(NOT SMPO_CUDA_ROOT)
  message(FATAL_ERROR "SMPO_CUDA=ON needs SMPO_CUDA_ROOT, a CUDA 13 toolkit. Run tools/setup --cuda, which finds or fetches one.")
endif()
if(NOT EXISTS ${SMPO_CUDA_ROOT}/bin/nvcc)
  message(FATAL_ERROR "SMPO_CUDA_ROOT=${SMPO_CUDA_ROOT} has no bin/nvcc: not a CUDA toolkit.")
endif()

set(CMAKE_CUDA_COMPILER ${SMPO_CUDA_ROOT}/bin/nvcc)
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
set(CMAKE_CUDA_ARCHITECTURES OFF)  # named below, because CMake 3.25 cannot express "90a, and PTX of 90"
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0 OR CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 14.0)
  message(FATAL_ERROR "nvcc ${CMAKE_CUDA_COMPILER_VERSION} in ${SMPO_CUDA_ROOT}: expected 13.x, LibTorch's CUDA.")
endif()
string(REGEX MATCH "^[0-9]+\\.[0-9]+" SMPO_CUDA_VERSION ${CMAKE_CUDA_COMPILER_VERSION})

# CMake 3.25 does not know that nvcc supports C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)

# Machine code for Ampere (A100, A800) and for Hopper with its own instructions; PTX for later architectures.
set(SMPO_CUDA_TARGETS "sm_80 sm_90a compute_90")
string(JOIN " " CMAKE_CUDA_FLAGS
  "-gencode=arch=compute_80,code=sm_80"
  "-gencode=arch=compute_90a,code=sm_90a"
  "-gencode=arch=compute_90,code=compute_90"
  "-Werror all-warnings"
  "-Xcompiler=-Wall,-Wextra,-Wno-unknown-pragmas"
  # std::bit_cast and constexpr functions of our own in device code.
  "--expt-relaxed-constexpr"
  # Line numbers for profilers, at no cost at run time.
  "-lineinfo"
  # Host code in .cu files rounds like all other host code.
  "-Xcompiler=-ffp-contract=off")
set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O3 -Xcompiler=-g1 -DNDEBUG")

find_library(SMPO_CUDART NAMES cudart PATHS ${SMPO_CUDA_ROOT}/lib64 ${SMPO_CUDA_ROOT}/lib NO_DEFAULT_PATH)
if(NOT SMPO_CUDART)
  message(FATAL_ERROR "SMPO_CUDA_ROOT=${SMPO_CUDA_ROOT} has no lib64/libcudart.so or lib/libcudart.so. "
                      "For a toolkit made of PyPI wheels run tools/cuda-toolkit, which adds the links.")
endif()
add_library(smpo_cudart SHARED IMPORTED)
set_target_properties(smpo_cudart PROPERTIES IMPORTED_LOCATION ${SMPO_CUDART})
target_include_directories(smpo_cudart SYSTEM INTERFACE ${SMPO_CUDA_ROOT}/include)
if(EXISTS ${SMPO_CUDA_ROOT}/include/cccl)
  target_include_directories(smpo_cudart SYSTEM INTERFACE ${SMPO_CUDA_ROOT}/include/cccl)
endif()
# Headers of cuBLAS, cuSPARSE, cuSOLVER and cuDNN, which ATen/cuda/CUDAContext.h includes: in a full toolkit, fetched by
# `tools/cuda-toolkit --libraries`, or beside an installed LibTorch. The kernels and c10/cuda do not need them.
set(smpo_cuda_library_headers)
if(NOT EXISTS ${SMPO_CUDA_ROOT}/include/cublas_v2.h AND EXISTS ${SMPO_LIBTORCH}/../nvidia/cu13/include/cublas_v2.h)
  list(APPEND smpo_cuda_library_headers ${SMPO_LIBTORCH}/../nvidia/cu13/include)
endif()
foreach(folder ${SMPO_CUDA_ROOT}/../cudnn/include ${SMPO_LIBTORCH}/../nvidia/cudnn/include)
  if(EXISTS ${folder}/cudnn.h)
    list(APPEND smpo_cuda_library_headers ${folder})
    break()
  endif()
endforeach()

# NCCL's header: in a folder beside the toolkit (tools/cuda-toolkit --libraries) or beside an installed LibTorch, which
# contains the code. Without it, sessions on GPUs cannot form a group.
set(SMPO_NCCL_INCLUDE)
foreach(folder ${SMPO_CUDA_ROOT}/../nccl/include ${SMPO_LIBTORCH}/../nvidia/nccl/include)
  if(EXISTS ${folder}/nccl.h)
    set(SMPO_NCCL_INCLUDE ${folder})
    break()
  endif()
endforeach()

foreach(name c10_cuda torch_cuda)
  if(NOT EXISTS ${SMPO_LIBTORCH}/lib/lib${name}.so)
    message(FATAL_ERROR "SMPO_LIBTORCH=${SMPO_LIBTORCH} has no lib/lib${name}.so: a LibTorch without CUDA.")
  endif()
endforeach()
add_library(smpo_c10_cuda_imported SHARED IMPORTED)
set_target_properties(smpo_c10_cuda_imported PROPERTIES IMPORTED_LOCATION ${SMPO_LIBTORCH}/lib/libc10_cuda.so)
add_library(smpo_torch_cuda INTERFACE)
target_include_directories(smpo_torch_cuda SYSTEM INTERFACE ${smpo_cuda_library_headers})
# torch_cuda's operators register themselves when it is loaded. No symbol of ours refers to it, so the linker has to be
# told to keep it.
target_link_libraries(smpo_torch_cuda INTERFACE
  smpo_torch smpo_c10_cuda_imported smpo_cudart
  -Wl,--push-state,--no-as-needed,${SMPO_LIBTORCH}/lib/libtorch_cuda.so,--pop-state)
# The dependencies of torch_cuda (cuDNN, NCCL, ...) need not be on the machine that links.
add_link_options(-Wl,--allow-shlib-undefined)
message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${SMPO_CUDA_TARGETS}: ${SMPO_CUDA_ROOT}")
