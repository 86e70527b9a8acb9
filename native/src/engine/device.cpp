#include "engine/device.h"

#include "engine/cuda_info.h"
#include "engine/error.h"
#include "smpo.h"

#ifdef SMPO_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/env.h>
#endif

namespace smpo::engine {

#ifdef SMPO_CUDA

struct Device::Stream {
  c10::cuda::CUDAStream stream;
};

namespace {

// Turns LibTorch's warnings about waits on while it exists. The switch is process-wide.
class WatchedWaits final {
 public:
  explicit WatchedWaits(bool wanted) : previous_(c10::cuda::warning_state().get_sync_debug_mode()) {
    if (wanted) c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_WARN);
  }
  ~WatchedWaits() { c10::cuda::warning_state().set_sync_debug_mode(previous_); }
  WatchedWaits(const WatchedWaits&) = delete;
  WatchedWaits& operator=(const WatchedWaits&) = delete;

 private:
  const c10::cuda::SyncDebugMode previous_;
};

}  // namespace

Device::Device(int32_t type, int32_t index, bool watches_waits)
    : type_(type), index_(index), watches_waits_(watches_waits) {
  if (type == SMPO_DEVICE_CPU) {
    if (index != 0) fail(SMPO_INVALID_ARGUMENT, "device_index: expected 0 for the CPU, got ", index);
    return;
  }
  if (type != SMPO_DEVICE_CUDA) fail(SMPO_INVALID_ARGUMENT, "device_type: expected 0..1, got ", type);
  const CudaInfo cuda = CudaInfo::of_this_machine();
  if (cuda.device_count == 0) fail(SMPO_UNSUPPORTED, "device_type: no CUDA device can be used: ", cuda.problem);
  if (index < 0 || index >= cuda.device_count) {
    fail(SMPO_INVALID_ARGUMENT, "device_index: expected 0..", cuda.device_count - 1, ", got ", index);
  }
  // cuBLAS gives the same bits every time only with a workspace of fixed size, and LibTorch refuses to multiply in its
  // deterministic mode without one. It reads this variable once. 32 MiB is the workspace it uses on Hopper anyway.
  c10::utils::set_env("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/false);
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index));
  stream_ = std::make_unique<Stream>(
      Stream{c10::cuda::getStreamFromPool(/*isHighPriority=*/false, static_cast<c10::DeviceIndex>(index))});
}

void Device::with(FunctionRef body) const {
  if (stream_ == nullptr) return body();
  const c10::cuda::CUDAStreamGuard guard(stream_->stream);
  const WatchedWaits watched(watches_waits_);
  body();
}

void Device::synchronize() {
  ++synchronizations_;
  if (stream_ == nullptr) return;
  // Bypasses LibTorch, which would warn about this wait.
  C10_CUDA_CHECK(cudaStreamSynchronize(stream_->stream.stream()));
}

void Device::trim() {
  if (stream_ == nullptr) return;
  synchronize();
  c10::cuda::CUDACachingAllocator::emptyCache();
}

DeviceMemory Device::memory() const {
  if (stream_ == nullptr) return {};
  const auto statistics = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(index_));
  constexpr size_t kAll = 0;  // StatType::AGGREGATE
  return {.in_use = static_cast<uint64_t>(statistics.allocated_bytes[kAll].current),
          .peak = static_cast<uint64_t>(statistics.allocated_bytes[kAll].peak),
          .reserved = static_cast<uint64_t>(statistics.reserved_bytes[kAll].current)};
}

#else

struct Device::Stream {};

Device::Device(int32_t type, int32_t index, bool watches_waits)
    : type_(type), index_(index), watches_waits_(watches_waits) {
  if (type == SMPO_DEVICE_CUDA) fail(SMPO_UNSUPPORTED, "device_type: ", CudaInfo::of_this_machine().problem);
  if (type != SMPO_DEVICE_CPU) fail(SMPO_INVALID_ARGUMENT, "device_type: expected 0..1, got ", type);
  if (index != 0) fail(SMPO_INVALID_ARGUMENT, "device_index: expected 0 for the CPU, got ", index);
}

void Device::with(FunctionRef body) const { body(); }
void Device::synchronize() { ++synchronizations_; }
void Device::trim() {}
DeviceMemory Device::memory() const { return {}; }

#endif

Device::~Device() = default;

}  // namespace smpo::engine
