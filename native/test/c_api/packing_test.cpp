// Packed weights through the C API: after any change of a weight, the next evaluation uses the new one.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {
namespace {

/// Spec of a UNet wide enough that its weights are packed.
smpo_unet_spec wide_unet_spec() {
  smpo_unet_spec spec = tiny_unet_spec();
  for (int32_t i = 0; i < spec.levels; ++i) spec.block_out_channels[i] = 160;
  return spec;
}

class PackingTest : public BorderTest {
 protected:
  smpo_model open(bool trainable) {
    const auto spec = wide_unet_spec();
    auto options = f32_options();
    options.trainable = trainable ? 1 : 0;
    smpo_model model = 0;
    EXPECT_OK(smpo_unet_open(session, &spec, &options, &model, &error));
    return model;
  }

  smpo_unet_inputs inputs() {
    auto inputs = sized<smpo_unet_inputs>();
    inputs.sample = some_tensor(session, {2, 4, 16, 16}, 100);
    inputs.timesteps = some_tensor(session, {2}, 101);
    inputs.encoder_hidden_states = some_tensor(session, {2, 7, 6}, 102);
    return inputs;
  }

  std::vector<float> forward(smpo_model model) {
    const auto in = inputs();
    smpo_tensor output = 0;
    EXPECT_OK(smpo_unet_forward(session, model, &in, &output, &error));
    return to_host<float>(output);
  }

  void backward(smpo_model model) {
    const auto in = inputs();
    smpo_tensor output = 0;
    EXPECT_OK(
        smpo_unet_backward(session, model, &in, some_tensor(session, {2, 4, 16, 16}, 103), &output, nullptr, &error));
  }

  std::vector<float> read(smpo_model model, const smpo_parameter_info& parameter) {
    const auto spec = host_spec_of(parameter);
    std::vector<float> values(elements_of(spec));
    EXPECT_OK(
        smpo_model_read_parameter(session, model, parameter.name, &spec, values.data(), values.size() * 4, &error));
    return values;
  }

  /// Opens a model with the current weights of `model`, none of which has been packed before.
  smpo_model copy_of(smpo_model model) {
    const smpo_model copy = open(/*trainable=*/false);
    for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
      const auto spec = host_spec_of(parameter);
      const std::vector<float> values = read(model, parameter);
      EXPECT_OK(
          smpo_model_write_parameter(session, copy, parameter.name, &spec, values.data(), values.size() * 4, &error));
    }
    return copy;
  }
};

TEST_F(PackingTest, AfterAnOptimizerStepTheNewWeightsAreUsed) {
  for (auto options : {adamw_options(), adafactor_options()}) {
    const smpo_model model = open(/*trainable=*/true);
    write_missing(session, model);
    smpo_optimizer optimizer = 0;
    EXPECT_OK(smpo_optimizer_open(session, model, &options, &optimizer, &error));
    const std::vector<float> before = forward(model);
    for (int step = 0; step < 2; ++step) {
      backward(model);
      auto outcome = sized<smpo_step_outcome>();
      EXPECT_OK(
          smpo_optimizer_step(session, optimizer, 1e-3, std::numeric_limits<double>::infinity(), &outcome, &error));
      EXPECT_EQ(outcome.applied, 1);
      EXPECT_NE(forward(model), before);
      EXPECT_EQ(forward(model), forward(copy_of(model)));
    }
    // Loads into a model that has been evaluated, and therefore packed.
    const smpo_model ema = copy_of(model);
    forward(ema);
    EXPECT_OK(smpo_optimizer_copy_ema(session, optimizer, ema, &error));
    EXPECT_EQ(forward(ema), forward(copy_of(ema)));
  }
}

TEST_F(PackingTest, AfterAWriteTheNewWeightsAreUsed) {
  const smpo_model model = open(/*trainable=*/false);
  write_missing(session, model);
  const std::vector<float> before = forward(model);
  for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
    if (std::string(parameter.name) != "mid_block.resnets.0.conv1.weight") continue;
    const auto spec = host_spec_of(parameter);
    std::vector<float> values = read(model, parameter);
    for (float& value : values) value *= 2;
    EXPECT_OK(
        smpo_model_write_parameter(session, model, parameter.name, &spec, values.data(), values.size() * 4, &error));
  }
  EXPECT_NE(forward(model), before);
  EXPECT_EQ(forward(model), forward(copy_of(model)));
}

TEST_F(PackingTest, AfterMergingAnAdapterTheNewWeightsAreUsed) {
  const smpo_model model = open(/*trainable=*/false);
  write_missing(session, model);
  forward(model);
  auto lora = sized<smpo_lora_spec>();
  const char* modules[] = {"mid_block.resnets.0.conv1", "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"};
  lora.rank = 4;
  lora.alpha = 4;
  lora.modules = modules;
  lora.module_count = 2;
  EXPECT_OK(smpo_model_add_lora(session, model, &lora, &error));
  for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
    if (std::string(parameter.name).find(".lora_") == std::string::npos) continue;
    const auto spec = host_spec_of(parameter);
    const std::vector<float> values = some_floats(elements_of(spec), 7);
    EXPECT_OK(
        smpo_model_write_parameter(session, model, parameter.name, &spec, values.data(), values.size() * 4, &error));
  }
  const std::vector<float> with_adapter = forward(model);
  EXPECT_OK(smpo_model_merge_lora(session, model, 0.5, &error));
  EXPECT_NE(forward(model), with_adapter);
  EXPECT_EQ(forward(model), forward(copy_of(model)));
}

}  // namespace
}  // namespace smpo::test
