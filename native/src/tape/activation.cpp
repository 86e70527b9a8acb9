#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

#include "kernels/geglu.h"
#include "tape/check.h"
#include "tape/kernel_call.h"
#include "tape/ops.h"

namespace smpo::tape {

Var silu(Tape& tape, const Var& x) {
  at::Tensor y = at::silu(x.value);
  if (!tape.tracks(x)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y),
                     [x](Tape& t, const at::Tensor& d_y) { t.accumulate(x, at::silu_backward(d_y, x.value)); });
}

Var gelu(Tape& tape, const Var& x) {
  at::Tensor y = at::gelu(x.value);
  if (!tape.tracks(x)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y),
                     [x](Tape& t, const at::Tensor& d_y) { t.accumulate(x, at::gelu_backward(d_y, x.value)); });
}

Var quick_gelu(Tape& tape, const Var& x) {
  constexpr double kSlope = 1.702;
  at::Tensor y = at::sigmoid(at::mul(x.value, kSlope)).mul_(x.value);
  if (!tape.tracks(x)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [x](Tape& t, const at::Tensor& d_y) {
    // x s(kx): s + x k s (1 - s).
    const at::Tensor s = at::sigmoid(at::mul(x.value, kSlope));
    at::Tensor slope = at::rsub(s, 1.0).mul_(x.value).mul_(kSlope).add_(1.0).mul_(s);
    t.accumulate(x, slope.mul_(d_y));
  });
}

namespace {

at::Tensor geglu_by_kernel(const at::Tensor& x) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() /= 2;
  at::Tensor y = at::empty(shape, x.options());
  kernels_of(x)(&kernels::Families::geglu, {.rows = y.numel() / shape.back(),
                                            .channels = shape.back(),
                                            .dtype = dtype_of(x),
                                            .x_R2C = x.const_data_ptr(),
                                            .y_RC = y.mutable_data_ptr()});
  return y;
}

at::Tensor geglu_backward_by_kernel(const at::Tensor& d_y, const at::Tensor& x) {
  at::Tensor d_x = at::empty_like(x);
  const int64_t channels = x.size(-1) / 2;
  kernels_of(x)(&kernels::Families::geglu_backward, {.rows = x.numel() / (2 * channels),
                                                     .channels = channels,
                                                     .dtype = dtype_of(x),
                                                     .d_y_RC = d_y.const_data_ptr(),
                                                     .x_R2C = x.const_data_ptr(),
                                                     .d_x_R2C = d_x.mutable_data_ptr()});
  return d_x;
}

at::Tensor geglu_by_aten(const at::Tensor& x) {
  const int64_t channels = x.size(-1) / 2;
  return at::gelu(x.narrow(-1, channels, channels)).mul_(x.narrow(-1, 0, channels));
}

at::Tensor geglu_backward_by_aten(const at::Tensor& d_y, const at::Tensor& x) {
  const int64_t channels = x.size(-1) / 2;
  const at::Tensor value = x.narrow(-1, 0, channels), gate = x.narrow(-1, channels, channels);
  at::Tensor d_x = at::empty_like(x);
  d_x.narrow(-1, 0, channels).copy_(at::gelu(gate).mul_(d_y));
  d_x.narrow(-1, channels, channels).copy_(at::gelu_backward(at::mul(d_y, value), gate));
  return d_x;
}

}  // namespace

Var geglu(Tape& tape, const Var& x_var) {
  check(x_var.size(-1) % 2 == 0 && x_var.size(-1) > 0, "geglu", "", ": an even last dimension, got ",
        x_var.value.sizes());
  const at::Tensor x = x_var.value.contiguous();
  const auto forward = [x] { return has_kernel(x) ? geglu_by_kernel(x) : geglu_by_aten(x); };
  at::Tensor y = forward();
  if (!tape.tracks(x_var)) {
    return {std::move(y)};
  }
  return tape.record_recomputed(std::move(y), forward, [x, node = x_var.node](Tape& t, const at::Tensor& gradient) {
    const at::Tensor d_y = gradient.contiguous();
    t.accumulate(node, has_kernel(x) ? geglu_backward_by_kernel(d_y, x) : geglu_backward_by_aten(d_y, x));
  });
}

}  // namespace smpo::tape
