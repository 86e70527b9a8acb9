#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

#include "tape/check.h"
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

Var geglu(Tape& tape, const Var& x) {
  check(x.size(-1) % 2 == 0, "geglu", "", "an even last dimension, got ", x.value.sizes());
  const int64_t channels = x.size(-1) / 2;
  const at::Tensor value = x.value.narrow(-1, 0, channels);
  const at::Tensor gate = x.value.narrow(-1, channels, channels);
  at::Tensor y = at::gelu(gate).mul_(value);
  if (!tape.tracks(x)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [x, value, gate, channels](Tape& t, const at::Tensor& d_y) {
    at::Tensor d_x = at::empty_like(x.value);
    d_x.narrow(-1, 0, channels).copy_(at::gelu(gate).mul_(d_y));
    d_x.narrow(-1, channels, channels).copy_(at::gelu_backward(at::mul(d_y, value), gate));
    t.accumulate(x, std::move(d_x));
  });
}

}  // namespace smpo::tape
