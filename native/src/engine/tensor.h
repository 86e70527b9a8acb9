#ifndef SMPO_ENGINE_TENSOR_H_
#define SMPO_ENGINE_TENSOR_H_

#include <cstdint>
#include <memory>
#include <span>

#include "engine/tensor_spec.h"

namespace smpo::engine {

class Session;

// A row-major tensor on a session's device. Defined in tensor_value.h, for files that include LibTorch.
struct Tensor;

std::shared_ptr<Tensor> zeros(Session& session, const TensorSpec& spec);

// Copies spec.bytes() bytes from `data`, which may be null if there are none.
std::shared_ptr<Tensor> from_host(Session& session, const TensorSpec& spec, const void* data);

// Copies the tensor's bytes to `data`, which may be null if there are none.
void to_host(Session& session, const Tensor& tensor, void* data);

TensorSpec describe(const Tensor& tensor);

// Returns a new tensor, even if the dtype stays the same. Throws Error: SMPO_UNSUPPORTED between floating and integer
// types, SMPO_INVALID_ARGUMENT when an integer does not fit the new type.
std::shared_ptr<Tensor> convert(Session& session, const Tensor& tensor, int32_t dtype);

// Implements smpo_tensor_fill_normal. Throws Error: SMPO_DTYPE_MISMATCH for an integer tensor, SMPO_SHAPE_MISMATCH if
// the first dimension is missing or not items.size(), SMPO_INVALID_ARGUMENT for a purpose or an item out of range.
void fill_normal(Session& session, Tensor& tensor, uint32_t purpose, uint32_t step, std::span<const int64_t> items);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TENSOR_H_
