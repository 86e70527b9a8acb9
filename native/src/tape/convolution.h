// A convolution and its two gradients: values without a tape. Groups and dilation are 1.
//
// Two methods. kLibrary is ATen's (oneDNN on the CPU, cuDNN on the GPU). kGemm copies the image's patches into the
// rows of a matrix and multiplies: oneDNN reorders plain weights at every call, which for a small image with many
// channels takes longer than the convolution itself.
#ifndef SMPO_TAPE_CONVOLUTION_H_
#define SMPO_TAPE_CONVOLUTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "tape/ops.h"

namespace smpo::tape {

struct Convolution {
  int64_t stride = 1;
  Padding padding = {};
};

enum class ConvolutionMethod { kLibrary, kGemm };

/// The faster method by device, dtype and sizes, as measured with bench/native/tape/ops_bench.cpp.
ConvolutionMethod forward_method(const at::Tensor& x_BCHW, const at::Tensor& weight_DCKK, const Convolution& geometry);
ConvolutionMethod input_gradient_method(const at::Tensor& d_y_BDHW, const at::Tensor& weight_DCKK);
ConvolutionMethod weight_gradient_method(const at::Tensor& d_y_BDHW, const at::Tensor& grad_DCKK);

/// x in any layout; the result is channels_last and, as all products, widened (matmul.h). `bias` may be undefined.
at::Tensor convolve(const at::Tensor& x_BCHW, const at::Tensor& weight_DCKK, const at::Tensor& bias_D,
                    const Convolution& geometry, ConvolutionMethod method);

/// d loss / d x, of shape `x_shape`, channels_last, widened.
at::Tensor convolution_input_gradient(const at::Tensor& d_y_BDHW, at::IntArrayRef x_shape,
                                      const at::Tensor& weight_DCKK, const Convolution& geometry,
                                      ConvolutionMethod method);

/// grad += d loss / d weight.
void accumulate_convolution_weight_gradient(at::Tensor grad_DCKK, const at::Tensor& d_y_BDHW, const at::Tensor& x_BCHW,
                                            const Convolution& geometry, ConvolutionMethod method);

/// Whether it is a product of each pixel's channels with the weight.
bool is_pointwise(const at::Tensor& weight_DCKK, const Convolution& geometry);

/// [D,C,K,K] as [D,KKC], a view where the weight is channels_last; [D,C] as it is.
at::Tensor weight_matrix(const at::Tensor& weight);

/// x as the library takes it, channels_last. Padding that differs before and after is added here and taken out of
/// `geometry`: ATen has one number for both.
at::Tensor library_input(const at::Tensor& x_BCHW, Convolution& geometry);

/// [B,C,H,W] channels_last as [BHW,C], sharing the memory.
at::Tensor pixels(const at::Tensor& x_BCHW);

}  // namespace smpo::tape

#endif  // SMPO_TAPE_CONVOLUTION_H_
