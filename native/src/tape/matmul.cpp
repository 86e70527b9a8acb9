#include "tape/matmul.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>

namespace smpo::tape {

at::Tensor as_matrix(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

at::Tensor matmul_bias(const at::Tensor& x_MK, const at::Tensor& weight_NK, const at::Tensor& bias_N) {
  return bias_N.defined() ? at::addmm(bias_N, x_MK, weight_NK.t()) : at::mm(x_MK, weight_NK.t());
}

void accumulate_outer(at::Tensor grad_NK, const at::Tensor& d_y_MN, const at::Tensor& x_MK) {
  if (grad_NK.scalar_type() == x_MK.scalar_type()) {
    grad_NK.addmm_(d_y_MN.t(), x_MK);  // beta = 1: the product is summed where it belongs.
  } else if (x_MK.is_cuda()) {
    at::addmm_out(grad_NK, grad_NK, d_y_MN.t(), x_MK, grad_NK.scalar_type());
  } else {
    // The CPU has no product of bf16 into f32: each product is rounded to bf16 once, and the sum over calls is f32.
    grad_NK.add_(at::mm(d_y_MN.t(), x_MK));
  }
}

void accumulate_columns(const Parameter& bias_N, const at::Tensor& d_y_MN) {
  if (bias_N.trainable()) {
    at::Tensor grad = bias_N.grad;
    grad.add_(at::sum(d_y_MN, {0}, /*keepdim=*/false, grad.scalar_type()));
  }
}

}  // namespace smpo::tape
