#include <utility>

#include "c_api/guard.h"
#include "c_api/model_options.h"
#include "engine/encoder.h"
#include "engine/model.h"
#include "engine/session.h"

using smpo::c_api::check_encoder_options;
using smpo::c_api::guarded;
using smpo::c_api::require_pointer;
using smpo::c_api::require_range;
using smpo::c_api::require_struct;
using smpo::c_api::require_zeros_beyond_levels;
using smpo::engine::Session;

namespace {

void check(const smpo_vae_spec* spec) {
  require_struct(spec, "spec");
  require_range(spec->levels, 1, SMPO_MAX_LEVELS, "spec.levels");
  require_range(spec->use_quant_conv, 0, 1, "spec.use_quant_conv");
  require_range(spec->use_post_quant_conv, 0, 1, "spec.use_post_quant_conv");
  require_range(spec->mid_block_attention, 0, 1, "spec.mid_block_attention");
  require_zeros_beyond_levels(spec->block_out_channels, spec->levels, "spec.block_out_channels");
}

template <typename ClipSpec>
void check(const ClipSpec* spec) {
  require_struct(spec, "spec");
  require_range(spec->activation, SMPO_ACTIVATION_GELU, SMPO_ACTIVATION_QUICK_GELU, "spec.activation");
}

void check(const smpo_pixel_spec* spec) {
  require_struct(spec, "spec");
  require_range(spec->filter, SMPO_FILTER_BILINEAR, SMPO_FILTER_BICUBIC, "spec.filter");
}

void check_blip(const smpo_clip_vision_spec& spec) {
  require_range(spec.patch_bias, 0, 1, "spec.patch_bias");
  require_range(spec.pre_norm, 0, 1, "spec.pre_norm");
  require_range(spec.all_tokens, 0, 1, "spec.all_tokens");
  require_range(spec.reserved, 0, 0, "spec.reserved");
}

}  // namespace

SMPO_EXPORT smpo_status smpo_vae_open(smpo_session session, const smpo_vae_spec* spec,
                                      const smpo_model_options* options, smpo_model* model, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    check(spec);
    check_encoder_options(options);
    require_pointer(model, "model");
    *model = s.adopt(smpo::engine::open_vae(s, *spec, *options));
  });
}

SMPO_EXPORT smpo_status smpo_clip_text_open(smpo_session session, const smpo_clip_text_spec* spec,
                                            const smpo_model_options* options, smpo_model* model, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    check(spec);
    check_encoder_options(options);
    require_pointer(model, "model");
    *model = s.adopt(smpo::engine::open_clip_text(s, *spec, *options));
  });
}

SMPO_EXPORT smpo_status smpo_clip_vision_open(smpo_session session, const smpo_clip_vision_spec* spec,
                                              const smpo_model_options* options, smpo_model* model, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    check(spec);
    check_blip(*spec);
    check_encoder_options(options);
    require_pointer(model, "model");
    *model = s.adopt(smpo::engine::open_clip_vision(s, *spec, *options));
  });
}

SMPO_EXPORT smpo_status smpo_bert_open(smpo_session session, const smpo_bert_spec* spec,
                                       const smpo_model_options* options, smpo_model* model, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    require_struct(spec, "spec");
    check_encoder_options(options);
    require_pointer(model, "model");
    *model = s.adopt(smpo::engine::open_bert(s, *spec, *options));
  });
}

SMPO_EXPORT smpo_status smpo_vae_encode(smpo_session session, smpo_model model, smpo_tensor pixels, int32_t tile,
                                        smpo_tensor* mean, smpo_tensor* logvar, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto vae = s.model(model);
    const auto input = s.tensor(pixels, "pixels");
    require_pointer(mean, "mean");
    require_pointer(logvar, "logvar");
    smpo::engine::Posterior posterior = smpo::engine::vae_encode(s, *vae, *input, tile);
    const smpo_tensor mean_handle = s.adopt(std::move(posterior.mean));
    *logvar = s.adopt(std::move(posterior.logvar));
    *mean = mean_handle;
  });
}

SMPO_EXPORT smpo_status smpo_vae_decode(smpo_session session, smpo_model model, smpo_tensor latents, int32_t tile,
                                        smpo_tensor* pixels, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto vae = s.model(model);
    const auto input = s.tensor(latents, "latents");
    require_pointer(pixels, "pixels");
    *pixels = s.adopt(smpo::engine::vae_decode(s, *vae, *input, tile));
  });
}

SMPO_EXPORT smpo_status smpo_clip_text_encode(smpo_session session, smpo_model model, smpo_tensor ids, int32_t skip,
                                              int32_t final_norm, smpo_tensor* hidden, smpo_tensor* pooled,
                                              smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto tower = s.model(model);
    const auto input = s.tensor(ids, "ids");
    require_range(final_norm, 0, 1, "final_norm");
    require_pointer(hidden, "hidden");
    smpo::engine::TextEncoding encoding =
        smpo::engine::clip_text_encode(s, *tower, *input, skip, final_norm == 1, pooled != nullptr);
    const smpo_tensor hidden_handle = s.adopt(std::move(encoding.hidden));
    if (pooled != nullptr) *pooled = s.adopt(std::move(encoding.pooled));
    *hidden = hidden_handle;
  });
}

SMPO_EXPORT smpo_status smpo_clip_vision_encode(smpo_session session, smpo_model model, smpo_tensor pixel_values,
                                                smpo_tensor* embeds, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto tower = s.model(model);
    const auto input = s.tensor(pixel_values, "pixel_values");
    require_pointer(embeds, "embeds");
    *embeds = s.adopt(smpo::engine::clip_vision_encode(s, *tower, *input));
  });
}

SMPO_EXPORT smpo_status smpo_bert_encode(smpo_session session, smpo_model model, smpo_tensor ids,
                                         smpo_tensor encoder_states, smpo_tensor* first, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto bert = s.model(model);
    const auto input = s.tensor(ids, "ids");
    const auto states = s.tensor(encoder_states, "encoder_states");
    require_pointer(first, "first");
    *first = s.adopt(smpo::engine::bert_encode(s, *bert, *input, *states));
  });
}

SMPO_EXPORT smpo_status smpo_pixel_values(smpo_session session, smpo_tensor pixels, const smpo_pixel_spec* spec,
                                          smpo_tensor* values, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto input = s.tensor(pixels, "pixels");
    check(spec);
    require_pointer(values, "values");
    *values = s.adopt(smpo::engine::pixel_values(s, *input, *spec));
  });
}

SMPO_EXPORT smpo_status smpo_pixel_values_backward(smpo_session session, smpo_tensor pixels,
                                                   const smpo_pixel_spec* spec, smpo_tensor d_values,
                                                   smpo_tensor* d_pixels, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto input = s.tensor(pixels, "pixels");
    check(spec);
    const auto gradient = s.tensor(d_values, "d_values");
    require_pointer(d_pixels, "d_pixels");
    *d_pixels = s.adopt(smpo::engine::pixel_values_backward(s, *input, *spec, *gradient));
  });
}

SMPO_EXPORT smpo_status smpo_clip_vision_backward(smpo_session session, smpo_model model, smpo_tensor pixel_values,
                                                  smpo_tensor cotangent, smpo_tensor* d_pixel_values,
                                                  smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto tower = s.model(model);
    const auto input = s.tensor(pixel_values, "pixel_values");
    const auto seed = s.tensor(cotangent, "cotangent");
    require_pointer(d_pixel_values, "d_pixel_values");
    *d_pixel_values = s.adopt(smpo::engine::clip_vision_backward(s, *tower, *input, *seed));
  });
}

SMPO_EXPORT smpo_status smpo_vae_decode_backward(smpo_session session, smpo_model model, smpo_tensor latents,
                                                 int32_t checkpointing, smpo_tensor cotangent, smpo_tensor* d_latents,
                                                 smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto vae = s.model(model);
    const auto input = s.tensor(latents, "latents");
    require_range(checkpointing, 0, 1, "checkpointing");
    const auto seed = s.tensor(cotangent, "cotangent");
    require_pointer(d_latents, "d_latents");
    *d_latents = s.adopt(smpo::engine::vae_decode_backward(s, *vae, *input, checkpointing == 1, *seed));
  });
}
