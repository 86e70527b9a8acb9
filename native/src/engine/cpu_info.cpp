#include "engine/cpu_info.h"

#include <cpuid.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "smpo.h"

namespace smpo::engine {
namespace {

namespace fs = std::filesystem;

struct Registers {
  uint32_t a, b, c, d;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r{};
  if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) r = {};
  return r;
}

bool bit(uint64_t value, int index) { return (value >> index & 1) != 0; }

// Register files that the operating system saves on a context switch; 0 if it has not enabled XGETBV.
uint64_t saved_states() {
  if (!bit(cpuid(1, 0).c, 27)) return 0;
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

// Linux provides the 8 KiB of tile state per thread only on request. oneDNN makes the same request.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

uint32_t usable_features() {
  const Registers leaf1 = cpuid(1, 0);
  const Registers leaf7 = cpuid(7, 0);
  const uint64_t saved = saved_states();
  const bool avx = (saved & 0x6) == 0x6;          // SSE and AVX registers
  const bool avx512 = (saved & 0xE6) == 0xE6;     // and opmasks, upper halves, registers 16..31
  const bool tiles = (saved >> 17 & 0x3) == 0x3;  // tile configuration and tile data
  uint32_t found = 0;
  if (avx && bit(leaf7.b, 5)) found |= SMPO_CPU_AVX2;
  if (avx && bit(leaf1.c, 12)) found |= SMPO_CPU_FMA;
  if (avx512 && bit(leaf7.b, 16)) found |= SMPO_CPU_AVX512F;
  if (avx512 && bit(cpuid(7, 1).a, 5)) found |= SMPO_CPU_AVX512_BF16;
  if (tiles && bit(leaf7.d, 22) && bit(leaf7.d, 24) && may_use_tiles()) found |= SMPO_CPU_AMX_BF16;
  return found;
}

std::string model_name() {
  if (__get_cpuid_max(0x80000000, nullptr) < 0x80000004) return "unknown";
  std::array<char, 49> text{};
  for (uint32_t i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002 + i, 0);
    std::memcpy(text.data() + 16 * i, &r, sizeof r);
  }
  std::string name = text.data();
  const size_t first = name.find_first_not_of(' ');
  if (first == std::string::npos) return "unknown";
  return name.substr(first, name.find_last_not_of(' ') - first + 1);
}

// Returns the first number in a file; nothing if there is none, as in a control group file that says "max".
std::optional<uint64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  uint64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

// Returns the number after a key at the start of a line.
std::optional<uint64_t> number_after(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) {
      std::istringstream rest(line.substr(key.size()));
      uint64_t value = 0;
      if (rest >> value) return value;
    }
  }
  return std::nullopt;
}

// Returns the folders of the process's control group and of its ancestors, innermost first. `controller` names a
// version 1 controller; the empty string stands for the single hierarchy of version 2.
std::vector<fs::path> control_groups(const fs::path& root, const std::string& controller) {
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    // "4:memory:/a/b" or "0::/a/b"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    // A hierarchy lists its controllers: "cpu,cpuacct".
    std::istringstream names(line.substr(first + 1, second - first - 1));
    bool named = controller.empty() && second == first + 1;
    for (std::string name; !named && std::getline(names, name, ',');) named = name == controller;
    if (!named) continue;
    const fs::path base = controller.empty() ? root / "sys/fs/cgroup" : root / "sys/fs/cgroup" / controller;
    std::vector<fs::path> folders;
    // In a container this may be a path of the host that is not mounted; then only the base folder exists.
    for (fs::path inner = fs::path(line.substr(second + 1)).relative_path();; inner = inner.parent_path()) {
      folders.push_back(inner.empty() ? base : base / inner);
      if (inner.empty()) return folders;
    }
  }
  return {};
}

struct Memory {
  uint64_t total;
  uint64_t available;
};

Memory memory(const fs::path& root) {
  const fs::path meminfo = root / "proc/meminfo";
  const auto kibibytes = [&meminfo](const char* key) { return number_after(meminfo, key); };
  const uint64_t total = kibibytes("MemTotal:").value_or(0) * 1024;
  Memory result{.total = total > 0 ? total : static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * 4096,
                .available = kibibytes("MemAvailable:").value_or(0) * 1024};
  const auto restrict_to = [&result](const fs::path& folder, const char* limit_file, const char* usage_file,
                                     const char* reclaimable) {
    const std::optional<uint64_t> limit = number_in(folder / limit_file);
    if (!limit.has_value()) return;
    // Inactive file pages count as used, but the kernel frees them on demand.
    const uint64_t used = number_in(folder / usage_file).value_or(0);
    const uint64_t cached = std::min(used, number_after(folder / "memory.stat", reclaimable).value_or(0));
    result.total = std::min(result.total, *limit);
    result.available = std::min(result.available, *limit - std::min(*limit, used - cached));
  };
  for (const fs::path& folder : control_groups(root, "")) {
    restrict_to(folder, "memory.max", "memory.current", "inactive_file ");
  }
  for (const fs::path& folder : control_groups(root, "memory")) {
    restrict_to(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ");
  }
  return result;
}

// Number of processors whose time the control groups allow per period, rounded up; at least 1.
int32_t quota(const fs::path& root) {
  double allowed = 1e9;
  for (const fs::path& folder : control_groups(root, "")) {
    std::ifstream in(folder / "cpu.max");  // "200000 100000", or "max 100000"
    double time = 0;
    double period = 0;
    if (in >> time >> period && period > 0) allowed = std::min(allowed, time / period);
  }
  for (const fs::path& folder : control_groups(root, "cpu")) {
    const auto time = number_in(folder / "cpu.cfs_quota_us");  // -1 if there is none
    const auto period = number_in(folder / "cpu.cfs_period_us");
    if (time.has_value() && *time <= INT64_MAX && period.value_or(0) > 0) {
      allowed = std::min(allowed, static_cast<double>(*time) / static_cast<double>(*period));
    }
  }
  const auto whole = static_cast<int32_t>(allowed);
  return std::max(1, whole < allowed ? whole + 1 : whole);
}

// Number of cores with at least one of the processors. A processor without topology information counts as one core.
int32_t cores(const fs::path& root, std::span<const int> processors) {
  std::set<std::pair<int64_t, int64_t>> found;
  for (const int processor : processors) {
    const fs::path topology = root / "sys/devices/system/cpu" / ("cpu" + std::to_string(processor)) / "topology";
    const auto package = number_in(topology / "physical_package_id");
    const auto core = number_in(topology / "core_id");
    if (package.has_value() && core.has_value()) {
      found.emplace(static_cast<int64_t>(*package), static_cast<int64_t>(*core));
    } else {
      found.emplace(-1, processor);
    }
  }
  return static_cast<int32_t>(found.size());
}

}  // namespace

CpuInfo CpuInfo::of(const fs::path& root, std::span<const int> processors) {
  static const uint32_t machine_features = usable_features();
  static const std::string machine_model = model_name();
  const int32_t logical = std::clamp(static_cast<int32_t>(processors.size()), 1, quota(root));
  const Memory limits = memory(root);
  return {.features = machine_features,
          .logical_cores = logical,
          .physical_cores = std::clamp(cores(root, processors), 1, logical),
          .total_memory = limits.total,
          .available_memory = std::min(limits.available, limits.total),
          .model = machine_model};
}

CpuInfo CpuInfo::of_this_process() {
  // Larger than the kernel's limit of 8192 processors, because a set that is too small is an error.
  constexpr int kMostProcessors = 16384;
  std::vector<int> processors;
  cpu_set_t* set = CPU_ALLOC(kMostProcessors);
  if (set != nullptr) {
    const size_t bytes = CPU_ALLOC_SIZE(kMostProcessors);
    CPU_ZERO_S(bytes, set);
    if (sched_getaffinity(0, bytes, set) == 0) {
      for (int i = 0; i < kMostProcessors; ++i) {
        if (CPU_ISSET_S(i, bytes, set)) processors.push_back(i);
      }
    }
    CPU_FREE(set);
  }
  return of("/", processors);
}

}  // namespace smpo::engine
