// Between host memory and a session's device.
//
// A copy from ordinary memory makes the host wait for all that the device has been given. So values go up through
// pinned memory, which LibTorch's host pool lends and takes back when the copy has been made: the call returns at once,
// and the next table is written while the device still works on the last. New tensors are copied in a stream of their
// own, beside the kernels that are running: only what is queued after `upload` waits for the copy.
#ifndef SMPO_ENGINE_TRANSFER_H_
#define SMPO_ENGINE_TRANSFER_H_

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engine/torch_tensor.h"

namespace smpo::engine {

// A dense copy of a CPU tensor on a device, of the same dtype. The host memory may change as soon as this returns.
at::Tensor upload(const at::Tensor& host, at::Device device);
// Likewise into a dense tensor of the same shape and dtype that is there already.
void upload_into(at::Tensor target, const at::Tensor& host);

// A dense copy on the CPU, good as long as `value` is not written. One wait for the device, which the session counts
// (on the CPU too, where there is nothing to wait for).
at::Tensor download(Session& session, const at::Tensor& value);
// Likewise of several, through one pinned buffer and with one wait.
std::vector<at::Tensor> download_all(Session& session, std::span<const at::Tensor> values);

// A copy of the values on a device, [n].
template <typename Value>
at::Tensor copy_to(at::Device device, std::span<const Value> values) {
  constexpr at::ScalarType kType = c10::CppTypeToScalarType<Value>::value;
  return upload(
      at::from_blob(const_cast<Value*>(values.data()), {static_cast<int64_t>(values.size())}, at::TensorOptions(kType)),
      device);
}

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TRANSFER_H_
