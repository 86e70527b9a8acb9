// The preprocessing of images for a vision encoder, in float and with its gradient: clamp to 0..1, antialiased resize,
// pad or crop, normalize. The resize is that of torch (upsample_bilinear2d_aa, upsample_bicubic2d_aa): two matrices,
// whose transposes carry the gradient back.
#ifndef SMPO_MODELS_PIXEL_VALUES_H_
#define SMPO_MODELS_PIXEL_VALUES_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace smpo::models {

/// Filters, with their reach in source pixels when an image does not shrink.
enum class ResizeFilter {
  kBilinear = 1,
  /// a = -1/2.
  kBicubic = 2,
};

struct PixelSpec {
  ResizeFilter filter = ResizeFilter::kBicubic;
  /// Size of the resized image.
  int64_t resized_height = 0;
  int64_t resized_width = 0;
  /// Size of the result.
  int64_t height = 0;
  int64_t width = 0;
  /// Row and column of the result at which the resized image begins. Negative: the rows before are cut off. What it
  /// does not cover is black.
  int64_t top = 0;
  int64_t left = 0;
  std::array<double, 3> mean = {};
  std::array<double, 3> std = {1, 1, 1};
};

/// Returns the matrix [to,from] that resizes a line of pixels, f32 or f64. Positions and weights are computed in that
/// dtype, as in torch.
at::Tensor resize_matrix(int64_t from, int64_t to, ResizeFilter filter, at::ScalarType dtype);

/// Returns the values [B,3,height,width] of pixels [B,3,H,W] in [-1,1], f32 or f64; pixels beyond are clamped. Throws
/// std::invalid_argument, naming the argument, for a spec or pixels that do not fit.
at::Tensor pixel_values(const at::Tensor& pixels_BCHW, const PixelSpec& spec);

/// Returns the gradient with respect to the pixels of a loss with this gradient with respect to the values. It is zero
/// where a pixel is beyond [-1,1].
at::Tensor pixel_values_backward(const at::Tensor& pixels_BCHW, const PixelSpec& spec, const at::Tensor& d_values_BCHW);

}  // namespace smpo::models

#endif  // SMPO_MODELS_PIXEL_VALUES_H_
