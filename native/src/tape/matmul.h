// Matrix products as linear layers and convolutions need them: values without a tape.
#ifndef SMPO_TAPE_MATMUL_H_
#define SMPO_TAPE_MATMUL_H_

#include <ATen/core/Tensor.h>

#include "tape/weights.h"

namespace smpo::tape {

/// [...,C] as [rows,C].
at::Tensor as_matrix(const at::Tensor& x);

/// x[M,K] weight[N,K]^T + bias[N] (which may be undefined).
at::Tensor matmul_bias(const at::Tensor& x_MK, const at::Tensor& weight_NK, const at::Tensor& bias_N);

/// grad[N,K] += d_y[M,N]^T x[M,K], for a dense view `grad` of a gradient buffer.
void accumulate_outer(at::Tensor grad_NK, const at::Tensor& d_y_MN, const at::Tensor& x_MK);

/// The parameter's gradient += the column sums of d_y[M,N], summed in f32 or better. Frozen or absent: nothing.
void accumulate_columns(const Parameter& bias_N, const at::Tensor& d_y_MN);

}  // namespace smpo::tape

#endif  // SMPO_TAPE_MATMUL_H_
