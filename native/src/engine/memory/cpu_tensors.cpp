#include "engine/memory/cpu_tensors.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "engine/cpu_info.h"

namespace smpo::engine {
namespace {

// Above the priorities of LibTorch's default allocator (0) and its caching allocator.
constexpr uint8_t kPriority = 255;

// Returns the bytes that this process holds without those of files, which the kernel can drop; 0 if that is unknown.
uint64_t anonymous_memory() {
  static const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  std::array<char, 128> text{};
  if (file < 0 || pread(file, text.data(), text.size() - 1, 0) <= 0) return 0;
  uint64_t size = 0, resident = 0, shared = 0;  // pages
  std::istringstream in(text.data());
  if (!(in >> size >> resident >> shared) || resident < shared) return 0;
  return (resident - shared) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

ArenaAllocator& arena() {
  // Never destroyed, because tensors in static variables may outlive it.
  static auto* const instance = [] {
    const uint64_t memory = CpuInfo::of_this_process().total_memory;
    return new ArenaAllocator({.pool_bytes = memory / 4,
                               .limit_bytes = tensor_limit(memory),
                               .memory_bytes = memory,
                               .process_bytes = &anonymous_memory});
  }();
  return *instance;
}

void give_back(void* data) { arena().deallocate(data); }

class TorchCpuAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = arena().allocate(bytes);
    return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* target, const void* source, size_t bytes) const override {
    default_copy_data(target, source, bytes);
  }
};

}  // namespace

uint64_t tensor_limit(uint64_t total_memory) { return total_memory - std::min(total_memory / 4, uint64_t{1} << 30); }

ArenaAllocator& cpu_tensors() {
  static ArenaAllocator& installed = []() -> ArenaAllocator& {
    c10::SetCPUAllocator(new TorchCpuAllocator, kPriority);
    return arena();
  }();
  return installed;
}

}  // namespace smpo::engine
