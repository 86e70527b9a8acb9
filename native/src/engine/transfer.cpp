#include "engine/transfer.h"

#include <ATen/ops/empty.h>

#include <map>
#include <mutex>
#include <stdexcept>

#include "engine/session.h"

#ifdef SMPO_CUDA
#include <c10/core/Event.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace smpo::engine {
namespace {

// Alignment that suits a value of any dtype.
[[maybe_unused]] constexpr int64_t aligned(int64_t bytes) { return (bytes + 15) / 16 * 16; }

at::Tensor pinned_bytes(int64_t bytes) {
  return at::empty({bytes}, at::TensorOptions(at::kByte).device(at::kCPU).pinned_memory(true));
}

#ifdef SMPO_CUDA
at::Tensor staged_copy(const at::Tensor& host) {
  at::Tensor staged =
      at::empty(host.sizes(), at::TensorOptions(host.scalar_type()).device(at::kCPU).pinned_memory(true));
  staged.copy_(host);
  return staged;
}

// The stream on which all sessions upload to a device.
c10::cuda::CUDAStream copy_stream(c10::DeviceIndex device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::cuda::CUDAStream> streams;
  const std::lock_guard lock(mutex);
  auto found = streams.find(device);
  if (found == streams.end()) {
    found = streams.emplace(device, c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device)).first;
  }
  return found->second;
}
#endif

}  // namespace

void upload_into(at::Tensor target, const at::Tensor& host) {
  if (target.is_cpu()) {
    target.copy_(host);
    return;
  }
  // Kernels that are already queued may still read the target, so the copy must follow them on their stream.
  target.copy_(upload(host, target.device()));
}

at::Tensor upload(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) return host.clone(at::MemoryFormat::Contiguous);
#ifdef SMPO_CUDA
  const at::Tensor staged = staged_copy(host);
  const c10::cuda::CUDAStream compute = c10::cuda::getCurrentCUDAStream(device.index());
  const c10::cuda::CUDAStream copies = copy_stream(device.index());
  at::Tensor target;
  {
    // Memory from the upload stream's own pool, which no running kernel uses.
    const c10::cuda::CUDAStreamGuard guard(copies);
    target = at::empty(host.sizes(), at::TensorOptions(host.scalar_type()).device(device));
    target.copy_(staged, /*non_blocking=*/true);
  }
  c10::Event copied(c10::DeviceType::CUDA);
  copied.record(copies.unwrap());
  copied.block(compute.unwrap());
  // The memory returns to that pool when the kernels that use it are done.
  c10::cuda::CUDACachingAllocator::recordStream(target.storage().data_ptr(), compute);
  return target;
#else
  throw std::logic_error("upload: a build without CUDA has the CPU alone");
#endif
}

at::Tensor download(Session& session, const at::Tensor& value) {
  return download_all(session, std::span(&value, 1)).front();
}

std::vector<at::Tensor> download_all(Session& session, std::span<const at::Tensor> values) {
  std::vector<at::Tensor> on_host;
  int64_t bytes = 0;
  for (const at::Tensor& value : values) bytes += aligned(static_cast<int64_t>(value.nbytes()));
  at::Tensor buffer;
  int64_t offset = 0;
  for (const at::Tensor& value : values) {
    if (value.is_cpu()) {
      on_host.push_back(value.contiguous());
      continue;
    }
    if (!buffer.defined()) buffer = pinned_bytes(bytes);
    const auto own = static_cast<int64_t>(value.nbytes());
    on_host.push_back(buffer.narrow(0, offset, own).view(value.scalar_type()).view(value.sizes()));
    on_host.back().copy_(value.contiguous(), /*non_blocking=*/true);
    offset += aligned(own);
  }
  session.synchronize();
  return on_host;
}

}  // namespace smpo::engine
