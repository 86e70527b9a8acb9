#include "models/pixel_values.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "models/check.h"

// Legend: B batch, C channels, H W pixels of the image.
namespace smpo::models {

namespace {

constexpr int64_t kLargestSide = 1 << 14;

double weight_of(ResizeFilter filter, double x) {
  const double distance = std::abs(x);
  if (filter == ResizeFilter::kBilinear) return distance < 1 ? 1 - distance : 0;
  constexpr double a = -0.5;
  if (distance < 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  return distance < 2 ? (((distance - 5) * distance + 8) * distance - 4) * a : 0;
}

template <typename Real>
void fill(at::Tensor& matrix, int64_t from, int64_t to, ResizeFilter filter) {
  const Real scale = static_cast<Real>(from) / static_cast<Real>(to);
  const Real reach = filter == ResizeFilter::kBilinear ? 1 : 2;
  const Real support = scale >= 1 ? reach * scale : reach;
  const Real shrink = scale >= 1 ? 1 / scale : 1;
  for (int64_t target = 0; target < to; ++target) {
    Real* row = matrix.mutable_data_ptr<Real>() + target * from;
    const auto centre = static_cast<Real>(scale * (static_cast<double>(target) + 0.5));
    const int64_t begin = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5), from);
    Real sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      row[i] =
          static_cast<Real>(weight_of(filter, static_cast<Real>((static_cast<double>(i) - centre + 0.5) * shrink)));
      sum += row[i];
    }
    for (int64_t i = begin; i < end && sum != 0; ++i) row[i] /= sum;
  }
}

void check_side(int64_t value, const char* name) {
  if (value < 1 || value > kLargestSide) refuse(name, ": expected 1..", kLargestSide, ", got ", value);
}

void check_arguments(const at::Tensor& pixels_BCHW, const PixelSpec& spec) {
  check_side(spec.resized_height, "spec.resized_height");
  check_side(spec.resized_width, "spec.resized_width");
  check_side(spec.height, "spec.height");
  check_side(spec.width, "spec.width");
  for (size_t c = 0; c < spec.std.size(); ++c) {
    if (!std::isfinite(spec.mean[c])) refuse("spec.mean[", c, "]: expected a finite number, got ", spec.mean[c]);
    if (!std::isfinite(spec.std[c]) || spec.std[c] <= 0) {
      refuse("spec.std[", c, "]: expected more than 0, got ", spec.std[c]);
    }
  }
  for (const auto& [start, size, side, name] : {std::tuple(spec.top, spec.resized_height, spec.height, "spec.top"),
                                                std::tuple(spec.left, spec.resized_width, spec.width, "spec.left")}) {
    if (start <= -size || start >= side) {
      refuse(name, ": expected a place that shows some of the image, ", 1 - size, "..", side - 1, ", got ", start);
    }
  }
  const bool fits = pixels_BCHW.defined() && pixels_BCHW.dim() == 4 && pixels_BCHW.size(0) > 0 &&
                    pixels_BCHW.size(1) == 3 && pixels_BCHW.size(2) > 0 && pixels_BCHW.size(3) > 0 &&
                    (pixels_BCHW.scalar_type() == at::kFloat || pixels_BCHW.scalar_type() == at::kDouble);
  check_input(fits, "pixels", "[B,3,H,W] of Float", pixels_BCHW);
  check_side(pixels_BCHW.size(2), "pixels, height");
  check_side(pixels_BCHW.size(3), "pixels, width");
}

// Where the part of the resized image that the result shows begins, in both, and how long it is.
struct Shown {
  int64_t source, target, length;

  Shown(int64_t start, int64_t size, int64_t side)
      : source(std::max<int64_t>(-start, 0)),
        target(std::max<int64_t>(start, 0)),
        length(std::min(size - source, side - target)) {}
};

struct Frame {
  Shown rows, columns;

  explicit Frame(const PixelSpec& spec)
      : rows(spec.top, spec.resized_height, spec.height), columns(spec.left, spec.resized_width, spec.width) {}

  at::Tensor of_image(const at::Tensor& resized_BCHW) const {
    return resized_BCHW.slice(2, rows.source, rows.source + rows.length)
        .slice(3, columns.source, columns.source + columns.length);
  }
  at::Tensor of_result(const at::Tensor& values_BCHW) const {
    return values_BCHW.slice(2, rows.target, rows.target + rows.length)
        .slice(3, columns.target, columns.target + columns.length);
  }
};

at::Tensor channels(const std::array<double, 3>& values, const at::Tensor& like) {
  return at::tensor({values[0], values[1], values[2]}, at::kDouble).to(like.options()).view({1, 3, 1, 1});
}

at::Tensor matrix_for(const at::Tensor& pixels_BCHW, int64_t from, int64_t to, ResizeFilter filter) {
  return resize_matrix(from, to, filter, pixels_BCHW.scalar_type()).to(pixels_BCHW.device());
}

}  // namespace

at::Tensor resize_matrix(int64_t from, int64_t to, ResizeFilter filter, at::ScalarType dtype) {
  at::Tensor matrix = at::zeros({to, from}, dtype);
  if (dtype == at::kDouble) {
    fill<double>(matrix, from, to, filter);
  } else {
    fill<float>(matrix, from, to, filter);
  }
  return matrix;
}

at::Tensor pixel_values(const at::Tensor& pixels_BCHW, const PixelSpec& spec) {
  check_arguments(pixels_BCHW, spec);
  const at::Tensor down = matrix_for(pixels_BCHW, pixels_BCHW.size(2), spec.resized_height, spec.filter);
  const at::Tensor across = matrix_for(pixels_BCHW, pixels_BCHW.size(3), spec.resized_width, spec.filter);
  const at::Tensor light = ((pixels_BCHW + 1) * 0.5).clamp(0, 1).contiguous();
  const at::Tensor resized = at::matmul(down, at::matmul(light, across.t()));
  at::Tensor values = at::zeros({pixels_BCHW.size(0), 3, spec.height, spec.width}, pixels_BCHW.options());
  const Frame frame(spec);
  frame.of_result(values).copy_(frame.of_image(resized));
  return values.sub_(channels(spec.mean, values)).div_(channels(spec.std, values));
}

at::Tensor pixel_values_backward(const at::Tensor& pixels_BCHW, const PixelSpec& spec,
                                 const at::Tensor& d_values_BCHW) {
  check_arguments(pixels_BCHW, spec);
  const bool fits = d_values_BCHW.defined() && d_values_BCHW.scalar_type() == pixels_BCHW.scalar_type() &&
                    d_values_BCHW.sizes() == at::IntArrayRef({pixels_BCHW.size(0), 3, spec.height, spec.width});
  check_input(fits, "d_values", text("[", pixels_BCHW.size(0), ",3,", spec.height, ",", spec.width, "] of Float"),
              d_values_BCHW);
  const at::Tensor down = matrix_for(pixels_BCHW, pixels_BCHW.size(2), spec.resized_height, spec.filter);
  const at::Tensor across = matrix_for(pixels_BCHW, pixels_BCHW.size(3), spec.resized_width, spec.filter);
  at::Tensor d_resized =
      at::zeros({pixels_BCHW.size(0), 3, spec.resized_height, spec.resized_width}, pixels_BCHW.options());
  const Frame frame(spec);
  frame.of_image(d_resized).copy_(frame.of_result(d_values_BCHW / channels(spec.std, d_values_BCHW)));
  const at::Tensor d_light = at::matmul(down.t(), at::matmul(d_resized, across));
  const at::Tensor inside = pixels_BCHW.ge(-1).logical_and_(pixels_BCHW.le(1));
  return d_light.mul(0.5).mul(inside);
}

}  // namespace smpo::models
