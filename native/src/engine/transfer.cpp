#include "engine/transfer.h"

#include <ATen/ops/empty.h>

#include "engine/session.h"

namespace smpo::engine {
namespace {

at::Tensor pinned(const at::Tensor& like) {
  return at::empty(like.sizes(), at::TensorOptions(like.scalar_type()).device(at::kCPU).pinned_memory(true));
}

}  // namespace

void upload_into(at::Tensor target, const at::Tensor& host) {
  if (target.is_cpu()) {
    target.copy_(host);
    return;
  }
  at::Tensor staged = pinned(host);
  staged.copy_(host);
  target.copy_(staged, /*non_blocking=*/true);
}

at::Tensor upload(const at::Tensor& host, at::Device device) {
  at::Tensor target = at::empty(host.sizes(), at::TensorOptions(host.scalar_type()).device(device));
  upload_into(target, host);
  return target;
}

at::Tensor download(Session& session, const at::Tensor& value) {
  if (value.is_cpu()) return value.contiguous();
  const at::Tensor dense = value.contiguous();
  at::Tensor host = pinned(dense);
  host.copy_(dense, /*non_blocking=*/true);
  session.synchronize();
  return host;
}

}  // namespace smpo::engine
