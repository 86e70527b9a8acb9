// The UNet against outputs and gradients of diffusers, and invariants between its ways of running.
#include "models/unet.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "models/golden_unet.h"
#include "models/peer_errors.h"
#include "tape/compare.h"

namespace smpo::models::test {
namespace {

using smpo::test::Golden;
using smpo::test::synthetic_input;
using tape::Tape;
using tape::Var;
using tape::test::matches;
using tape::test::relative_error;

// Largest difference of two correct f32 implementations with a few hundred layers. The sums of one layer have up to
// 10^3 terms, each rounded to 2^-24 = 6e-8; errors of layers add up like a random walk.
constexpr double kOutputTolerance = 1e-5;
constexpr double kGradientTolerance = 1e-4;

struct Result {
  at::Tensor output;
  at::Tensor d_sample;
};

Result run_backward(const UNet& unet, UNetCase c, bool checkpointing = false, bool adapters = true) {
  const c10::InferenceMode mode;
  Tape tape({.record = true, .adapters = adapters});
  c.inputs.sample_BCHW = tape.input(c.inputs.sample_BCHW.value);
  const Var output = unet.forward(tape, c.inputs, checkpointing);
  tape.backward({{output, c.cotangent}});
  return {output.value, tape.gradient(c.inputs.sample_BCHW)};
}

at::Tensor run_forward(const UNet& unet, const UNetCase& c, bool adapters = true) {
  const c10::InferenceMode mode;
  Tape tape = Tape::inference(adapters);
  return unet.forward(tape, c.inputs).value;
}

std::map<std::string, at::Tensor> gradients(const Weights& weights) {
  std::map<std::string, at::Tensor> result;
  for (size_t i = 0; i < weights.size(); ++i) {
    const ParameterGroup::Entry& entry = weights.entry(i);
    if (entry.parameter->trainable()) result.emplace(entry.name, weights.read_gradient(entry.name));
  }
  return result;
}

/// Whether the bits are equal, whatever the strides.
bool identical(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
         std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

/// Runs with equal weights and inputs on the smallest golden case with odd sizes of each family.
constexpr size_t kOddCase = 1;

class Family : public ::testing::TestWithParam<const char*> {
 protected:
  const Golden golden{"unet", GetParam()};
};

INSTANTIATE_TEST_SUITE_P(UNet, Family, ::testing::Values("sd1", "sd2", "sdxl", "refiner"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(Family, HasExactlyTheParametersOfDiffusers) {
  const UNet unet(spec_of(golden.json["config"]), {});
  std::map<std::string, std::vector<int64_t>> ours, theirs;
  for (size_t i = 0; i < unet.weights().size(); ++i) {
    ours.emplace(unet.weights().entry(i).name, unet.weights().entry(i).shape);
  }
  for (const auto& [name, shape] : golden.json["parameters"].object()) theirs.emplace(name, shape.integers());
  EXPECT_EQ(ours, theirs);
}

TEST_P(Family, AgreesWithDiffusersInOutputAndEveryGradient) {
  const auto unet = golden_unet(golden, {.trainable = true});
  for (size_t k = 0; k < golden.json["cases"].array().size(); ++k) {
    const std::string at = "case" + std::to_string(k);
    SCOPED_TRACE(at);
    unet->weights().zero_gradients();
    const Result result = run_backward(*unet, golden_case(golden, k));
    EXPECT_TRUE(matches(result.output, golden.tensor(at + ".output"), kOutputTolerance));
    EXPECT_TRUE(matches(result.d_sample, golden.tensor(at + ".grad.sample"), kGradientTolerance));

    const at::Tensor norms = golden.tensor(at + ".norm");
    double worst = 0;
    int64_t i = 0;
    for (const auto& [name, shape] : golden.json["parameters"].object()) {
      const at::Tensor gradient = unet->weights().read_gradient(name).flatten();
      const int64_t kept = std::min<int64_t>(24, gradient.numel());
      const at::Tensor index = at::arange(kept, at::kLong).mul(gradient.numel()).floor_divide(kept);
      const at::Tensor sampled = gradient.index_select(0, index);
      const at::Tensor& wanted = golden.tensor(at + ".grad." + name);
      EXPECT_TRUE(matches(sampled, wanted, kGradientTolerance)) << name;
      const double norm = norms[i++].item<double>();
      EXPECT_NEAR(gradient.to(at::kDouble).norm().item<double>(), norm, kGradientTolerance * norm) << name;
      worst = std::max(worst, relative_error(sampled, wanted));
    }
    std::printf("%s %s: output %.2g, d_sample %.2g, worst parameter %.2g\n", GetParam(), at.c_str(),
                relative_error(result.output, golden.tensor(at + ".output")),
                relative_error(result.d_sample, golden.tensor(at + ".grad.sample")), worst);
  }
}

TEST_P(Family, AWeightThatChangesIsNoticed) {
  const auto unet = golden_unet(golden, {});
  // Changes one element of a middle layer by a tenth of its scale.
  const std::string name = "mid_block.attentions.0.transformer_blocks.0.ff.net.2.weight";
  at::Tensor weight = unet->weights().read(name);
  weight[3][5] += 0.1 * weight.std().item<double>();
  unet->weights().write(name, weight);
  const at::Tensor output = run_forward(*unet, golden_case(golden, 0));
  EXPECT_GT(relative_error(output, golden.tensor("case0.output")), kOutputTolerance);
}

TEST_P(Family, CheckpointingAndRecordingChangeNoBit) {
  const auto unet = golden_unet(golden, {.trainable = true});
  const UNetCase c = golden_case(golden, kOddCase);
  const Result plain = run_backward(*unet, c);
  const auto plain_gradients = gradients(unet->weights());
  EXPECT_TRUE(identical(run_forward(*unet, c), plain.output));

  unet->weights().zero_gradients();
  const Result checkpointed = run_backward(*unet, c, /*checkpointing=*/true);
  EXPECT_TRUE(identical(checkpointed.output, plain.output));
  EXPECT_TRUE(identical(checkpointed.d_sample, plain.d_sample));
  for (const auto& [name, gradient] : gradients(unet->weights())) {
    EXPECT_TRUE(identical(gradient, plain_gradients.at(name))) << name;
  }
}

TEST_P(Family, RowsDoNotDependOnOneAnother) {
  const auto unet = golden_unet(golden, {});
  const UNetCase c = golden_case(golden, 2);
  const at::Tensor together = run_forward(*unet, c);
  for (int64_t row = 0; row < together.size(0); ++row) {
    UNetCase one = c;
    one.inputs.sample_BCHW = c.inputs.sample_BCHW.value.narrow(0, row, 1);
    one.inputs.timesteps_B = c.inputs.timesteps_B.narrow(0, row, 1);
    one.inputs.encoder_hidden_states_BTD = c.inputs.encoder_hidden_states_BTD.value.narrow(0, row, 1);
    if (c.inputs.time_ids_BK.defined()) {
      one.inputs.text_embeds_BE = c.inputs.text_embeds_BE.value.narrow(0, row, 1);
      one.inputs.time_ids_BK = c.inputs.time_ids_BK.narrow(0, row, 1);
    }
    EXPECT_TRUE(matches(run_forward(*unet, one), together.narrow(0, row, 1), kOutputTolerance)) << row;
  }
}

// Checks the f64 gradient of all parameters at once: it predicts the change of the loss along a direction of random
// signs.
TEST_P(Family, GradientsAreTheSlopeOfTheLoss) {
  const auto unet = golden_unet(golden, {.precision = at::kDouble, .trainable = true});
  const UNetCase c = golden_case(golden, kOddCase, at::kDouble);
  run_backward(*unet, c);
  at::Tensor flat = unet->weights().base().master();
  const at::Tensor start = flat.clone();
  // Relative steps, so that gains, biases and weights all move in proportion to their scale. Padding stays zero.
  const at::Tensor direction = start.mul(synthetic_input("direction", flat.sizes()).to(at::kDouble));
  const double slope = unet->weights().base().gradient().dot(direction).item<double>();
  const auto loss_at = [&](double step) {
    flat.copy_(start.add(direction, step));
    return run_forward(*unet, c).mul(c.cotangent).sum().item<double>();
  };
  // Fourth-order central differences: error about step^4, rounding 1e-16 / step.
  const double h = 1e-4;
  const double difference = (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h);
  EXPECT_NEAR(difference, slope, 1e-7 * std::abs(slope));
  EXPECT_GT(std::abs(slope), 1e-3);
}

// ---- adapters

Weights::LoraOptions lora_everywhere(const UNet& unet) {
  Weights::LoraOptions options{.rank = 3, .alpha = 6.0};
  for (const ParameterGroup::Entry& entry : unet.weights().base().entries()) {
    if (entry.name.ends_with(".weight") && entry.shape.size() > 1) {
      options.modules.push_back(entry.name.substr(0, entry.name.size() - 7));
    }
  }
  return options;
}

/// A model with adapters on every linear and convolution layer, B no longer zero.
std::unique_ptr<UNet> adapted_unet(const Golden& golden, at::ScalarType precision) {
  auto unet = golden_unet(golden, {.precision = precision});
  unet->weights().add_lora(lora_everywhere(*unet));
  for (const ParameterGroup::Entry& entry : unet->weights().adapters()->entries()) {
    // Small compared with the weights, as trained adapters are.
    unet->weights().write(entry.name, smpo::test::synthetic_parameter(entry.name, entry.shape).mul(0.2));
  }
  return unet;
}

// With W' = W + s B A: dB = s dW' A^T and dA = s B^T dW', where dW' is the gradient of the merged model's weights.
TEST_P(Family, GradientsOfAdaptersAreProjectionsOfTheMergedModels) {
  const auto policy = adapted_unet(golden, at::kDouble);
  const double scale = 0.7, factor = scale * 6.0 / 3.0;
  policy->weights().set_lora_scale(scale);
  const UNetCase c = golden_case(golden, kOddCase, at::kDouble);
  const Result with_adapters = run_backward(*policy, c);

  const auto merged = adapted_unet(golden, at::kDouble);
  merged->weights().merge_lora(scale);
  ASSERT_EQ(merged->weights().adapters(), nullptr);
  const UNet* merged_model = merged.get();
  UNet whole(merged_model->spec(), {.precision = at::kDouble, .trainable = true});
  for (size_t i = 0; i < merged->weights().size(); ++i) {
    const std::string& name = merged->weights().entry(i).name;
    whole.weights().write(name, merged->weights().read(name));
  }
  const Result of_whole = run_backward(whole, c);
  constexpr double kTolerance = 1e-11;  // f64, sums of 10^4 terms
  EXPECT_TRUE(matches(with_adapters.output, of_whole.output, kTolerance));
  EXPECT_TRUE(matches(with_adapters.d_sample, of_whole.d_sample, kTolerance));
  EXPECT_GT(relative_error(run_forward(*policy, c, /*adapters=*/false), of_whole.output), 1e-2);
  for (const std::string& module : lora_everywhere(*policy).modules) {
    const at::Tensor d_weight = whole.weights().read_gradient(module + ".weight").flatten(1);
    const std::string a = module + ".lora_A.weight", b = module + ".lora_B.weight";
    const at::Tensor down = policy->weights().read(a).flatten(1), up = policy->weights().read(b).flatten(1);
    EXPECT_TRUE(
        matches(policy->weights().read_gradient(b).flatten(1), at::matmul(d_weight, down.t()).mul(factor), 1e-9))
        << b;
    EXPECT_TRUE(matches(policy->weights().read_gradient(a).flatten(1), at::matmul(up.t(), d_weight).mul(factor), 1e-9))
        << a;
  }
}

TEST_P(Family, WithoutAdaptersItIsTheBaseModel) {
  const auto plain = golden_unet(golden, {});
  const auto policy = adapted_unet(golden, at::kFloat);
  const UNetCase c = golden_case(golden, 0);
  EXPECT_TRUE(identical(run_forward(*policy, c, /*adapters=*/false), run_forward(*plain, c)));
  // With B = 0 the result has the bits of the base model: the adapters add exactly zero.
  for (const ParameterGroup::Entry& entry : policy->weights().adapters()->entries()) {
    if (entry.name.ends_with(".lora_B.weight")) policy->weights().write(entry.name, at::zeros(entry.shape));
  }
  EXPECT_TRUE(identical(run_forward(*policy, c), run_forward(*plain, c)));
}

// ---- precomputed keys and values of the prompt

TEST_P(Family, PrecomputedKeysAndValuesGiveTheSameBits) {
  for (const at::ScalarType precision : {at::kFloat, at::kBFloat16}) {
    const auto unet = adapted_unet(golden, precision);
    const UNetCase c = golden_case(golden, 0, precision);
    at::Tensor made[2];
    for (const bool adapters : {false, true}) {
      const c10::InferenceMode mode;
      at::Tensor& keys_values = made[adapters ? 1 : 0];
      keys_values = unet->text_keys_values(c.inputs.encoder_hidden_states_BTD.value, adapters);
      EXPECT_EQ(keys_values.size(2), unet->text_keys_values_channels());
      UNetCase with = c;
      with.inputs.encoder_hidden_states_BTD = {};
      with.inputs.text_keys_values_BTK = keys_values;
      EXPECT_TRUE(identical(run_forward(*unet, with, adapters), run_forward(*unet, c, adapters)));
      // All of them are used, row by row: those of the last row change the last image only.
      const int64_t last = keys_values.size(0) - 1;
      with.inputs.text_keys_values_BTK = keys_values.clone();
      with.inputs.text_keys_values_BTK[last].mul_(1.5);
      const at::Tensor changed = run_forward(*unet, with, adapters), own = run_forward(*unet, c, adapters);
      EXPECT_FALSE(identical(changed[last], own[last]));
      for (int64_t row = 0; row < last; ++row) EXPECT_TRUE(identical(changed[row], own[row]));
    }
    EXPECT_GT(relative_error(made[1], made[0]), 1e-2) << "adapters on to_k and to_v are left out";
  }
}

TEST_P(Family, PrecomputedKeysAndValuesAreRefusedWithGradients) {
  const auto unet = golden_unet(golden, {});
  UNetCase c = golden_case(golden, 0);
  const c10::InferenceMode mode;
  const at::Tensor keys_values = unet->text_keys_values(c.inputs.encoder_hidden_states_BTD.value, false);
  c.inputs.text_keys_values_BTK = keys_values;
  EXPECT_THROW(run_forward(*unet, c), ShapeMismatch) << "states too";
  c.inputs.encoder_hidden_states_BTD = {};
  EXPECT_THROW(run_backward(*unet, c), std::logic_error);
  c.inputs.text_keys_values_BTK = keys_values.narrow(2, 1, keys_values.size(2) - 1);
  EXPECT_THROW(run_forward(*unet, c), ShapeMismatch);
}

// ---- bf16

TEST_P(Family, InBf16ErrsNoMoreThanDiffusers) {
  // Errors of diffusers, from tools/golden/unet_bf16.py. Both round equally often, in slightly different places.
  const smpo::test::Json theirs = smpo::test::Json::parse(
      smpo::test::read_bytes(std::string(SMPO_SOURCE_DIR) + "/native/test/golden/unet/bf16.json"));
  const int64_t draws = theirs["draws"].integer();
  const auto wide = golden_unet(golden, {.trainable = true});
  const auto narrow = golden_unet(golden, {.precision = at::kBFloat16, .trainable = true});
  const auto gradient = [](const UNet& unet) { return unet.weights().base().gradient(); };
  for (size_t k = 0; k < golden.json["cases"].array().size(); ++k) {
    SCOPED_TRACE(k);
    BFloat16Errors errors;
    for (int64_t draw = 0; draw < draws; ++draw) {
      wide->weights().zero_gradients();
      narrow->weights().zero_gradients();
      const Result exact = run_backward(*wide, golden_case(golden, k, at::kFloat, draw));
      const Result rounded = run_backward(*narrow, golden_case(golden, k, at::kBFloat16, draw));
      EXPECT_EQ(rounded.output.scalar_type(), at::kBFloat16);
      const double output_error = relative_error(rounded.output, exact.output);
      EXPECT_GT(output_error, 0x1p-12) << "no rounding at all: is this bf16?";
      errors.add("output", output_error);
      errors.add("gradient", relative_error(gradient(*narrow), gradient(*wide)));
    }
    EXPECT_TRUE(errors.within_allowance(theirs[GetParam()].array().at(k), draws));
  }
}

// ---- invalid specs and inputs

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(nothing thrown)";
}

TEST(UNetSpec, InvalidFieldsAreNamed) {
  const Golden golden("unet", "sdxl");
  const UNetSpec good = spec_of(golden.json["config"]);
  const auto refused = [&](const std::function<void(UNetSpec&)>& spoil) {
    UNetSpec spec = good;
    spoil(spec);
    return message_of([&] { const UNet unet(spec, {}); });
  };
  EXPECT_EQ(refused([](UNetSpec&) {}), "(nothing thrown)");
  EXPECT_EQ(refused([](UNetSpec& s) { s.levels[1].channels = 20; }),
            "block_out_channels[1]: expected a multiple of norm_num_groups (8), got 20");
  EXPECT_EQ(refused([](UNetSpec& s) { s.levels[2].heads = 5; }),
            "attention_head_dim[2]: expected a number of heads that divides 48 channels, got 5");
  EXPECT_EQ(refused([](UNetSpec& s) { s.levels.clear(); }), "block_out_channels: expected at least one level");
  EXPECT_EQ(refused([](UNetSpec& s) { s.cross_attention_dim = 0; }), "cross_attention_dim: expected 1..1048576, got 0");
  EXPECT_EQ(refused([](UNetSpec& s) { s.norm_eps = NAN; }), "norm_eps: expected more than 0, got nan");
  EXPECT_EQ(refused([](UNetSpec& s) { s.addition_time_embed_dim = 7; }),
            "addition_time_embed_dim: expected an even number, got 7");
}

TEST(UNetInputs, ThatDoNotFitAreNamed) {
  const Golden golden("unet", "sdxl");
  const auto unet = golden_unet(golden, {});
  const auto refused = [&](const std::function<void(UNet::Inputs&)>& spoil) {
    UNetCase c = golden_case(golden, 0);
    spoil(c.inputs);
    return message_of([&] { run_forward(*unet, c); });
  };
  EXPECT_EQ(refused([](UNet::Inputs&) {}), "(nothing thrown)");
  EXPECT_EQ(refused([](UNet::Inputs& i) { i.sample_BCHW = at::zeros({1, 3, 8, 8}); }),
            "sample: expected [B,4,h,w] of Float, got [1, 3, 8, 8] of Float");
  EXPECT_EQ(refused([](UNet::Inputs& i) { i.timesteps_B = at::zeros({2}); }),
            "timesteps: expected [1] of Float, got [2] of Float");
  EXPECT_EQ(refused([](UNet::Inputs& i) { i.encoder_hidden_states_BTD = at::zeros({1, 77, 21}); }),
            "encoder_hidden_states: expected [1,S,20] of Float, got [1, 77, 21] of Float");
  EXPECT_EQ(refused([](UNet::Inputs& i) { i.text_embeds_BE = Var(); }),
            "text_embeds: expected [1,E] of Float, got none");
  EXPECT_EQ(refused([](UNet::Inputs& i) { i.time_ids_BK = at::zeros({1, 5}); }),
            "text_embeds, time_ids: expected widths E and K with E + 8 K = 60, got 12 and 5");
  const Golden plain("unet", "sd1");
  const auto other = golden_unet(plain, {});
  UNetCase c = golden_case(plain, 0);
  c.inputs.time_ids_BK = at::zeros({1, 6});
  EXPECT_EQ(message_of([&] { run_forward(*other, c); }),
            "time_ids: expected none, since the UNet has no text_time embedding");
}

TEST(UNetInputs, AModelWithMissingWeightsSaysWhich) {
  const Golden golden("unet", "sd1");
  const UNet unet(spec_of(golden.json["config"]), {});
  EXPECT_EQ(message_of([&] { run_forward(unet, golden_case(golden, 0)); }),
            "model: 686 of 686 parameters were never written: conv_in.weight, conv_in.bias, "
            "time_embedding.linear_1.weight, time_embedding.linear_1.bias, time_embedding.linear_2.weight, ...");
}

}  // namespace
}  // namespace smpo::models::test
