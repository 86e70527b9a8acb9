// Conversions between the ABI's tensors and LibTorch's.
#ifndef SMPO_ENGINE_TORCH_TENSOR_H_
#define SMPO_ENGINE_TORCH_TENSOR_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/tensor_spec.h"
#include "engine/tensor_value.h"

namespace smpo::engine {

class Session;

// Throws Error(SMPO_INVALID_ARGUMENT) for a dtype that smpo.h does not define.
at::ScalarType scalar_type(int32_t dtype);
// Throws Error(SMPO_INTERNAL) for a type that has no number in smpo.h.
int32_t dtype_of(at::ScalarType type);
at::Device torch_device(const Session& session);

// Returns an undefined tensor for null.
inline at::Tensor value_of(const std::shared_ptr<Tensor>& tensor) { return tensor ? tensor->value : at::Tensor(); }

// Returns a row-major tensor with these values. Copies them only if they are not row-major already.
std::shared_ptr<Tensor> hold(at::Tensor value);

// A view of the caller's memory. It must not outlive the call.
at::Tensor view_of_host(const TensorSpec& spec, void* data);

// "[2,4]"
std::string shape_text(const at::Tensor& tensor);

// Return the argument. Throw Error(SMPO_DTYPE_MISMATCH), naming it, if its dtype differs.
const at::Tensor& require_f32(const at::Tensor& value, const char* name);
const at::Tensor& require_floating(const at::Tensor& value, const char* name);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TORCH_TENSOR_H_
