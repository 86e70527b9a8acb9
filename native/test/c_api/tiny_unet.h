// The smallest UNet that has every kind of layer, opened and written through the C API.
#ifndef SMPO_TEST_C_API_TINY_UNET_H_
#define SMPO_TEST_C_API_TINY_UNET_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "c_api/border.h"

namespace smpo::test {

inline smpo_unet_spec tiny_unet_spec() {
  auto spec = sized<smpo_unet_spec>();
  spec.in_channels = spec.out_channels = 4;
  spec.levels = 2;
  for (int32_t i = 0; i < spec.levels; ++i) {
    spec.block_out_channels[i] = 8;
    spec.layers_per_block[i] = 1;
    spec.transformer_layers[i] = 1;
    spec.attention_heads[i] = 2;
  }
  spec.down_attention[0] = 1;
  spec.up_attention[1] = 1;
  spec.cross_attention_dim = 6;
  spec.norm_num_groups = 4;
  spec.flip_sin_to_cos = 1;
  spec.norm_eps = 1e-5;
  return spec;
}

inline smpo_model_options f32_options() {
  auto options = sized<smpo_model_options>();
  options.precision = SMPO_F32;
  return options;
}

/// Pseudorandom numbers in (-1, 1) that depend on `salt`.
inline std::vector<float> some_floats(uint64_t count, uint64_t salt) {
  std::vector<float> values(count);
  for (uint64_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(std::sin(0.7 * static_cast<double>(i) + 1.3 * static_cast<double>(salt)));
  }
  return values;
}

inline smpo_tensor some_tensor(smpo_session session, std::initializer_list<int64_t> shape, uint64_t salt) {
  const auto spec = spec_of(SMPO_F32, shape);
  const std::vector<float> values = some_floats(elements_of(spec), salt);
  smpo_tensor tensor = 0;
  EXPECT_EQ(smpo_tensor_from_host(session, &spec, values.data(), values.size() * sizeof(float), &tensor, nullptr),
            SMPO_OK);
  return tensor;
}

inline smpo_model open_unet(smpo_session session, const smpo_model_options& options) {
  const auto spec = tiny_unet_spec();
  smpo_model model = 0;
  EXPECT_EQ(smpo_unet_open(session, &spec, &options, &model, nullptr), SMPO_OK);
  return model;
}

inline std::vector<smpo_parameter_info> parameters_of(smpo_session session, smpo_model model) {
  auto info = sized<smpo_model_info>();
  EXPECT_EQ(smpo_model_describe(session, model, &info, nullptr), SMPO_OK);
  std::vector<smpo_parameter_info> parameters(info.parameter_count, sized<smpo_parameter_info>());
  for (uint32_t i = 0; i < info.parameter_count; ++i) {
    EXPECT_EQ(smpo_model_parameter(session, model, i, &parameters[i], nullptr), SMPO_OK);
  }
  return parameters;
}

inline smpo_tensor_spec host_spec_of(const smpo_parameter_info& parameter) {
  auto spec = sized<smpo_tensor_spec>();
  spec.dtype = SMPO_F32;
  spec.rank = parameter.rank;
  for (int32_t i = 0; i < parameter.rank; ++i) spec.shape[i] = parameter.shape[i];
  return spec;
}

/// Writes every parameter that has not been written.
inline void write_missing(smpo_session session, smpo_model model) {
  uint64_t salt = 0;
  for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
    ++salt;
    if (parameter.written == 1) continue;
    const auto spec = host_spec_of(parameter);
    std::vector<float> values = some_floats(elements_of(spec), salt);
    // Gains near 1 and small weights otherwise keep activations from vanishing or exploding.
    const bool gain = parameter.rank == 1 && std::string(parameter.name).ends_with(".weight");
    for (float& value : values) value = gain ? 1 + 0.1f * value : 0.2f * value;
    EXPECT_EQ(smpo_model_write_parameter(session, model, parameter.name, &spec, values.data(),
                                         values.size() * sizeof(float), nullptr),
              SMPO_OK)
        << parameter.name;
  }
}

inline smpo_unet_inputs tiny_inputs(smpo_session session, int64_t batch = 2) {
  auto inputs = sized<smpo_unet_inputs>();
  inputs.sample = some_tensor(session, {batch, 4, 6, 5}, 100);
  inputs.timesteps = some_tensor(session, {batch}, 101);
  inputs.encoder_hidden_states = some_tensor(session, {batch, 7, 6}, 102);
  return inputs;
}

inline smpo_optimizer_options adamw_options() {
  auto options = sized<smpo_optimizer_options>();
  options.kind = SMPO_OPTIMIZER_ADAMW;
  options.beta1 = 0.9;
  options.beta2 = 0.999;
  options.eps = 1e-8;
  options.weight_decay = 1e-2;
  options.ema_decay = 0.9;
  return options;
}

/// Options of Adafactor in which every number has an effect.
inline smpo_optimizer_options adafactor_options() {
  auto options = sized<smpo_optimizer_options>();
  options.kind = SMPO_OPTIMIZER_ADAFACTOR;
  options.beta1 = 0.9;
  options.eps = 1e-30;
  options.weight_decay = 0.05;
  options.ema_decay = 0.9;
  options.parameter_eps = 1e-3;
  options.clip_threshold = 0.5;
  options.decay_rate = -0.8;
  options.scale_parameter = 1;
  return options;
}

inline smpo_sampler_row ddim_row(double timestep, double sample, double output) {
  auto row = sized<smpo_sampler_row>();
  row.keeps = 1;
  row.timestep = timestep;
  row.input_scale = 1;
  row.history_output = 1;
  row.sample = sample;
  row.history[0] = output;
  return row;
}

}  // namespace smpo::test

#endif  // SMPO_TEST_C_API_TINY_UNET_H_
