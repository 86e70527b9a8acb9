#ifndef SMPO_ENGINE_CPU_INFO_H_
#define SMPO_ENGINE_CPU_INFO_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace smpo::engine {

struct CpuInfo {
  uint32_t features;      // SMPO_CPU_*: what the CPU has and the operating system allows
  int32_t logical_cores;  // usable by this process: affinity and the container's quota, rounded up
  int32_t physical_cores;
  uint64_t total_memory;      // bytes; the container's limit where that is lower
  uint64_t available_memory;  // bytes; what can be taken without swapping, within the limit
  std::string model;

  // Describes the cores and memory that the files under `root` (/proc and /sys) grant to a process that may run on
  // `processors` (numbers in ascending order). Features and model are always those of the machine that runs this.
  static CpuInfo of(const std::filesystem::path& root, std::span<const int> processors);
  static CpuInfo of_this_process();
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_CPU_INFO_H_
