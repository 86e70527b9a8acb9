#include "models/clip_vision.h"

#include <ATen/ops/zeros.h>

#include <utility>

#include "models/check.h"
#include "tape/ops.h"

// Legend: B batch, C hidden_size (of images: channels), S tokens, P width of the embedding.
namespace smpo::models {

using tape::Tape;
using tape::Var;

namespace {

void check_spec(const ClipVisionSpec& spec) {
  check_spec(spec.encoder);
  check_size(spec.image_size, "image_size");
  check_size(spec.patch_size, "patch_size");
  check_size(spec.channels, "num_channels");
  if (spec.patch_size > spec.image_size) {
    refuse("patch_size: expected at most image_size (", spec.image_size, "), got ", spec.patch_size);
  }
  if (spec.projection_dim != 0) check_size(spec.projection_dim, "projection_dim");
  if (spec.all_tokens && spec.projection_dim != 0) {
    refuse("projection_dim: expected 0 with all_tokens, got ", spec.projection_dim);
  }
}

}  // namespace

ClipVision::ClipVision(const ClipVisionSpec& spec, const WeightOptions& options) : spec_(spec), weights_(options) {
  check_spec(spec);
  const int64_t channels = spec.encoder.hidden_size;
  class_embedding_ = &weights_.parameter("vision_model.embeddings.class_embedding", {channels});
  patch_embedding_ = &weights_.conv2d("vision_model.embeddings.patch_embedding", spec.channels, channels,
                                      spec.patch_size, spec.patch_bias);
  position_embedding_ =
      &weights_.parameter("vision_model.embeddings.position_embedding.weight", {spec.tokens(), channels});
  // The spelling of every checkpoint, misspelled since CLIP's first release.
  if (spec.pre_norm) pre_layernorm_ = &weights_.norm("vision_model.pre_layrnorm", channels);
  encoder_ = std::make_unique<ClipEncoder>(weights_, spec.encoder, "vision_model.encoder");
  post_layernorm_ = &weights_.norm("vision_model.post_layernorm", channels);
  if (spec.projection_dim > 0) {
    visual_projection_ = &weights_.linear("visual_projection", channels, spec.projection_dim, /*bias=*/false);
  }
  weights_.allocate();
}

ClipVision::Output ClipVision::encode(Tape& tape, const Var& pixel_values_BCHW, bool checkpointing) const {
  const at::Tensor& pixels = pixel_values_BCHW.value;
  const at::ScalarType dtype = weights_.options().precision;
  check_input(
      pixels.defined() && pixels.dim() == 4 && pixels.size(0) > 0 && pixels.size(1) == spec_.channels &&
          pixels.size(2) == spec_.image_size && pixels.size(3) == spec_.image_size && pixels.scalar_type() == dtype,
      "pixel_values",
      text("[B,", spec_.channels, ",", spec_.image_size, ",", spec_.image_size, "] of ", at::toString(dtype)), pixels);
  weights_.require_written(/*adapters=*/tape.adapters());

  const int64_t batch = pixels.size(0), channels = spec_.encoder.hidden_size;
  const double eps = spec_.encoder.layer_norm_eps;
  const Var patches_BSC =
      tokens(tape, conv2d(tape, pixel_values_BCHW, *patch_embedding_, {.stride = spec_.patch_size}));
  // Broadcasts the class token over the batch.
  const Var class_B1C = add(tape, at::zeros({batch, 1, channels}, pixels.options()), tape.parameter(*class_embedding_));
  Var x_BSC = add(tape, concat(tape, {class_B1C, patches_BSC}, /*dim=*/1), tape.parameter(*position_embedding_));
  if (pre_layernorm_ != nullptr) x_BSC = layer_norm(tape, x_BSC, *pre_layernorm_, eps);
  const Var hidden_BSC =
      encoder_->forward(tape, std::move(x_BSC), 0, spec_.encoder.layers, {.checkpointing = checkpointing});
  if (spec_.all_tokens) {
    return {.hidden_BSC = hidden_BSC, .embeds_BP = layer_norm(tape, hidden_BSC, *post_layernorm_, eps)};
  }
  const Var class_BC = reshape(tape, slice(tape, hidden_BSC, 1, 0, 1), {batch, channels});
  Var embeds_BP = layer_norm(tape, class_BC, *post_layernorm_, eps);
  if (visual_projection_ != nullptr) embeds_BP = linear(tape, embeds_BP, *visual_projection_);
  return {.hidden_BSC = hidden_BSC, .embeds_BP = embeds_BP};
}

}  // namespace smpo::models
