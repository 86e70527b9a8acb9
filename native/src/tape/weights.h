// The inputs of an op besides activations: parameters and their low-rank adapters.
#ifndef SMPO_TAPE_WEIGHTS_H_
#define SMPO_TAPE_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

namespace smpo::tape {

class PackedWeights;

/// One named tensor of a model. Both tensors are views into the flat buffers of the model and share one shape; a
/// convolution's weight is [out, in, kh, kw], best in channels_last strides ([out, kh, kw, in] in memory).
struct Parameter {
  std::string name = {};
  /// The copy that ops compute with, in the dtype of the activations. Undefined: the layer has no such parameter.
  at::Tensor value = {};
  /// Buffer to which backward adds (`+=`) the gradient; f32, or f64 where `value` is f64. Undefined: frozen.
  at::Tensor grad = {};
  /// Packed copy of `value` for ops. Null: this parameter is never packed.
  PackedWeights* packed = nullptr;

  bool defined() const { return value.defined(); }
  bool trainable() const { return grad.defined(); }
};

/// A low-rank adapter: y += scale * up(down(x)). On a linear layer `down` is [rank, in] and `up` [out, rank]; on a
/// convolution `down` has the layer's kernel, stride and padding, [rank, in, kh, kw], and `up` is [out, rank, 1, 1].
struct Lora {
  Parameter down = {};
  Parameter up = {};
  double scale = 1.0;

  bool trainable() const { return down.trainable() || up.trainable(); }
};

/// The parameters of one layer: linear, convolution or norm. Records of a tape point to it, so it must not move until
/// the tape's backward has run.
struct Layer {
  Parameter weight = {};
  Parameter bias = {};
  std::optional<Lora> lora = {};

  bool trainable() const { return weight.trainable() || bias.trainable(); }
};

}  // namespace smpo::tape

#endif  // SMPO_TAPE_WEIGHTS_H_
