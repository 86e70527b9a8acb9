#include "tape/matmul.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

namespace smpo::tape {

at::Tensor as_matrix(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

bool multiplies_widened(const at::Tensor& x) {
#if defined(__x86_64__)
  // Every processor with AMX has these too.
  static const bool native = __builtin_cpu_supports("avx512bf16") != 0;
  return !native && x.defined() && x.is_cpu() && x.scalar_type() == at::kBFloat16;
#else
  static_cast<void>(x);
  return false;
#endif
}

at::Tensor widened(const at::Tensor& x) { return multiplies_widened(x) ? x.to(at::kFloat) : x; }

at::Tensor product(const at::Tensor& a_MK, const at::Tensor& b_KN) { return at::mm(widened(a_MK), widened(b_KN)); }

void add_product(at::Tensor sum_MN, const at::Tensor& a_MK, const at::Tensor& b_KN) {
  sum_MN.addmm_(widened(a_MK), widened(b_KN));
}

at::Tensor matmul_bias(const at::Tensor& x_MK, const at::Tensor& weight_NK, const at::Tensor& bias_N) {
  const at::Tensor weight_KN = widened(weight_NK).t();
  return bias_N.defined() ? at::addmm(widened(bias_N), widened(x_MK), weight_KN) : at::mm(widened(x_MK), weight_KN);
}

void accumulate_outer(at::Tensor grad_NK, const at::Tensor& d_y_MN, const at::Tensor& x_MK) {
  const at::Tensor left_NM = widened(d_y_MN).t(), right_MK = widened(x_MK);
  if (grad_NK.scalar_type() == right_MK.scalar_type()) {
    grad_NK.addmm_(left_NM, right_MK);  // beta = 1: the product is summed where it belongs.
  } else if (x_MK.is_cuda()) {
    at::addmm_out(grad_NK, grad_NK, left_NM, right_MK, grad_NK.scalar_type());
  } else {
    // The CPU has no product of bf16 into f32: each product is rounded to bf16 once, and the sum over calls is f32.
    grad_NK.add_(at::mm(left_NM, right_MK));
  }
}

}  // namespace smpo::tape
