// oneDNN's convolution and matrix product with weights that may be packed (packed_weights.h), for f32 on a CPU with
// AVX-512. Elsewhere, and for small weights, ATen's operators do the work.
#ifndef SMPO_TAPE_ONEDNN_H_
#define SMPO_TAPE_ONEDNN_H_

#include <ATen/core/Tensor.h>

#include "tape/convolution.h"
#include "tape/weights.h"

namespace smpo::tape {

/// Whether a layer with this weight goes through oneDNN wherever it can, and so with packed weights. Follows from the
/// machine and the weight's shape alone.
bool prefers_onednn(const at::Tensor& weight);

/// x[M,K] weight[N,K]^T + bias[N] (which may be undefined) by oneDNN if it prefers this weight and M is at least 128,
/// else by ATen.
at::Tensor layer_product(const at::Tensor& x_MK, const Parameter& weight, const at::Tensor& bias_N);

/// d_y[M,N] weight[N,K]: the gradient of a linear layer's input.
at::Tensor layer_input_gradient(const at::Tensor& d_y_MN, const at::Tensor& weight_NK);

/// As `convolve`: by oneDNN if it prefers this weight, else by the method that suits the sizes.
at::Tensor layer_convolution(const at::Tensor& x_BCHW, const Parameter& weight, const at::Tensor& bias_D,
                             const Convolution& geometry);

}  // namespace smpo::tape

#endif  // SMPO_TAPE_ONEDNN_H_
