#include "engine/cuda_info.h"

#include "engine/error.h"

#ifdef SMPO_CUDA
#include <cuda_runtime_api.h>
#else
#include <dlfcn.h>
#endif

namespace smpo::engine {

#ifdef SMPO_CUDA

CudaInfo CudaInfo::of_this_machine() {
  CudaInfo info{.compiled = true, .device_count = 0, .driver_version = 0, .runtime_version = 0, .problem = {}};
  // Clears the error that a call leaves behind, so that no later call reports it.
  if (cudaDriverGetVersion(&info.driver_version) != cudaSuccess) cudaGetLastError();
  if (cudaRuntimeGetVersion(&info.runtime_version) != cudaSuccess) cudaGetLastError();
  const cudaError_t status = cudaGetDeviceCount(&info.device_count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    info.device_count = 0;
    info.problem = info.driver_version == 0 ? "there is no CUDA driver on this machine" : cudaGetErrorString(status);
  } else if (info.device_count == 0) {
    info.problem = "the driver reports no device (CUDA_VISIBLE_DEVICES may hide them)";
  }
  return info;
}

CudaDeviceInfo CudaDeviceInfo::of(int32_t index) {
  const CudaInfo cuda = CudaInfo::of_this_machine();
  if (index < 0 || index >= cuda.device_count) {
    fail(SMPO_INVALID_ARGUMENT, "index: expected 0 or more and less than ", cuda.device_count, " (device_count), got ",
         index);
  }
  const auto check = [](cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();
    throw Error(SMPO_INTERNAL, std::string(what) + ": " + cudaGetErrorString(status), status);
  };
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  int previous = 0;
  check(cudaGetDevice(&previous), "cudaGetDevice");
  size_t free = 0;
  size_t total = 0;
  check(cudaSetDevice(index), "cudaSetDevice");
  const cudaError_t status = cudaMemGetInfo(&free, &total);
  check(cudaSetDevice(previous), "cudaSetDevice");
  check(status, "cudaMemGetInfo");
  return {.compute_major = properties.major,
          .compute_minor = properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .total_memory = total,
          .free_memory = free,
          .name = properties.name};
}

#else

CudaInfo CudaInfo::of_this_machine() {
  CudaInfo info{.compiled = false, .device_count = 0, .driver_version = 0, .runtime_version = 0, .problem = {}};
  info.problem =
      "this library was built without CUDA; to use a GPU run `tools/setup --cuda` and configure with -DSMPO_CUDA=ON";
  // Asks the driver anyway: a user with a GPU and a build without CUDA wants to know.
  if (void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL); driver != nullptr) {
    using GetVersion = int (*)(int*);
    const auto get_version = reinterpret_cast<GetVersion>(dlsym(driver, "cuDriverGetVersion"));
    int version = 0;
    if (get_version != nullptr && get_version(&version) == 0) info.driver_version = version;
    dlclose(driver);
  }
  return info;
}

CudaDeviceInfo CudaDeviceInfo::of(int32_t index) {
  fail(SMPO_INVALID_ARGUMENT, "index: expected 0 or more and less than 0 (device_count), got ", index);
}

#endif

}  // namespace smpo::engine
