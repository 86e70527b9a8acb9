#include "engine/memory/cpu_tensors.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include "engine/cpu_info.h"

namespace smpo::engine {
namespace {

// Above the priorities of LibTorch's default allocator (0) and its caching allocator.
constexpr uint8_t kPriority = 255;

ArenaAllocator& arena() {
  // Never destroyed, because tensors in static variables may outlive it.
  static auto* const instance = [] {
    const uint64_t memory = CpuInfo::of_this_process().total_memory;
    return new ArenaAllocator({.pool_bytes = memory / 4, .limit_bytes = memory});
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

ArenaAllocator& cpu_tensors() {
  static ArenaAllocator& installed = []() -> ArenaAllocator& {
    c10::SetCPUAllocator(new TorchCpuAllocator, kPriority);
    return arena();
  }();
  return installed;
}

}  // namespace smpo::engine
