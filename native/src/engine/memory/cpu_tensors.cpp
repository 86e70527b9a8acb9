#include "engine/memory/cpu_tensors.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "engine/cpu_info.h"

namespace smpo::engine {
namespace {

// Above the priorities of LibTorch's default allocator (0) and its caching allocator.
constexpr uint8_t kPriority = 255;

// Returns the bytes that this process holds without those of files, which the kernel can drop; 0 if that is unknown.
// Allocates nothing, since the arena asks when memory is short.
uint64_t anonymous_memory() noexcept {
  static const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  std::array<char, 128> text;
  const ssize_t bytes = file < 0 ? -1 : pread(file, text.data(), text.size(), 0);
  if (bytes <= 0) return 0;
  const char* at = text.data();
  const char* const end = at + bytes;
  std::array<uint64_t, 3> pages{};  // size, resident, shared
  for (uint64_t& number : pages) {
    while (at < end && *at == ' ') ++at;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc()) return 0;
    at = next;
  }
  return pages[1] < pages[2] ? 0 : (pages[1] - pages[2]) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
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
