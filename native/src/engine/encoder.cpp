#include "engine/encoder.h"

#include <functional>
#include <vector>

#include "engine/error.h"
#include "engine/model_value.h"
#include "engine/packing.h"
#include "engine/session.h"
#include "engine/torch_tensor.h"
#include "models/pixel_values.h"

namespace smpo::engine {

using models::Bert;
using models::ClipActivation;
using models::ClipText;
using models::ClipVision;
using models::Vae;

namespace {

models::WeightOptions weight_options(Session& session, const smpo_model_options& options) {
  return {.precision = scalar_type(options.precision),
          .trainable = options.trainable == 1,
          .device = torch_device(session),
          .packing = packing_for(session)};
}

template <typename Network, typename Spec>
std::shared_ptr<Model> open(Session& session, const Spec& spec, const smpo_model_options& options) {
  auto model = std::make_shared<Model>();
  model->network = std::make_unique<Network>(spec, weight_options(session, options));
  return model;
}

// The part that the structs of both CLIP encoders share.
template <typename Spec>
models::ClipEncoderSpec encoder_of(const Spec& spec) {
  return {.hidden_size = spec.hidden_size,
          .intermediate_size = spec.intermediate_size,
          .attention_heads = spec.attention_heads,
          .layers = spec.layers,
          .activation = spec.activation == SMPO_ACTIVATION_GELU ? ClipActivation::kGelu : ClipActivation::kQuickGelu,
          .layer_norm_eps = spec.layer_norm_eps};
}

template <typename Network>
const Network& require(const Model& model, const char* expected) {
  const auto* network = std::get_if<std::unique_ptr<Network>>(&model.network);
  if (network == nullptr) fail(SMPO_INVALID_HANDLE, "model: expected ", expected, ", got a model of another kind");
  return **network;
}

// Converts an input to the precision of the model.
at::Tensor activation(const Tensor& tensor, const models::Weights& weights, const char* name) {
  return require_floating(tensor.value, name).to(weights.options().precision);
}

void require_ids(const Tensor& ids) {
  const at::ScalarType type = ids.value.scalar_type();
  if (type != at::kInt && type != at::kLong) {
    fail(SMPO_DTYPE_MISMATCH, "ids: expected i32 or i64, got ", dtype_name(dtype_of(type)));
  }
}

std::shared_ptr<Tensor> result(const at::Tensor& value) { return hold(value.to(at::kFloat)); }

}  // namespace

std::shared_ptr<Model> open_vae(Session& session, const smpo_vae_spec& spec, const smpo_model_options& options) {
  return open<Vae>(session,
                   models::VaeSpec{.in_channels = spec.in_channels,
                                   .out_channels = spec.out_channels,
                                   .latent_channels = spec.latent_channels,
                                   .block_out_channels = std::vector<int64_t>(spec.block_out_channels,
                                                                              spec.block_out_channels + spec.levels),
                                   .layers_per_block = spec.layers_per_block,
                                   .norm_num_groups = spec.norm_num_groups,
                                   .use_quant_conv = spec.use_quant_conv == 1,
                                   .use_post_quant_conv = spec.use_post_quant_conv == 1,
                                   .mid_block_attention = spec.mid_block_attention == 1},
                   options);
}

std::shared_ptr<Model> open_clip_text(Session& session, const smpo_clip_text_spec& spec,
                                      const smpo_model_options& options) {
  return open<ClipText>(session,
                        models::ClipTextSpec{.vocab_size = spec.vocab_size,
                                             .max_position_embeddings = spec.max_position_embeddings,
                                             .encoder = encoder_of(spec),
                                             .projection_dim = spec.projection_dim,
                                             .eos_token_id = spec.eos_token_id},
                        options);
}

std::shared_ptr<Model> open_clip_vision(Session& session, const smpo_clip_vision_spec& spec,
                                        const smpo_model_options& options) {
  return open<ClipVision>(session,
                          models::ClipVisionSpec{.image_size = spec.image_size,
                                                 .patch_size = spec.patch_size,
                                                 .channels = spec.channels,
                                                 .encoder = encoder_of(spec),
                                                 .projection_dim = spec.projection_dim,
                                                 .patch_bias = spec.patch_bias == 1,
                                                 .pre_norm = spec.pre_norm == 1,
                                                 .all_tokens = spec.all_tokens == 1},
                          options);
}

std::shared_ptr<Model> open_bert(Session& session, const smpo_bert_spec& spec, const smpo_model_options& options) {
  return open<Bert>(session,
                    models::BertSpec{.vocab_size = spec.vocab_size,
                                     .max_position_embeddings = spec.max_position_embeddings,
                                     .hidden_size = spec.hidden_size,
                                     .intermediate_size = spec.intermediate_size,
                                     .attention_heads = spec.attention_heads,
                                     .layers = spec.layers,
                                     .encoder_width = spec.encoder_width,
                                     .layer_norm_eps = spec.layer_norm_eps},
                    options);
}

Posterior vae_encode(Session& session, const Model& model, const Tensor& pixels, int64_t tile) {
  const auto& vae = require<Vae>(model, "a VAE");
  const at::Tensor value = activation(pixels, vae.weights(), "pixels");
  session.stop_if_cancelled();
  tape::Tape tape = tape::Tape::inference(model.uses_adapters());
  const Vae::Posterior posterior =
      tile == 0 ? vae.encode(tape, value)
                : vae.encode_tiled(value, tile, model.uses_adapters(), [&] { session.stop_if_cancelled(); });
  return {.mean = result(posterior.mean_BLHW.value), .logvar = result(posterior.logvar_BLHW.value)};
}

std::shared_ptr<Tensor> vae_decode(Session& session, const Model& model, const Tensor& latents, int64_t tile) {
  const auto& vae = require<Vae>(model, "a VAE");
  const at::Tensor value = activation(latents, vae.weights(), "latents");
  session.stop_if_cancelled();
  if (tile != 0) {
    return result(vae.decode_tiled(value, tile, model.uses_adapters(), [&] { session.stop_if_cancelled(); }));
  }
  tape::Tape tape = tape::Tape::inference(model.uses_adapters());
  return result(vae.decode(tape, value).value);
}

TextEncoding clip_text_encode(Session& session, const Model& model, const Tensor& ids, int64_t skip, bool final_norm,
                              bool wants_pooled) {
  const auto& encoder = require<ClipText>(model, "a CLIP text encoder");
  require_ids(ids);
  session.stop_if_cancelled();
  tape::Tape tape = tape::Tape::inference(model.uses_adapters());
  const ClipText::Output output =
      encoder.encode(tape, ids.value, {.skip = skip, .final_norm = final_norm, .pooled = wants_pooled});
  return {.hidden = result(output.hidden_BSC.value), .pooled = wants_pooled ? result(output.pooled_BP.value) : nullptr};
}

std::shared_ptr<Tensor> clip_vision_encode(Session& session, const Model& model, const Tensor& pixel_values) {
  const auto& encoder = require<ClipVision>(model, "a CLIP vision encoder");
  session.stop_if_cancelled();
  tape::Tape tape = tape::Tape::inference(model.uses_adapters());
  return result(encoder.encode(tape, activation(pixel_values, encoder.weights(), "pixel_values")).embeds_BP.value);
}

std::shared_ptr<Tensor> bert_encode(Session& session, const Model& model, const Tensor& ids,
                                    const Tensor& encoder_states) {
  const auto& encoder = require<Bert>(model, "a BERT");
  require_ids(ids);
  session.stop_if_cancelled();
  tape::Tape tape = tape::Tape::inference(model.uses_adapters());
  const tape::Var states = activation(encoder_states, encoder.weights(), "encoder_states");
  return result(encoder.encode(tape, ids.value, states).value.select(/*dim=*/1, /*index=*/0).contiguous());
}

namespace {

models::PixelSpec decode(const smpo_pixel_spec& spec) {
  return {
      .filter = spec.filter == SMPO_FILTER_BILINEAR ? models::ResizeFilter::kBilinear : models::ResizeFilter::kBicubic,
      .resized_height = spec.resized_height,
      .resized_width = spec.resized_width,
      .height = spec.height,
      .width = spec.width,
      .top = spec.top,
      .left = spec.left,
      .mean = {spec.mean[0], spec.mean[1], spec.mean[2]},
      .std = {spec.std[0], spec.std[1], spec.std[2]}};
}

at::Tensor f32(const Tensor& tensor, const char* name) { return require_floating(tensor.value, name).to(at::kFloat); }

// Returns the gradient of sum(output * cotangent) with respect to the input of a network whose parameters stay as they
// are.
std::shared_ptr<Tensor> input_gradient(Session& session, const Model& model, const at::Tensor& input,
                                       const Tensor& cotangent,
                                       const std::function<tape::Var(tape::Tape&, const tape::Var&)>& forward) {
  const at::Tensor seed = require_floating(cotangent.value, "cotangent").to(model.weights().options().precision);
  session.stop_if_cancelled();
  const models::Weights::Frozen frozen(model.weights());
  tape::Tape tape({.record = true, .adapters = model.uses_adapters()});
  const tape::Var x = tape.input(input);
  const tape::Var output = forward(tape, x);
  if (seed.sizes() != output.value.sizes()) {
    fail(SMPO_SHAPE_MISMATCH, "cotangent: expected ", shape_text(output.value), ", got ", shape_text(seed));
  }
  tape.backward({{output, seed}});
  return result(tape.gradient(x));
}

}  // namespace

std::shared_ptr<Tensor> pixel_values(Session& session, const Tensor& pixels, const smpo_pixel_spec& spec) {
  const at::Tensor value = f32(pixels, "pixels");
  session.stop_if_cancelled();
  return hold(models::pixel_values(value, decode(spec)));
}

std::shared_ptr<Tensor> pixel_values_backward(Session& session, const Tensor& pixels, const smpo_pixel_spec& spec,
                                              const Tensor& d_values) {
  const at::Tensor value = f32(pixels, "pixels"), gradient = f32(d_values, "d_values");
  session.stop_if_cancelled();
  return hold(models::pixel_values_backward(value, decode(spec), gradient));
}

std::shared_ptr<Tensor> clip_vision_backward(Session& session, const Model& model, const Tensor& pixel_values,
                                             const Tensor& cotangent) {
  const auto& encoder = require<ClipVision>(model, "a CLIP vision encoder");
  const at::Tensor value = activation(pixel_values, encoder.weights(), "pixel_values");
  return input_gradient(session, model, value, cotangent,
                        [&](tape::Tape& tape, const tape::Var& x) { return encoder.encode(tape, x).embeds_BP; });
}

std::shared_ptr<Tensor> vae_decode_backward(Session& session, const Model& model, const Tensor& latents,
                                            bool checkpointing, const Tensor& cotangent) {
  const auto& vae = require<Vae>(model, "a VAE");
  const at::Tensor value = activation(latents, vae.weights(), "latents");
  return input_gradient(session, model, value, cotangent,
                        [&](tape::Tape& tape, const tape::Var& x) { return vae.decode(tape, x, checkpointing); });
}

}  // namespace smpo::engine
