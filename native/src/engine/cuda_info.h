#ifndef SMPO_ENGINE_CUDA_INFO_H_
#define SMPO_ENGINE_CUDA_INFO_H_

#include <cstdint>
#include <string>

namespace smpo::engine {

struct CudaInfo {
  bool compiled;
  int32_t device_count;     // 0 if none can be used
  int32_t driver_version;   // 13000 for 13.0; 0 without a driver
  int32_t runtime_version;  // likewise
  std::string problem;      // the reason why device_count is 0; empty otherwise

  static CudaInfo of_this_machine();
};

struct CudaDeviceInfo {
  int32_t compute_major;
  int32_t compute_minor;
  int32_t multiprocessors;
  uint64_t total_memory;  // bytes
  uint64_t free_memory;   // bytes
  std::string name;

  // Throws Error(SMPO_INVALID_ARGUMENT) if the index is not in [0, device_count).
  static CudaDeviceInfo of(int32_t index);
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_CUDA_INFO_H_
