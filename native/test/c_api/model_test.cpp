// A UNet through the C API: parameters are written and read back, it evaluates, trains, and accepts adapters.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {
namespace {

class ModelTest : public BorderTest {
 protected:
  smpo_model trainable(bool checkpointing = false) {
    auto options = f32_options();
    options.trainable = 1;
    options.checkpointing = checkpointing ? 1 : 0;
    const smpo_model model = open_unet(session, options);
    write_missing(session, model);
    return model;
  }
  std::vector<float> read(smpo_model model, const smpo_parameter_info& parameter) {
    const auto spec = host_spec_of(parameter);
    std::vector<float> values(elements_of(spec));
    EXPECT_OK(smpo_model_read_parameter(session, model, parameter.name, &spec, values.data(),
                                        values.size() * sizeof(float), &error));
    return values;
  }
  std::vector<float> read_gradient(smpo_model model, const smpo_parameter_info& parameter) {
    const auto spec = host_spec_of(parameter);
    std::vector<float> values(elements_of(spec));
    EXPECT_OK(smpo_model_read_gradient(session, model, parameter.name, &spec, values.data(),
                                       values.size() * sizeof(float), &error));
    return values;
  }
  void write(smpo_model model, const smpo_parameter_info& parameter, const std::vector<float>& values) {
    const auto spec = host_spec_of(parameter);
    EXPECT_OK(smpo_model_write_parameter(session, model, parameter.name, &spec, values.data(),
                                         values.size() * sizeof(float), &error));
  }
  std::vector<float> forward(smpo_model model, const smpo_unet_inputs& inputs) {
    smpo_tensor output = 0;
    EXPECT_OK(smpo_unet_forward(session, model, &inputs, &output, &error));
    return to_host<float>(output);
  }
  void add_lora(smpo_model model, const std::vector<const char*>& modules) {
    auto lora = sized<smpo_lora_spec>();
    lora.rank = 2;
    lora.alpha = 4;
    lora.module_count = static_cast<uint32_t>(modules.size());
    lora.modules = modules.data();
    EXPECT_OK(smpo_model_add_lora(session, model, &lora, &error));
  }
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

TEST_F(ModelTest, ParametersAreReadBackAsWritten) {
  const smpo_model model = trainable();
  uint64_t elements = 0, salt = 0;
  for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
    const std::vector<float> values = some_floats(elements_of(host_spec_of(parameter)), ++salt);
    write(model, parameter, values);
    EXPECT_EQ(read(model, parameter), values) << parameter.name;
    EXPECT_EQ(parameter.trainable, 1);
    EXPECT_EQ(parameter.dtype, SMPO_F32);
    elements += values.size();
  }
  auto info = sized<smpo_model_info>();
  EXPECT_OK(smpo_model_describe(session, model, &info, &error));
  EXPECT_EQ(info.kind, SMPO_MODEL_UNET);
  EXPECT_EQ(info.precision, SMPO_F32);
  EXPECT_EQ(info.trainable, 1);
  EXPECT_EQ(info.written_count, info.parameter_count);
  EXPECT_EQ(info.elements, elements);
  EXPECT_GE(info.bytes, 8 * elements);
}

TEST_F(ModelTest, ReadsAndWritesOtherFloatTypes) {
  auto options = f32_options();
  options.precision = SMPO_BF16;
  const smpo_model model = open_unet(session, options);
  // 1.5 and -0.25 are exact in every dtype.
  const uint16_t half[] = {0x3e00, 0xb400, 0x3e00, 0xb400};
  const auto half_spec = spec_of(SMPO_F16, {4});
  EXPECT_OK(smpo_model_write_parameter(session, model, "conv_out.bias", &half_spec, half, sizeof half, &error));
  float wide[4] = {};
  const auto f32_spec = spec_of(SMPO_F32, {4});
  EXPECT_OK(smpo_model_read_parameter(session, model, "conv_out.bias", &f32_spec, wide, sizeof wide, &error));
  EXPECT_EQ(wide[0], 1.5f);
  EXPECT_EQ(wide[1], -0.25f);
  uint16_t narrow[4] = {};
  const auto bf16_spec = spec_of(SMPO_BF16, {4});
  EXPECT_OK(smpo_model_read_parameter(session, model, "conv_out.bias", &bf16_spec, narrow, sizeof narrow, &error));
  EXPECT_EQ(narrow[0], 0x3fc0);
  EXPECT_EQ(narrow[3], 0xbe80);
}

TEST_F(ModelTest, BackwardGivesTheForwardAndTheSlope) {
  const smpo_model model = trainable();
  const smpo_unet_inputs inputs = tiny_inputs(session);
  const smpo_tensor cotangent = some_tensor(session, {2, 4, 6, 5}, 9);
  const std::vector<float> seed = to_host<float>(cotangent);
  smpo_tensor output = 0, d_sample = 0;
  EXPECT_OK(smpo_unet_backward(session, model, &inputs, cotangent, &output, &d_sample, &error));
  EXPECT_EQ(to_host<float>(output), forward(model, inputs));

  // Along the gradient of one parameter, the loss changes by the gradient's squared norm, up to second order.
  const auto loss = [&] {
    const std::vector<float> values = forward(model, inputs);
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += static_cast<double>(values[i]) * seed[i];
    return sum;
  };
  const std::vector<smpo_parameter_info> parameters = parameters_of(session, model);
  const auto& parameter = *std::find_if(parameters.begin(), parameters.end(), [](const smpo_parameter_info& p) {
    return std::string(p.name) == "mid_block.resnets.0.conv1.weight";
  });
  const std::vector<float> start = read(model, parameter), gradient = read_gradient(model, parameter);
  double length2 = 0;
  for (const float g : gradient) length2 += static_cast<double>(g) * g;
  ASSERT_GT(length2, 0);
  const double step = 0.01 / std::sqrt(length2);
  const auto loss_at = [&](double t) {
    std::vector<float> moved = start;
    for (size_t i = 0; i < moved.size(); ++i) moved[i] += static_cast<float>(t * gradient[i]);
    write(model, parameter, moved);
    return loss();
  };
  const double difference = (loss_at(step) - loss_at(-step)) / (2 * step);
  // In f32 the loss is accurate to about 1e-6, compared with a change of 0.02 |gradient|.
  EXPECT_NEAR(difference, length2, 1e-2 * length2);

  // Gradients accumulate until they are zeroed. A null d_sample is not computed.
  write(model, parameter, start);
  EXPECT_OK(smpo_unet_backward(session, model, &inputs, cotangent, &output, nullptr, &error));
  const std::vector<float> twice = read_gradient(model, parameter);
  for (size_t i = 0; i < twice.size(); ++i) EXPECT_FLOAT_EQ(twice[i], 2 * gradient[i]);
  EXPECT_OK(smpo_model_zero_gradients(session, model, &error));
  EXPECT_EQ(read_gradient(model, parameter), std::vector<float>(gradient.size(), 0.0f));
}

TEST_F(ModelTest, CheckpointingChangesNoBit) {
  const smpo_unet_inputs inputs = tiny_inputs(session);
  const smpo_tensor cotangent = some_tensor(session, {2, 4, 6, 5}, 9);
  const smpo_model plain = trainable(), checkpointed = trainable(/*checkpointing=*/true);
  std::vector<float> d_samples[2];
  for (const int i : {0, 1}) {
    smpo_tensor output = 0, d_sample = 0;
    EXPECT_OK(
        smpo_unet_backward(session, i == 0 ? plain : checkpointed, &inputs, cotangent, &output, &d_sample, &error));
    d_samples[i] = to_host<float>(d_sample);
  }
  EXPECT_EQ(d_samples[0], d_samples[1]);
  for (const smpo_parameter_info& parameter : parameters_of(session, plain)) {
    EXPECT_EQ(read_gradient(plain, parameter), read_gradient(checkpointed, parameter)) << parameter.name;
  }
}

TEST_F(ModelTest, AFrozenModelStillGivesTheGradientOfItsSample) {
  const smpo_model frozen = open_unet(session, f32_options()), trained = trainable();
  write_missing(session, frozen);
  const smpo_unet_inputs inputs = tiny_inputs(session);
  const smpo_tensor cotangent = some_tensor(session, {2, 4, 6, 5}, 9);
  smpo_tensor outputs[2] = {}, d_samples[2] = {}, output = 0;
  EXPECT_OK(smpo_unet_backward(session, frozen, &inputs, cotangent, &outputs[0], &d_samples[0], &error));
  EXPECT_OK(smpo_unet_backward(session, trained, &inputs, cotangent, &outputs[1], &d_samples[1], &error));
  EXPECT_EQ(to_host<float>(outputs[0]), to_host<float>(outputs[1]));
  EXPECT_EQ(to_host<float>(d_samples[0]), to_host<float>(d_samples[1]));
  EXPECT_OK(smpo_unet_backward(session, frozen, &inputs, cotangent, &output, nullptr, &error));
  EXPECT_EQ(to_host<float>(output), to_host<float>(outputs[0]));
}

TEST_F(ModelTest, AdaptersScaleSwitchOffAndMerge) {
  const smpo_model model = open_unet(session, f32_options());
  write_missing(session, model);
  const smpo_unet_inputs inputs = tiny_inputs(session);
  const std::vector<float> base = forward(model, inputs);
  add_lora(model, {"conv_in", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"});
  smpo_tensor output = 0;
  EXPECT_EQ(smpo_unet_forward(session, model, &inputs, &output, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_NE(std::string(error.message).find("conv_in.lora_A.weight"), std::string::npos) << error.message;
  write_missing(session, model);
  EXPECT_EQ(forward(model, inputs), base) << "B is zero";

  const std::vector<smpo_parameter_info> parameters = parameters_of(session, model);
  for (const smpo_parameter_info& parameter : parameters) {
    if (!std::string(parameter.name).ends_with(".lora_B.weight")) continue;
    EXPECT_EQ(parameter.trainable, 1);
    write(model, parameter, some_floats(elements_of(host_spec_of(parameter)), 3));
  }
  const std::vector<float> adapted = forward(model, inputs);
  EXPECT_GT(largest_difference(adapted, base), 1e-2);
  EXPECT_OK(smpo_model_set_lora_scale(session, model, 0, &error));
  EXPECT_EQ(forward(model, inputs), base) << "off";
  EXPECT_OK(smpo_model_set_lora_scale(session, model, 1, &error));
  EXPECT_EQ(forward(model, inputs), adapted) << "on again";

  EXPECT_OK(smpo_model_merge_lora(session, model, 1, &error));
  EXPECT_LT(largest_difference(forward(model, inputs), adapted), 1e-4);
  EXPECT_EQ(parameters_of(session, model).size(), parameters.size() - 4);
}

TEST_F(ModelTest, Bf16ComputesNearF32) {
  auto options = f32_options();
  options.precision = SMPO_BF16;
  const smpo_model narrow = open_unet(session, options), wide = open_unet(session, f32_options());
  write_missing(session, narrow);
  write_missing(session, wide);
  const smpo_unet_inputs inputs = tiny_inputs(session);
  const std::vector<float> a = forward(narrow, inputs), b = forward(wide, inputs);
  double error2 = 0, norm2 = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error2 += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm2 += std::pow(static_cast<double>(b[i]), 2);
  }
  EXPECT_GT(error2, 0);
  // A few dozen roundings of 2^-9 in a row.
  EXPECT_LT(std::sqrt(error2 / norm2), 16 * 0x1p-9);
}

TEST_F(ModelTest, AModelClosesWithItsSession) {
  const smpo_model model = open_unet(session, f32_options());
  EXPECT_OK(smpo_session_close(session, &error));
  EXPECT_OK(smpo_session_open(&config, &session, &error));
  auto info = sized<smpo_model_info>();
  EXPECT_EQ(smpo_model_describe(session, model, &info, &error), SMPO_INVALID_HANDLE);
  EXPECT_STREQ(error.message, "smpo_model_describe: model: the model handle is closed");
}

}  // namespace
}  // namespace smpo::test
