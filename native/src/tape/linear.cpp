#include <utility>

#include "tape/check.h"
#include "tape/epilogue.h"
#include "tape/matmul.h"
#include "tape/onednn.h"
#include "tape/ops.h"

namespace smpo::tape {
namespace {

/// [...,C] as [B,rows,C], as epilogues take it; vectors are the rows of one sample.
at::Tensor by_sample(const at::Tensor& x) {
  return x.dim() > 2 ? x.reshape({x.size(0), -1, x.size(-1)}) : x.reshape({1, -1, x.size(-1)});
}

}  // namespace

Var linear(Tape& tape, const Var& x, const Layer& layer, const LinearOptions& options) {
  const at::Tensor weight_DC = weight_matrix(layer.weight.value);
  const Lora* lora = tape.adapter(layer);
  check(x.size(-1) == weight_DC.size(1), "linear", layer.weight.name, ": input ", x.value.sizes(), ", weight ",
        layer.weight.value.sizes());
  std::vector<int64_t> shape = x.value.sizes().vec();
  shape.back() = weight_DC.size(0);

  const at::Tensor x_MC = as_matrix(x.value);
  // With a residual there is a pass anyway.
  const bool bias_with_product = library_adds_bias(x_MC) || !options.residual.defined();
  at::Tensor y_MD = layer_product(x_MC, layer.weight, bias_with_product ? layer.bias.value : at::Tensor());
  at::Tensor low_MR;
  if (lora != nullptr) {
    low_MR = product(x_MC, weight_matrix(lora->down.value).t()).mul_(lora->scale);
    add_product(y_MD, low_MR, weight_matrix(lora->up.value).t());
  }
  const at::Tensor& residual = options.residual.value;
  if (residual.defined()) {
    check(residual.sizes() == at::IntArrayRef(shape), "linear", layer.weight.name, ": residual ", residual.sizes(),
          ", result ", at::IntArrayRef(shape));
    y_MD = y_MD.view(by_sample(residual).sizes());
  }
  // Widened until all is added.
  at::Tensor y = with_epilogue(std::move(y_MD),
                               {.bias_C = bias_with_product ? at::Tensor() : layer.bias.value,
                                .residual = residual.defined() ? by_sample(residual) : residual},
                               x.value.scalar_type())
                     .view(shape);

  const bool tracked = tape.tracks({x, options.residual});
  if (!tracked && !tape.trains(layer)) {
    return {std::move(y)};
  }
  // A frozen layer needs only its weight to hand the gradient on.
  const bool keep_input = layer.weight.trainable() || (lora != nullptr && lora->trainable());
  return tape.record(std::move(y), [&layer, lora, x_node = x.node, residual_node = options.residual.node,
                                    x_shape = x.value.sizes().vec(), kept = keep_input ? x.kept() : Kept(),
                                    low_MR](Tape& t, const at::Tensor& d_y) {
    t.accumulate(residual_node, d_y);
    epilogue_gradients(by_sample(d_y), layer.bias, /*wants_sample_bias=*/false);
    const at::Tensor d_y_MD = widened(as_matrix(d_y));  // Once for all its products.
    const at::Tensor input_MC = kept.value().defined() ? as_matrix(kept.value()) : at::Tensor();
    if (layer.weight.trainable()) {
      accumulate_outer(weight_matrix(layer.weight.grad), d_y_MD, input_MC);
    }
    at::Tensor d_low_MR;
    if (lora != nullptr) {
      if (lora->up.trainable()) {
        accumulate_outer(weight_matrix(lora->up.grad), d_y_MD, low_MR);
      }
      d_low_MR = product(d_y_MD, weight_matrix(lora->up.value)).mul_(lora->scale);
      if (lora->down.trainable()) {
        accumulate_outer(weight_matrix(lora->down.grad), d_low_MR, input_MC);
      }
    }
    if (x_node >= 0) {
      at::Tensor d_x_MC = layer_input_gradient(d_y_MD, weight_matrix(layer.weight.value));
      if (lora != nullptr) {
        add_product(d_x_MC, d_low_MR, weight_matrix(lora->down.value));
      }
      t.accumulate(x_node, d_x_MC.to(d_y.scalar_type()).view(x_shape));
    }
  });
}

}  // namespace smpo::tape
