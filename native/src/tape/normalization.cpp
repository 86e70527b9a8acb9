#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/native_group_norm_backward.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

#include <tuple>

#include "kernels/group_norm_silu.h"
#include "kernels/layer_norm.h"
#include "tape/check.h"
#include "tape/kernel_call.h"
#include "tape/ops.h"

namespace smpo::tape {
namespace {

using kernels::Families;

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

at::Tensor floats(const at::Tensor& beside, int64_t count) {
  return at::empty({count}, beside.options().dtype(at::kFloat));
}

// ---- group norm

/// The op's constants, and what its forward leaves for backward.
struct GroupNorm {
  at::Tensor x_BCHW;  // channels_last
  int64_t groups;
  double eps;
  bool silu;
  at::Tensor mean_BG = {}, rstd_BG = {};

  int64_t batch() const { return x_BCHW.size(0); }
  int64_t channels() const { return x_BCHW.size(1); }
  int64_t pixels() const { return x_BCHW.size(2) * x_BCHW.size(3); }
};

at::Tensor forward_by_kernel(GroupNorm& norm, const Layer& layer) {
  at::Tensor y = at::empty_like(norm.x_BCHW);
  norm.mean_BG = floats(y, norm.batch() * norm.groups);
  norm.rstd_BG = floats(y, norm.batch() * norm.groups);
  kernels::GroupNormSiluArgs args{.batch = norm.batch(),
                                  .pixels = norm.pixels(),
                                  .channels = norm.channels(),
                                  .groups = norm.groups,
                                  .eps = norm.eps,
                                  .silu = norm.silu,
                                  .dtype = dtype_of(norm.x_BCHW),
                                  .parameter_dtype = dtype_of(layer.weight.value),
                                  .x_BPC = norm.x_BCHW.const_data_ptr(),
                                  .weight_C = layer.weight.value.const_data_ptr(),
                                  .bias_C = layer.bias.value.const_data_ptr(),
                                  .y_BPC = y.mutable_data_ptr(),
                                  .mean_BG = norm.mean_BG.mutable_data_ptr<float>(),
                                  .rstd_BG = norm.rstd_BG.mutable_data_ptr<float>()};
  const at::Tensor workspace = workspace_of(y, kernels::group_norm_silu_workspace_bytes(args));
  args.workspace = workspace.mutable_data_ptr();
  kernels_of(y)(&Families::group_norm_silu, args);
  return y;
}

at::Tensor backward_by_kernel(const GroupNorm& norm, const Layer& layer, const at::Tensor& d_y, bool wants_d_x) {
  at::Tensor d_x = wants_d_x ? at::empty_like(norm.x_BCHW) : at::Tensor();
  kernels::GroupNormSiluBackwardArgs args{.batch = norm.batch(),
                                          .pixels = norm.pixels(),
                                          .channels = norm.channels(),
                                          .groups = norm.groups,
                                          .silu = norm.silu,
                                          .dtype = dtype_of(norm.x_BCHW),
                                          .parameter_dtype = dtype_of(layer.weight.value),
                                          .d_y_BPC = d_y.const_data_ptr(),
                                          .x_BPC = norm.x_BCHW.const_data_ptr(),
                                          .weight_C = layer.weight.value.const_data_ptr(),
                                          .bias_C = layer.bias.value.const_data_ptr(),
                                          .mean_BG = norm.mean_BG.const_data_ptr<float>(),
                                          .rstd_BG = norm.rstd_BG.const_data_ptr<float>(),
                                          .d_x_BPC = wants_d_x ? d_x.mutable_data_ptr() : nullptr,
                                          .d_weight_C = grad_of(layer.weight),
                                          .d_bias_C = grad_of(layer.bias)};
  const at::Tensor workspace = workspace_of(d_y, kernels::group_norm_silu_backward_workspace_bytes(args));
  args.workspace = workspace.mutable_data_ptr();
  kernels_of(d_y)(&Families::group_norm_silu_backward, args);
  return d_x;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> normalized_by_aten(const GroupNorm& norm, const Layer& layer) {
  return at::native_group_norm(norm.x_BCHW, layer.weight.value, layer.bias.value, norm.batch(), norm.channels(),
                               norm.pixels(), norm.groups, norm.eps);
}

at::Tensor forward_by_aten(GroupNorm& norm, const Layer& layer) {
  at::Tensor y;
  std::tie(y, norm.mean_BG, norm.rstd_BG) = normalized_by_aten(norm, layer);
  return norm.silu ? at::silu(y) : y;
}

at::Tensor backward_by_aten(const GroupNorm& norm, const Layer& layer, const at::Tensor& d_y, bool wants_d_x) {
  const at::Tensor d_z = norm.silu ? at::silu_backward(d_y, std::get<0>(normalized_by_aten(norm, layer))) : d_y;
  const auto [d_x, d_weight, d_bias] = at::native_group_norm_backward(
      d_z, norm.x_BCHW, norm.mean_BG, norm.rstd_BG, layer.weight.value, norm.batch(), norm.channels(), norm.pixels(),
      norm.groups, {wants_d_x, layer.weight.trainable(), layer.bias.trainable()});
  Tape::accumulate_parameter(layer.weight, d_weight);
  Tape::accumulate_parameter(layer.bias, d_bias);
  return d_x;
}

Var group_norm_with(Tape& tape, const Var& x_BCHW, const Layer& layer, int64_t groups, double eps, bool silu) {
  const int64_t channels = x_BCHW.size(1);
  check(x_BCHW.value.dim() == 4 && groups > 0 && channels % groups == 0 && layer.weight.defined() &&
            layer.weight.value.numel() == channels && layer.bias.defined() && layer.bias.value.numel() == channels,
        "group_norm", layer.weight.name, ": input ", x_BCHW.value.sizes(), ", weight ", layer.weight.value.sizes(),
        ", groups ", groups);
  GroupNorm norm{.x_BCHW = x_BCHW.value.contiguous(kChannelsLast), .groups = groups, .eps = eps, .silu = silu};
  const auto forward = [](GroupNorm& of, const Layer& with) {
    return has_kernel(of.x_BCHW) ? forward_by_kernel(of, with) : forward_by_aten(of, with);
  };
  at::Tensor y = forward(norm, layer);
  if (!tape.tracks(x_BCHW) && !tape.trains(layer)) {
    return {std::move(y)};
  }
  return tape.record_recomputed(
      std::move(y), [&layer, norm, forward]() mutable { return forward(norm, layer); },
      [&layer, norm, node = x_BCHW.node](Tape& t, const at::Tensor& gradient) {
        const at::Tensor d_y = gradient.contiguous(kChannelsLast);
        t.accumulate(node, has_kernel(d_y) ? backward_by_kernel(norm, layer, d_y, node >= 0)
                                           : backward_by_aten(norm, layer, d_y, node >= 0));
      });
}

// ---- layer norm

struct LayerNorm {
  at::Tensor s;  // What is normalized; dense.
  at::Tensor mean_R = {}, rstd_R = {};

  int64_t channels() const { return s.size(-1); }
  int64_t rows() const { return s.numel() / channels(); }
};

/// With a residual, `s` is x on entry and the sum on return.
at::Tensor forward_by_kernel(LayerNorm& norm, const at::Tensor& residual, const Layer& layer, double eps) {
  const at::Tensor x = norm.s;
  at::Tensor y = at::empty_like(x);
  if (residual.defined()) {
    norm.s = at::empty_like(x);
  }
  norm.mean_R = floats(y, norm.rows());
  norm.rstd_R = floats(y, norm.rows());
  kernels_of(x)(&Families::layer_norm, {.rows = norm.rows(),
                                        .channels = norm.channels(),
                                        .eps = eps,
                                        .dtype = dtype_of(x),
                                        .parameter_dtype = dtype_of(layer.weight.value),
                                        .x_RC = x.const_data_ptr(),
                                        .residual_RC = data_of(residual),
                                        .weight_C = layer.weight.value.const_data_ptr(),
                                        .bias_C = data_of(layer.bias.value),
                                        .sum_RC = residual.defined() ? norm.s.mutable_data_ptr() : nullptr,
                                        .y_RC = y.mutable_data_ptr(),
                                        .mean_R = norm.mean_R.mutable_data_ptr<float>(),
                                        .rstd_R = norm.rstd_R.mutable_data_ptr<float>()});
  return y;
}

/// d_s; `d_sum`, which may be undefined, included.
at::Tensor backward_by_kernel(const LayerNorm& norm, const Layer& layer, const at::Tensor& d_y, const at::Tensor& d_sum,
                              bool wants_d_s) {
  at::Tensor d_s = wants_d_s ? at::empty_like(norm.s) : at::Tensor();
  kernels::LayerNormBackwardArgs args{.rows = norm.rows(),
                                      .channels = norm.channels(),
                                      .dtype = dtype_of(norm.s),
                                      .parameter_dtype = dtype_of(layer.weight.value),
                                      .d_y_RC = d_y.const_data_ptr(),
                                      .s_RC = norm.s.const_data_ptr(),
                                      .mean_R = norm.mean_R.const_data_ptr<float>(),
                                      .rstd_R = norm.rstd_R.const_data_ptr<float>(),
                                      .weight_C = layer.weight.value.const_data_ptr(),
                                      .d_sum_RC = data_of(d_sum),
                                      .d_s_RC = wants_d_s ? d_s.mutable_data_ptr() : nullptr,
                                      .d_weight_C = grad_of(layer.weight),
                                      .d_bias_C = grad_of(layer.bias)};
  const at::Tensor workspace = workspace_of(d_y, kernels::layer_norm_backward_workspace_bytes(args));
  args.workspace = workspace.mutable_data_ptr();
  kernels_of(d_y)(&Families::layer_norm_backward, args);
  return d_s;
}

at::Tensor forward_by_aten(LayerNorm& norm, const at::Tensor& residual, const Layer& layer, double eps) {
  if (residual.defined()) {
    norm.s = at::add(norm.s, residual);
  }
  at::Tensor y;
  std::tie(y, norm.mean_R, norm.rstd_R) =
      at::native_layer_norm(norm.s, {norm.channels()}, layer.weight.value, layer.bias.value, eps);
  return y;
}

at::Tensor backward_by_aten(const LayerNorm& norm, const Layer& layer, const at::Tensor& d_y, const at::Tensor& d_sum,
                            bool wants_d_s) {
  const auto [d_s, d_weight, d_bias] =
      at::native_layer_norm_backward(d_y, norm.s, {norm.channels()}, norm.mean_R, norm.rstd_R, layer.weight.value,
                                     layer.bias.value, {wants_d_s, layer.weight.trainable(), layer.bias.trainable()});
  Tape::accumulate_parameter(layer.weight, d_weight);
  Tape::accumulate_parameter(layer.bias, d_bias);
  return wants_d_s && d_sum.defined() ? at::add(d_s, d_sum) : d_s;
}

at::Tensor forward(LayerNorm& norm, const at::Tensor& residual, const Layer& layer, double eps) {
  const int64_t channels = norm.channels();
  check(layer.weight.defined() && layer.weight.value.numel() == channels &&
            (!layer.bias.defined() || layer.bias.value.numel() == channels),
        "layer_norm", layer.weight.name, ": input ", norm.s.sizes());
  return has_kernel(norm.s) ? forward_by_kernel(norm, residual, layer, eps)
                            : forward_by_aten(norm, residual, layer, eps);
}

at::Tensor backward(const LayerNorm& norm, const Layer& layer, const at::Tensor& d_y, const at::Tensor& d_sum,
                    bool wants_d_s) {
  return has_kernel(norm.s) ? backward_by_kernel(norm, layer, d_y, d_sum, wants_d_s)
                            : backward_by_aten(norm, layer, d_y, d_sum, wants_d_s);
}

}  // namespace

Var group_norm(Tape& tape, const Var& x_BCHW, const Layer& layer, int64_t groups, double eps) {
  return group_norm_with(tape, x_BCHW, layer, groups, eps, /*silu=*/false);
}

Var group_norm_silu(Tape& tape, const Var& x_BCHW, const Layer& layer, int64_t groups, double eps) {
  return group_norm_with(tape, x_BCHW, layer, groups, eps, /*silu=*/true);
}

Var layer_norm(Tape& tape, const Var& x, const Layer& layer, double eps) {
  LayerNorm norm{.s = x.value.contiguous()};
  at::Tensor y = forward(norm, /*residual=*/{}, layer, eps);
  if (!tape.tracks(x) && !tape.trains(layer)) {
    return {std::move(y)};
  }
  return tape.record_recomputed(
      std::move(y), [&layer, norm, eps]() mutable { return forward(norm, /*residual=*/{}, layer, eps); },
      [&layer, norm, node = x.node](Tape& t, const at::Tensor& d_y) {
        t.accumulate(node, backward(norm, layer, d_y.contiguous(), /*d_sum=*/{}, node >= 0));
      });
}

AddLayerNorm add_layer_norm(Tape& tape, const Var& x, const Var& residual, const Layer& layer, double eps) {
  check(x.value.sizes() == residual.value.sizes(), "add_layer_norm", layer.weight.name, ": input ", x.value.sizes(),
        ", residual ", residual.value.sizes());
  LayerNorm norm{.s = x.value.contiguous()};
  at::Tensor y = forward(norm, residual.value.contiguous(), layer, eps);
  if (!tape.tracks({x, residual}) && !tape.trains(layer)) {
    return {.sum = norm.s, .norm = std::move(y)};
  }
  std::vector<Var> outputs = tape.record(
      {norm.s, std::move(y)},
      [&layer, norm, x_node = x.node, residual_node = residual.node](Tape& t, std::span<const at::Tensor> gradients) {
        const at::Tensor &d_sum = gradients[0], &d_y = gradients[1];
        at::Tensor d_s = d_sum;
        if (d_y.defined()) {
          d_s = backward(norm, layer, d_y.contiguous(), d_sum.defined() ? d_sum.contiguous() : d_sum,
                         x_node >= 0 || residual_node >= 0);
        }
        t.accumulate(x_node, d_s);
        t.accumulate(residual_node, d_s);
      });
  return {.sum = std::move(outputs[0]), .norm = std::move(outputs[1])};
}

}  // namespace smpo::tape
