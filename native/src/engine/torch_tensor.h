// Between the border's tensors and LibTorch's, for the files of the engine that see both.
#ifndef SMPO_ENGINE_TORCH_TENSOR_H_
#define SMPO_ENGINE_TORCH_TENSOR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "engine/tensor_spec.h"
#include "engine/tensor_value.h"

namespace smpo::engine {

class Session;

// Throws Error(SMPO_INVALID_ARGUMENT) when dtype is none of smpo.h.
at::ScalarType scalar_type(int32_t dtype);
// Throws Error(SMPO_INTERNAL) when the type has no number in smpo.h.
int32_t dtype_of(at::ScalarType type);
at::Device torch_device(const Session& session);

// A row-major tensor with these values, which are copied only where they are not.
std::shared_ptr<Tensor> hold(at::Tensor value);

// A view of the caller's memory. It must not outlive the call.
at::Tensor view_of_host(const TensorSpec& spec, void* data);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TORCH_TENSOR_H_
