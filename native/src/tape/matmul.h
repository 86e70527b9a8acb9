// Matrix products as linear layers and convolutions need them: values without a tape.
//
// bf16 on a processor that cannot multiply it: LibTorch then multiplies in plain loops, several times slower than in
// f32. There the operands are widened to f32, which is exact, and so is the result, which the op rounds once it has
// added what belongs to it (adapter, residual): the memory of bf16, about the speed of f32, and a smaller error.
#ifndef SMPO_TAPE_MATMUL_H_
#define SMPO_TAPE_MATMUL_H_

#include <ATen/core/Tensor.h>

namespace smpo::tape {

/// [...,C] as [rows,C].
at::Tensor as_matrix(const at::Tensor& x);

/// Whether products with x are made in f32: x is bf16 on such a processor.
bool multiplies_widened(const at::Tensor& x);

/// x in f32 if its products are made so, else x itself; undefined stays so.
at::Tensor widened(const at::Tensor& x);

/// a[M,K] b[K,N], widened.
at::Tensor product(const at::Tensor& a_MK, const at::Tensor& b_KN);

/// sum[M,N] += a[M,K] b[K,N], for a sum that is widened itself.
void add_product(at::Tensor sum_MN, const at::Tensor& a_MK, const at::Tensor& b_KN);

/// x[M,K] weight[N,K]^T + bias[N] (which may be undefined), widened.
at::Tensor matmul_bias(const at::Tensor& x_MK, const at::Tensor& weight_NK, const at::Tensor& bias_N);

/// grad[N,K] += d_y[M,N]^T x[M,K], for a dense view `grad` of a gradient buffer.
void accumulate_outer(at::Tensor grad_NK, const at::Tensor& d_y_MN, const at::Tensor& x_MK);

}  // namespace smpo::tape

#endif  // SMPO_TAPE_MATMUL_H_
