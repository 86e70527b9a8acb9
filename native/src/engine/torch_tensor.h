// Between the border's tensors and LibTorch's, for the files of the engine that see both.
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

// Throws Error(SMPO_INVALID_ARGUMENT) when dtype is none of smpo.h.
at::ScalarType scalar_type(int32_t dtype);
// Throws Error(SMPO_INTERNAL) when the type has no number in smpo.h.
int32_t dtype_of(at::ScalarType type);
at::Device torch_device(const Session& session);

// Undefined for null.
inline at::Tensor value_of(const std::shared_ptr<Tensor>& tensor) { return tensor ? tensor->value : at::Tensor(); }

// A row-major tensor with these values, which are copied only where they are not.
std::shared_ptr<Tensor> hold(at::Tensor value);

// A view of the caller's memory. It must not outlive the call.
at::Tensor view_of_host(const TensorSpec& spec, void* data);

// "[2,4]"
std::string shape_text(const at::Tensor& tensor);

// The argument. Throws Error(SMPO_DTYPE_MISMATCH), naming it, when its type is another.
const at::Tensor& require_f32(const at::Tensor& value, const char* name);
const at::Tensor& require_floating(const at::Tensor& value, const char* name);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TORCH_TENSOR_H_
