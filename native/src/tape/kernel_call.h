// From tensors to the arguments of our kernels.
#ifndef SMPO_TAPE_KERNEL_CALL_H_
#define SMPO_TAPE_KERNEL_CALL_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <type_traits>

#include "kernels/families.h"
#include "kernels/types.h"
#include "tape/check.h"
#include "tape/weights.h"

namespace smpo::tape {

/// Whether there is a kernel of our own: f32 and bf16. For anything else (f64) ATen computes.
inline bool has_kernel(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
}

/// The kernels of one device, on the stream that the calling thread uses for it:
///
///     kernels_of(x)(&kernels::Families::geglu, {.rows = rows, ...});
class Kernels final {
 public:
  Kernels(const kernels::Families& families, kernels::cuda::Stream stream) : families_(&families), stream_(stream) {}

  template <class Args>
  void operator()(kernels::Kernel<Args> kernels::Families::* family, const Args& args) const {
    (families_->*family)(args, stream_);
  }

  bool of_the_cpu() const { return families_ == &kernels::cpu::families(); }

 private:
  const kernels::Families* families_;
  kernels::cuda::Stream stream_;
};

/// The kernels of the tensor's device. The one place where a device is chosen.
Kernels kernels_of(const at::Tensor& x);

/// Element type for a kernel: bf16, or else f32. Undefined: f32.
inline kernels::DType dtype_of(const at::Tensor& x) {
  return x.defined() && x.scalar_type() == at::kBFloat16 ? kernels::DType::kBF16 : kernels::DType::kF32;
}

/// Pointer to the data, null if undefined; with a type, which must be the tensor's, a typed one.
template <typename Value = void>
const Value* data_of(const at::Tensor& x) {
  if constexpr (std::is_void_v<Value>) {
    return x.defined() ? x.const_data_ptr() : nullptr;
  } else {
    return x.defined() ? x.const_data_ptr<Value>() : nullptr;
  }
}

/// Memory on the device of `x`, from its pool. It is ordered by the stream, so it may be released while kernels still
/// run.
inline at::Tensor workspace_of(const at::Tensor& x, int64_t bytes) {
  return at::empty({bytes}, x.options().dtype(at::kByte));
}

/// Buffer that a kernel adds a vector's gradient to; null if frozen.
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
