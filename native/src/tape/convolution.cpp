#include "tape/convolution.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "tape/matmul.h"
#include "tape/onednn.h"

// Legend: B batch, C channels in, D channels out, K kernel (two of them: rows, columns), H W image, O P its size
// after the convolution, M = B O P patches.
namespace smpo::tape {
namespace {

/// Memory for patches: a few times the last-level cache.
constexpr int64_t kPatchBytes = int64_t{32} << 20;

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

int64_t size_after(int64_t size, int64_t kernel, const Convolution& geometry) {
  return (size + geometry.padding.before + geometry.padding.after - kernel) / geometry.stride + 1;
}

at::Tensor bhwc(const at::Tensor& x_BCHW) { return x_BCHW.contiguous(kChannelsLast).permute({0, 2, 3, 1}); }

at::Tensor padded_bhwc(const at::Tensor& x_BCHW, const Padding& padding) {
  at::Tensor x_BHWC = bhwc(x_BCHW);
  if (padding.before == 0 && padding.after == 0) {
    return x_BHWC;
  }
  return at::constant_pad_nd(x_BHWC, {0, 0, padding.before, padding.after, padding.before, padding.after});
}

/// The patches as rows: [M,KKC].
at::Tensor patches(const at::Tensor& x_BCHW, int64_t kernel_rows, int64_t kernel_columns, const Convolution& geometry) {
  const at::Tensor x_BHWC = padded_bhwc(x_BCHW, geometry.padding);
  const int64_t batch = x_BHWC.size(0), height = x_BHWC.size(1), width = x_BHWC.size(2), channels = x_BHWC.size(3);
  const int64_t rows = (height - kernel_rows) / geometry.stride + 1;
  const int64_t columns = (width - kernel_columns) / geometry.stride + 1;
  const int64_t row = width * channels;
  return x_BHWC
      .as_strided({batch, rows, columns, kernel_rows, kernel_columns, channels},
                  {height * row, geometry.stride * row, geometry.stride * channels, row, channels, 1})
      .reshape({batch * rows * columns, kernel_rows * kernel_columns * channels});
}

/// Without the padding's rows and columns.
at::Tensor cropped(const at::Tensor& padded_BCHW, const Padding& padding, int64_t height, int64_t width) {
  return padded_BCHW.narrow(2, padding.before, height).narrow(3, padding.before, width).contiguous(kChannelsLast);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> library_backward(const at::Tensor& d_y_BDOP, const at::Tensor& x_BCHW,
                                                                const at::Tensor& weight_DCKK,
                                                                const Convolution& geometry, bool d_x, bool d_weight) {
  return at::convolution_backward(d_y_BDOP.contiguous(kChannelsLast), x_BCHW, weight_DCKK, at::OptionalIntArrayRef(),
                                  {geometry.stride, geometry.stride},
                                  {geometry.padding.before, geometry.padding.before}, {1, 1}, /*transposed=*/false,
                                  {0, 0}, /*groups=*/1, {d_x, d_weight, false});
}

/// The library reorders the weights at every call; the product does not. Measured from 8x8 to 64x64 pixels, in f32 on
/// AVX2 and in bf16 on AMX: from 40,000 weights per patch on, the product is faster.
ConvolutionMethod by_reordering_cost(const at::Tensor& activation, const at::Tensor& weight_DCKK, int64_t patch_count) {
  return activation.is_cpu() && weight_DCKK.numel() >= 40'000 * patch_count ? ConvolutionMethod::kGemm
                                                                            : ConvolutionMethod::kLibrary;
}

}  // namespace

bool is_pointwise(const at::Tensor& weight_DCKK, const Convolution& geometry) {
  return weight_DCKK.size(2) == 1 && weight_DCKK.size(3) == 1 && geometry.stride == 1 && geometry.padding.before == 0 &&
         geometry.padding.after == 0;
}

at::Tensor weight_matrix(const at::Tensor& weight) {
  if (weight.dim() == 2) return weight;
  return weight.permute({0, 2, 3, 1}).reshape({weight.size(0), -1});
}

at::Tensor library_input(const at::Tensor& x_BCHW, Convolution& geometry) {
  if (geometry.padding.before == geometry.padding.after) {
    return x_BCHW.contiguous(kChannelsLast);
  }
  at::Tensor padded_BCHW = padded_bhwc(x_BCHW, geometry.padding).permute({0, 3, 1, 2});
  geometry.padding = 0;
  return padded_BCHW;
}

at::Tensor pixels(const at::Tensor& x_BCHW) { return bhwc(x_BCHW).reshape({-1, x_BCHW.size(1)}); }

ConvolutionMethod forward_method(const at::Tensor& x_BCHW, const at::Tensor& weight_DCKK, const Convolution& geometry) {
  const int64_t patch_count = x_BCHW.size(0) * size_after(x_BCHW.size(2), weight_DCKK.size(2), geometry) *
                              size_after(x_BCHW.size(3), weight_DCKK.size(3), geometry);
  return by_reordering_cost(x_BCHW, weight_DCKK, patch_count);
}

ConvolutionMethod input_gradient_method(const at::Tensor& d_y_BDHW, const at::Tensor& weight_DCKK) {
  return by_reordering_cost(d_y_BDHW, weight_DCKK, d_y_BDHW.size(0) * d_y_BDHW.size(2) * d_y_BDHW.size(3));
}

ConvolutionMethod weight_gradient_method(const at::Tensor& d_y_BDHW, const at::Tensor& grad_DCKK) {
  if (!d_y_BDHW.is_cpu() || grad_DCKK.size(0) * grad_DCKK.size(1) < 64 * 64) {
    return ConvolutionMethod::kLibrary;
  }
  // f32: 1.6 to 3.4 times as fast at every size of SD 1.5 (AVX2). bf16 (AMX): where the image is small for its
  // weights.
  const int64_t patch_count = d_y_BDHW.size(0) * d_y_BDHW.size(2) * d_y_BDHW.size(3);
  const bool fast = d_y_BDHW.scalar_type() != at::kBFloat16 || multiplies_widened(d_y_BDHW) ||
                    grad_DCKK.numel() >= 4000 * patch_count;
  return fast ? ConvolutionMethod::kGemm : ConvolutionMethod::kLibrary;
}

at::Tensor convolve(const at::Tensor& x_BCHW, const at::Tensor& weight_DCKK, const at::Tensor& bias_D,
                    const Convolution& geometry, ConvolutionMethod method) {
  // An adapter's operand may already be widened.
  if (multiplies_widened(x_BCHW) || multiplies_widened(weight_DCKK)) {
    return convolve(widened(x_BCHW), widened(weight_DCKK), widened(bias_D), geometry, method);
  }
  const bool pointwise = is_pointwise(weight_DCKK, geometry);
  if (pointwise || method == ConvolutionMethod::kGemm) {
    const at::Tensor rows_MK =
        pointwise ? pixels(x_BCHW) : patches(x_BCHW, weight_DCKK.size(2), weight_DCKK.size(3), geometry);
    return matmul_bias(rows_MK, weight_matrix(weight_DCKK), bias_D)
        .view({x_BCHW.size(0), size_after(x_BCHW.size(2), weight_DCKK.size(2), geometry),
               size_after(x_BCHW.size(3), weight_DCKK.size(3), geometry), weight_DCKK.size(0)})
        .permute({0, 3, 1, 2});
  }
  Convolution symmetric = geometry;
  const at::Tensor input_BCHW = library_input(x_BCHW, symmetric);
  return at::convolution(input_BCHW, weight_DCKK, bias_D, {symmetric.stride, symmetric.stride},
                         {symmetric.padding.before, symmetric.padding.before}, {1, 1}, /*transposed=*/false, {0, 0},
                         /*groups=*/1)
      .contiguous(kChannelsLast);
}

at::Tensor convolution_input_gradient(const at::Tensor& d_y_BDHW, at::IntArrayRef x_shape,
                                      const at::Tensor& weight_DCKK, const Convolution& geometry,
                                      ConvolutionMethod method) {
  if (multiplies_widened(d_y_BDHW) || multiplies_widened(weight_DCKK)) {
    return convolution_input_gradient(widened(d_y_BDHW), x_shape, widened(weight_DCKK), geometry, method);
  }
  const int64_t batch = x_shape[0], channels = x_shape[1], height = x_shape[2], width = x_shape[3];
  if (is_pointwise(weight_DCKK, geometry)) {
    return layer_input_gradient(pixels(d_y_BDHW), weight_matrix(weight_DCKK))
        .view({batch, height, width, channels})
        .permute({0, 3, 1, 2});
  }
  const Padding& padding = geometry.padding;
  const int64_t padded_height = height + padding.before + padding.after;
  const int64_t padded_width = width + padding.before + padding.after;
  if (method == ConvolutionMethod::kGemm) {
    const int64_t rows = d_y_BDHW.size(2), columns = d_y_BDHW.size(3);
    const int64_t kernel_rows = weight_DCKK.size(2), kernel_columns = weight_DCKK.size(3);
    const at::Tensor d_patches_BOPKKC = at::mm(pixels(d_y_BDHW), weight_matrix(weight_DCKK))
                                            .view({batch, rows, columns, kernel_rows, kernel_columns, channels});
    // Overlapping patches are summed in f32 or better.
    const auto sum_dtype = d_y_BDHW.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor d_padded_BHWC =
        at::zeros({batch, padded_height, padded_width, channels}, d_y_BDHW.options().dtype(sum_dtype));
    const int64_t stride = geometry.stride;
    for (int64_t i = 0; i < kernel_rows; ++i) {
      for (int64_t j = 0; j < kernel_columns; ++j) {
        d_padded_BHWC.slice(1, i, i + stride * (rows - 1) + 1, stride)
            .slice(2, j, j + stride * (columns - 1) + 1, stride)
            .add_(d_patches_BOPKKC.select(3, i).select(3, j));
      }
    }
    return cropped(d_padded_BHWC.permute({0, 3, 1, 2}), padding, height, width).to(d_y_BDHW.scalar_type());
  }
  // The library reads the shape and layout of x, not its values.
  if (padding.before == padding.after) {
    const at::Tensor x_BCHW = at::empty(x_shape, d_y_BDHW.options(), kChannelsLast);
    return std::get<0>(library_backward(d_y_BDHW, x_BCHW, weight_DCKK, geometry, true, false))
        .contiguous(kChannelsLast);
  }
  const at::Tensor x_BCHW =
      at::empty({batch, channels, padded_height, padded_width}, d_y_BDHW.options(), kChannelsLast);
  const Convolution bare{.stride = geometry.stride, .padding = 0};
  return cropped(std::get<0>(library_backward(d_y_BDHW, x_BCHW, weight_DCKK, bare, true, false)), padding, height,
                 width);
}

void accumulate_convolution_weight_gradient(at::Tensor grad_DCKK, const at::Tensor& d_y_BDHW, const at::Tensor& x_BCHW,
                                            const Convolution& geometry, ConvolutionMethod method) {
  if (multiplies_widened(d_y_BDHW) || multiplies_widened(x_BCHW)) {
    accumulate_convolution_weight_gradient(grad_DCKK, widened(d_y_BDHW), widened(x_BCHW), geometry, method);
    return;
  }
  const at::Tensor grad_DKKC = grad_DCKK.permute({0, 2, 3, 1});
  const auto add_product = [&](const at::Tensor& d_y_MD, const at::Tensor& rows_MK) {
    if (grad_DKKC.is_contiguous()) {
      accumulate_outer(grad_DKKC.view({grad_DKKC.size(0), -1}), d_y_MD, rows_MK);
    } else {
      grad_DKKC.add_(at::mm(d_y_MD.t(), rows_MK).view(grad_DKKC.sizes()));
    }
  };
  if (is_pointwise(grad_DCKK, geometry)) {
    add_product(pixels(d_y_BDHW), pixels(x_BCHW));
    return;
  }
  if (method == ConvolutionMethod::kGemm) {
    // The patches take K * K times the memory of x, so they are copied a few rows of one sample at a time; the
    // products are summed in the gradient. The number of rows depends on shapes alone: so does the order of the sum.
    const int64_t kernel_rows = grad_DCKK.size(2), kernel_columns = grad_DCKK.size(3);
    const at::Tensor padded_BHWC = padded_bhwc(x_BCHW, geometry.padding), d_y_BOPD = bhwc(d_y_BDHW);
    const int64_t rows = d_y_BOPD.size(1), patch_bytes = grad_DKKC[0].numel() * x_BCHW.element_size();
    const int64_t step = std::clamp<int64_t>(kPatchBytes / (patch_bytes * d_y_BOPD.size(2)), 1, rows);
    const Convolution bare{.stride = geometry.stride, .padding = 0};
    for (int64_t b = 0; b < d_y_BOPD.size(0); ++b) {
      for (int64_t row = 0; row < rows; row += step) {
        const int64_t count = std::min(step, rows - row);
        const at::Tensor part_BHWC =
            padded_BHWC.narrow(0, b, 1).narrow(1, row * geometry.stride, (count - 1) * geometry.stride + kernel_rows);
        add_product(d_y_BOPD[b].narrow(0, row, count).reshape({-1, d_y_BOPD.size(3)}),
                    patches(part_BHWC.permute({0, 3, 1, 2}), kernel_rows, kernel_columns, bare));
      }
    }
    return;
  }
  Convolution symmetric = geometry;
  const at::Tensor input_BCHW = library_input(x_BCHW, symmetric);
  // The library reads the shape and layout of the weight, not its values.
  const at::Tensor weight_DCKK = at::empty(grad_DCKK.sizes(), x_BCHW.options(), kChannelsLast);
  grad_DCKK.add_(std::get<1>(library_backward(d_y_BDHW, input_BCHW, weight_DCKK, symmetric, false, true)));
}

}  // namespace smpo::tape
