// The smallest VAE, CLIP towers and BERT, opened and written through the C API.
#ifndef SMPO_TEST_C_API_TINY_ENCODERS_H_
#define SMPO_TEST_C_API_TINY_ENCODERS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {

inline smpo_vae_spec tiny_vae_spec() {
  auto spec = sized<smpo_vae_spec>();
  spec.in_channels = spec.out_channels = 3;
  spec.latent_channels = 2;
  spec.levels = 2;
  spec.block_out_channels[0] = spec.block_out_channels[1] = 4;
  spec.layers_per_block = 1;
  spec.norm_num_groups = 2;
  spec.use_quant_conv = spec.use_post_quant_conv = spec.mid_block_attention = 1;
  return spec;
}

inline smpo_clip_text_spec tiny_text_spec() {
  auto spec = sized<smpo_clip_text_spec>();
  spec.vocab_size = 20;
  spec.max_position_embeddings = 5;
  spec.hidden_size = 4;
  spec.intermediate_size = 8;
  spec.attention_heads = 2;
  spec.layers = 2;
  spec.activation = SMPO_ACTIVATION_QUICK_GELU;
  spec.projection_dim = 3;
  spec.eos_token_id = 19;
  spec.layer_norm_eps = 1e-5;
  return spec;
}

inline smpo_clip_vision_spec tiny_vision_spec() {
  auto spec = sized<smpo_clip_vision_spec>();
  spec.image_size = 4;
  spec.patch_size = 2;
  spec.channels = 3;
  spec.hidden_size = 4;
  spec.intermediate_size = 8;
  spec.attention_heads = 2;
  spec.layers = 2;
  spec.activation = SMPO_ACTIVATION_GELU;
  spec.projection_dim = 3;
  spec.layer_norm_eps = 1e-5;
  spec.pre_norm = 1;
  return spec;
}

/// The vision transformer of BLIP with the sizes of tiny_vision_spec.
inline smpo_clip_vision_spec tiny_blip_spec() {
  auto spec = tiny_vision_spec();
  spec.projection_dim = 0;
  spec.patch_bias = spec.all_tokens = 1;
  spec.pre_norm = 0;
  return spec;
}

inline smpo_bert_spec tiny_bert_spec() {
  auto spec = sized<smpo_bert_spec>();
  spec.vocab_size = 20;
  spec.max_position_embeddings = 5;
  spec.hidden_size = 6;
  spec.intermediate_size = 8;
  spec.attention_heads = 2;
  spec.layers = 2;
  spec.encoder_width = 4;
  spec.layer_norm_eps = 1e-12;
  return spec;
}

/// Pixels of the tiny VAE resized and cropped for the tiny vision tower.
inline smpo_pixel_spec tiny_pixel_spec() {
  auto spec = sized<smpo_pixel_spec>();
  spec.filter = SMPO_FILTER_BICUBIC;
  spec.resized_height = 5;
  spec.resized_width = 4;
  spec.height = spec.width = 4;
  spec.top = -1;
  for (double& std : spec.std) std = 0.5;
  return spec;
}

inline smpo_tensor id_tensor(smpo_session session, std::initializer_list<int64_t> shape,
                             const std::vector<int32_t>& ids) {
  const auto spec = spec_of(SMPO_I32, shape);
  smpo_tensor tensor = 0;
  EXPECT_EQ(smpo_tensor_from_host(session, &spec, ids.data(), ids.size() * sizeof(int32_t), &tensor, nullptr), SMPO_OK);
  return tensor;
}

/// One model of each kind with every weight written, and their inputs.
struct EncoderWorld {
  smpo_model vae = 0;
  smpo_model text = 0;
  smpo_model vision = 0;
  smpo_model bert = 0;
  smpo_tensor pixels = 0;
  smpo_tensor latents = 0;
  smpo_tensor ids = 0;
  smpo_tensor pixel_values = 0;
  smpo_tensor states = 0;
  /// Gradients of the values of `pixels`, of embeddings of `pixel_values`, and of the decoded `latents`.
  smpo_tensor d_values = 0;
  smpo_tensor d_embeds = 0;
  smpo_tensor d_decoded = 0;
  /// Tensors with a shape that no model accepts.
  smpo_tensor flat = 0;
  smpo_tensor flat_ids = 0;

  EncoderWorld() = default;
  explicit EncoderWorld(smpo_session session, int32_t precision = SMPO_F32) {
    auto options = f32_options();
    options.precision = precision;
    const auto vae_spec = tiny_vae_spec();
    const auto text_spec = tiny_text_spec();
    const auto vision_spec = tiny_vision_spec();
    const auto bert_spec = tiny_bert_spec();
    EXPECT_EQ(smpo_vae_open(session, &vae_spec, &options, &vae, nullptr), SMPO_OK);
    EXPECT_EQ(smpo_clip_text_open(session, &text_spec, &options, &text, nullptr), SMPO_OK);
    EXPECT_EQ(smpo_clip_vision_open(session, &vision_spec, &options, &vision, nullptr), SMPO_OK);
    EXPECT_EQ(smpo_bert_open(session, &bert_spec, &options, &bert, nullptr), SMPO_OK);
    for (const smpo_model model : {vae, text, vision, bert}) write_missing(session, model);
    pixels = some_tensor(session, {1, 3, 12, 10}, 1);
    latents = some_tensor(session, {1, 2, 6, 5}, 2);
    ids = id_tensor(session, {2, 5}, {1, 7, 19, 19, 19, 1, 3, 4, 5, 19});
    pixel_values = some_tensor(session, {2, 3, 4, 4}, 3);
    d_values = some_tensor(session, {1, 3, 4, 4}, 6);
    d_embeds = some_tensor(session, {2, 3}, 7);
    d_decoded = some_tensor(session, {1, 3, 12, 10}, 8);
    states = some_tensor(session, {2, 7, 4}, 5);
    flat = some_tensor(session, {5}, 4);
    flat_ids = id_tensor(session, {3}, {1, 2, 3});
  }
};

}  // namespace smpo::test

#endif  // SMPO_TEST_C_API_TINY_ENCODERS_H_
