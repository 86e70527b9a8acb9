// Matrix products for linear layers and convolutions: values without a tape.
//
// On a processor without bf16 products LibTorch multiplies bf16 in plain loops, several times slower than f32. There
// the operands are widened to f32, which is exact. The result stays in f32 until the op has added the adapter and the
// residual, and is then rounded once: the memory of bf16, about the speed of f32, and a smaller error.
#ifndef SMPO_TAPE_MATMUL_H_
#define SMPO_TAPE_MATMUL_H_

#include <ATen/core/Tensor.h>

namespace smpo::tape {

/// [...,C] as [rows,C].
at::Tensor as_matrix(const at::Tensor& x);

/// Whether products with x are computed in f32: x is bf16 on such a processor.
bool multiplies_widened(const at::Tensor& x);

/// x in f32 if its products are computed in f32, else x; undefined stays undefined.
at::Tensor widened(const at::Tensor& x);

/// a[M,K] b[K,N], widened.
at::Tensor product(const at::Tensor& a_MK, const at::Tensor& b_KN);

/// sum[M,N] += a[M,K] b[K,N], for a widened sum.
void add_product(at::Tensor sum_MN, const at::Tensor& a_MK, const at::Tensor& b_KN);

/// x[M,K] weight[N,K]^T + bias[N] (which may be undefined), widened.
at::Tensor matmul_bias(const at::Tensor& x_MK, const at::Tensor& weight_NK, const at::Tensor& bias_N);

/// grad[N,K] += d_y[M,N]^T x[M,K], for a dense view `grad` of a gradient buffer.
void accumulate_outer(at::Tensor grad_NK, const at::Tensor& d_y_MN, const at::Tensor& x_MK);

}  // namespace smpo::tape

#endif  // SMPO_TAPE_MATMUL_H_
