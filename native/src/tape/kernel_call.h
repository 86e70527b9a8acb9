// From tensors to the arguments of our kernels.
#ifndef SMPO_TAPE_KERNEL_CALL_H_
#define SMPO_TAPE_KERNEL_CALL_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "kernels/types.h"
#include "tape/check.h"
#include "tape/weights.h"

namespace smpo::tape {

/// Our kernels run on the CPU in f32 and bf16. Anything else (f64, another device) is ATen's.
inline bool has_kernel(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

inline kernels::DType dtype_of(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat ? kernels::DType::kF32 : kernels::DType::kBF16;
}

/// Null where undefined.
inline const void* data_of(const at::Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

inline at::Tensor workspace_of(int64_t bytes) { return at::empty({bytes}, at::TensorOptions(at::kByte)); }

/// The buffer that a kernel adds a vector's gradient to; null where frozen.
inline float* grad_of(const Parameter& parameter) {
  if (!parameter.trainable()) {
    return nullptr;
  }
  check(parameter.grad.scalar_type() == at::kFloat && parameter.grad.is_contiguous(), "gradient buffer of ",
        parameter.name, ": f32 and dense, got ", parameter.grad.scalar_type());
  at::Tensor grad = parameter.grad;
  return grad.mutable_data_ptr<float>();
}

}  // namespace smpo::tape

#endif  // SMPO_TAPE_KERNEL_CALL_H_
