// A golden UNet (tools/golden/unet.py): spec from diffusers' config, weights and inputs generated from their names.
#ifndef SMPO_TEST_MODELS_GOLDEN_UNET_H_
#define SMPO_TEST_MODELS_GOLDEN_UNET_H_

#include <ATen/ops/div.h>
#include <ATen/ops/tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "models/unet.h"
#include "support/golden.h"

namespace smpo::models::test {

/// Element i of a list, or a number that stands for all levels.
inline int64_t per_level(const smpo::test::Json& value, size_t i) {
  return value.is_array() ? value.array().at(i).integer() : value.integer();
}

inline UNetSpec spec_of(const smpo::test::Json& config) {
  UNetSpec spec{.in_channels = config["in_channels"].integer(),
                .out_channels = config["out_channels"].integer(),
                .cross_attention_dim = config["cross_attention_dim"].integer(),
                .use_linear_projection = config["use_linear_projection"].boolean(),
                .norm_num_groups = config["norm_num_groups"].integer(),
                .norm_eps = config["norm_eps"].number(),
                .flip_sin_to_cos = config["flip_sin_to_cos"].boolean(),
                .freq_shift = config["freq_shift"].number()};
  if (!config["addition_embed_type"].is_null()) {
    spec.addition_time_embed_dim = config["addition_time_embed_dim"].integer();
    spec.projection_class_embeddings_input_dim = config["projection_class_embeddings_input_dim"].integer();
  }
  const size_t levels = config["block_out_channels"].array().size();
  for (size_t i = 0; i < levels; ++i) {
    spec.levels.push_back(
        {.channels = per_level(config["block_out_channels"], i),
         .layers = per_level(config["layers_per_block"], i),
         .down_attention = config["down_block_types"].array()[i].string() == "CrossAttnDownBlock2D",
         .up_attention = config["up_block_types"].array()[levels - 1 - i].string() == "CrossAttnUpBlock2D",
         .transformer_layers = per_level(config["transformer_layers_per_block"], i),
         .heads = per_level(config["attention_head_dim"], i)});
  }
  return spec;
}

inline std::unique_ptr<UNet> golden_unet(const smpo::test::Golden& golden, const WeightOptions& options) {
  auto unet = std::make_unique<UNet>(spec_of(golden.json["config"]), options);
  for (const auto& [name, shape] : golden.json["parameters"].object()) {
    unet->weights().write(name, smpo::test::synthetic_parameter(name, shape.integers()));
  }
  return unet;
}

/// Inputs of one case and the cotangent of its output, in the model's precision.
struct UNetCase {
  UNet::Inputs inputs;
  at::Tensor cotangent;
};

inline UNetCase golden_case(const smpo::test::Golden& golden, size_t index, at::ScalarType precision = at::kFloat,
                            int64_t draw = 0) {
  const smpo::test::Json& description = golden.json["cases"].array().at(index);
  const auto value = [&](const std::string& name) {
    return smpo::test::synthetic_input(smpo::test::draw_prefix(index, draw) + name,
                                       description["shapes"][name].integers());
  };
  UNetCase result;
  result.inputs.sample_BCHW = value("sample").to(precision);
  result.inputs.timesteps_B = at::tensor(description["timesteps"].integers()).to(at::kFloat);
  result.inputs.encoder_hidden_states_BTD = value("encoder_hidden_states").to(precision);
  if (description["shapes"].has("time_ids")) {
    result.inputs.text_embeds_BE = value("text_embeds").to(precision);
    result.inputs.time_ids_BK = value("time_ids").div(std::sqrt(3.0)).add(1.0).mul(512.0).round();
  }
  result.cotangent = value("cotangent").to(precision);
  return result;
}

}  // namespace smpo::models::test

#endif  // SMPO_TEST_MODELS_GOLDEN_UNET_H_
