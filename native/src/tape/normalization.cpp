#include <ATen/ops/add.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/native_group_norm_backward.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

#include "tape/check.h"
#include "tape/ops.h"

namespace smpo::tape {
namespace {

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

Var group_norm_with(Tape& tape, const Var& x_BCHW, const Layer& layer, int64_t groups, double eps, bool with_silu) {
  const int64_t batch = x_BCHW.size(0), channels = x_BCHW.size(1);
  check(x_BCHW.value.dim() == 4 && layer.weight.value.numel() == channels && channels % groups == 0, "group_norm",
        layer.weight.name, ": input ", x_BCHW.value.sizes(), ", weight ", layer.weight.value.sizes(), ", groups ",
        groups);
  const at::Tensor x = x_BCHW.value.contiguous(kChannelsLast);
  const int64_t area = x.size(2) * x.size(3);
  auto [y, mean, rstd] =
      at::native_group_norm(x, layer.weight.value, layer.bias.value, batch, channels, area, groups, eps);
  at::Tensor result = with_silu ? at::silu(y) : y;
  if (!tape.tracks(x_BCHW) && !tape.trains(layer)) {
    return {std::move(result)};
  }
  return tape.record(std::move(result), [&layer, x, mean = mean, rstd = rstd, node = x_BCHW.node, batch, channels, area,
                                         groups, eps, with_silu](Tape& t, const at::Tensor& gradient) {
    at::Tensor d_y = gradient.contiguous(kChannelsLast);
    if (with_silu) {
      const at::Tensor again = std::get<0>(
          at::native_group_norm(x, layer.weight.value, layer.bias.value, batch, channels, area, groups, eps));
      d_y = at::silu_backward(d_y, again);
    }
    auto [d_x, d_weight, d_bias] =
        at::native_group_norm_backward(d_y, x, mean, rstd, layer.weight.value, batch, channels, area, groups,
                                       {node >= 0, layer.weight.trainable(), layer.bias.trainable()});
    t.accumulate_parameter(layer.weight, d_weight);
    t.accumulate_parameter(layer.bias, d_bias);
    t.accumulate(node, d_x);
  });
}

}  // namespace

Var group_norm(Tape& tape, const Var& x_BCHW, const Layer& layer, int64_t groups, double eps) {
  return group_norm_with(tape, x_BCHW, layer, groups, eps, /*with_silu=*/false);
}

Var group_norm_silu(Tape& tape, const Var& x_BCHW, const Layer& layer, int64_t groups, double eps) {
  return group_norm_with(tape, x_BCHW, layer, groups, eps, /*with_silu=*/true);
}

Var layer_norm(Tape& tape, const Var& x, const Layer& layer, double eps) {
  const int64_t channels = x.size(-1);
  check(layer.weight.value.numel() == channels, "layer_norm", layer.weight.name, ": input ", x.value.sizes(),
        ", weight ", layer.weight.value.sizes());
  const at::Tensor dense = x.value.contiguous();
  auto [y, mean, rstd] = at::native_layer_norm(dense, {channels}, layer.weight.value, layer.bias.value, eps);
  if (!tape.tracks(x) && !tape.trains(layer)) {
    return {std::move(y)};
  }
  return tape.record(
      std::move(y), [&layer, dense, mean = mean, rstd = rstd, node = x.node, channels](Tape& t, const at::Tensor& d_y) {
        auto [d_x, d_weight, d_bias] = at::native_layer_norm_backward(
            d_y.contiguous(), dense, {channels}, mean, rstd, layer.weight.value, layer.bias.value,
            {node >= 0, layer.weight.trainable(), layer.bias.trainable()});
        t.accumulate_parameter(layer.weight, d_weight);
        t.accumulate_parameter(layer.bias, d_bias);
        t.accumulate(node, d_x);
      });
}

AddLayerNorm add_layer_norm(Tape& tape, const Var& x, const Var& residual, const Layer& layer, double eps) {
  Var sum = add(tape, x, residual);
  Var norm = layer_norm(tape, sum, layer, eps);
  return {std::move(sum), std::move(norm)};
}

}  // namespace smpo::tape
