// Copies between host memory and a session's device.
//
// A copy from pageable memory makes the host wait for all queued device work. Uploads therefore go through pinned
// memory from LibTorch's host pool, which takes it back once the copy is done: the call returns at once, and the host
// prepares the next upload while the device still works. New tensors are copied on a separate stream, in parallel with
// running kernels; only work queued after `upload` waits for the copy.
#ifndef SMPO_ENGINE_TRANSFER_H_
#define SMPO_ENGINE_TRANSFER_H_

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engine/torch_tensor.h"

namespace smpo::engine {

// Returns a dense copy of a CPU tensor on a device, with the same dtype. The host memory may change as soon as this
// returns.
at::Tensor upload(const at::Tensor& host, at::Device device);
// Copies a CPU tensor into an existing dense tensor of the same shape and dtype.
void upload_into(at::Tensor target, const at::Tensor& host);

// Returns a dense copy on the CPU; for a CPU tensor, the tensor itself, valid as long as `value` is not written. Waits
// for the device once; the session counts the wait (on the CPU as well).
at::Tensor download(Session& session, const at::Tensor& value);
// Returns dense CPU copies of several tensors, through one pinned buffer and with one wait.
std::vector<at::Tensor> download_all(Session& session, std::span<const at::Tensor> values);

// Returns a copy of the values on a device, as a tensor of shape [n].
template <typename Value>
at::Tensor copy_to(at::Device device, std::span<const Value> values) {
  constexpr at::ScalarType kType = c10::CppTypeToScalarType<Value>::value;
  return upload(
      at::from_blob(const_cast<Value*>(values.data()), {static_cast<int64_t>(values.size())}, at::TensorOptions(kType)),
      device);
}

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TRANSFER_H_
