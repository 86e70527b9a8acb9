#include <utility>

#include "tape/check.h"
#include "tape/convolution.h"
#include "tape/epilogue.h"
#include "tape/onednn.h"
#include "tape/ops.h"

namespace smpo::tape {
namespace {

constexpr Convolution kPointwise{};

void accumulate_weight(const Parameter& weight, const at::Tensor& d_y, const at::Tensor& x,
                       const Convolution& geometry) {
  if (weight.trainable()) {
    accumulate_convolution_weight_gradient(weight.grad, d_y, x, geometry, weight_gradient_method(d_y, weight.grad));
  }
}

at::Tensor input_gradient(const at::Tensor& d_y, at::IntArrayRef x_shape, const at::Tensor& weight,
                          const Convolution& geometry) {
  return convolution_input_gradient(d_y, x_shape, weight, geometry, input_gradient_method(d_y, weight));
}

}  // namespace

Var conv2d(Tape& tape, const Var& x_BCHW, const Layer& layer, const Conv2dOptions& options) {
  const Convolution geometry{.stride = options.stride, .padding = options.padding};
  const at::Tensor& weight_DCKK = layer.weight.value;
  check(x_BCHW.value.dim() == 4 && weight_DCKK.dim() == 4 && x_BCHW.size(1) == weight_DCKK.size(1), "conv2d",
        layer.weight.name, ": input ", x_BCHW.value.sizes(), ", weight ", weight_DCKK.sizes());
  const at::Tensor x = x_BCHW.value.contiguous(at::MemoryFormat::ChannelsLast);
  const Lora* lora = tape.adapter(layer);

  const at::Tensor library_bias = library_adds_bias(x) ? layer.bias.value : at::Tensor();
  at::Tensor y = layer_convolution(x, layer.weight, library_bias, geometry);
  at::Tensor low;
  if (lora != nullptr) {
    low = convolve(x, lora->down.value, {}, geometry, forward_method(x, lora->down.value, geometry)).mul_(lora->scale);
    y.add_(convolve(low, lora->up.value, {}, kPointwise, ConvolutionMethod::kGemm));
  }
  if (options.sample_bias.defined()) {
    const at::Tensor& bias_BD = options.sample_bias.value;
    check(bias_BD.dim() == 2 && bias_BD.size(0) == y.size(0) && bias_BD.size(1) == y.size(1), "conv2d",
          layer.weight.name, ": sample bias ", bias_BD.sizes(), ", result ", y.sizes());
  }
  if (options.residual.defined()) {
    check(options.residual.value.sizes() == y.sizes(), "conv2d", layer.weight.name, ": residual ",
          options.residual.value.sizes(), ", result ", y.sizes());
  }
  y = with_epilogue(std::move(y),
                    {.bias_C = library_bias.defined() ? at::Tensor() : layer.bias.value,
                     .sample_bias_BC = options.sample_bias.value,
                     .residual = options.residual.value},
                    x.scalar_type());

  const bool tracked = tape.tracks({x_BCHW, options.sample_bias, options.residual});
  if (!tracked && !tape.trains(layer)) {
    return {std::move(y)};
  }
  const bool keep_input = layer.weight.trainable() || (lora != nullptr && lora->trainable());
  return tape.record(
      std::move(y), [&layer, lora, geometry, low, x_node = x_BCHW.node, sample_bias_node = options.sample_bias.node,
                     residual_node = options.residual.node, x_shape = x.sizes().vec(),
                     kept = keep_input ? x_BCHW.kept() : Kept()](Tape& t, const at::Tensor& gradient) {
        t.accumulate(residual_node, gradient);
        const at::Tensor d_y = gradient.contiguous(at::MemoryFormat::ChannelsLast);
        t.accumulate(sample_bias_node, epilogue_gradients(d_y, layer.bias, sample_bias_node >= 0));
        const at::Tensor input =
            kept.value().defined() ? kept.value().contiguous(at::MemoryFormat::ChannelsLast) : at::Tensor();
        accumulate_weight(layer.weight, d_y, input, geometry);
        at::Tensor d_low;
        if (lora != nullptr) {
          accumulate_weight(lora->up, d_y, low, kPointwise);
          d_low = input_gradient(d_y, low.sizes(), lora->up.value, kPointwise).mul_(lora->scale);
          accumulate_weight(lora->down, d_low, input, geometry);
        }
        if (x_node >= 0) {
          at::Tensor d_x = input_gradient(d_y, x_shape, layer.weight.value, geometry);
          if (lora != nullptr) {
            d_x.add_(input_gradient(d_low, x_shape, lora->down.value, geometry));
          }
          t.accumulate(x_node, d_x.to(gradient.scalar_type()));
        }
      });
}

}  // namespace smpo::tape
