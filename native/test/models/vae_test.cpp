// AutoencoderKL against outputs of diffusers, whole and tiled, and invariants between its ways of running.
#include "models/vae.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "models/encoder_case.h"

namespace smpo::models::test {
namespace {

using smpo::test::Golden;
using smpo::test::Json;
using smpo::test::synthetic_input;
using tape::Tape;
using tape::Var;
using tape::test::matches;
using tape::test::relative_error;

VaeSpec spec_of(const Json& config) {
  return {.in_channels = config["in_channels"].integer(),
          .out_channels = config["out_channels"].integer(),
          .latent_channels = config["latent_channels"].integer(),
          .block_out_channels = config["block_out_channels"].integers(),
          .layers_per_block = config["layers_per_block"].integer(),
          .norm_num_groups = config["norm_num_groups"].integer(),
          .use_quant_conv = config["use_quant_conv"].boolean(),
          .use_post_quant_conv = config["use_post_quant_conv"].boolean(),
          .mid_block_attention = config["mid_block_add_attention"].boolean()};
}

std::unique_ptr<Vae> golden_vae(const Golden& golden, const WeightOptions& options = {}) {
  return golden_encoder<Vae>(golden, spec_of(golden.json["config"]), options);
}

struct Inputs {
  at::Tensor pixels;
  at::Tensor latents;
};

Inputs inputs_of(const Golden& golden, size_t k, int64_t factor, at::ScalarType precision = at::kFloat,
                 int64_t draw = 0) {
  const Json& c = golden.json["cases"].array().at(k);
  const int64_t batch = c["batch"].integer(), height = c["height"].integer(), width = c["width"].integer();
  const std::string at = smpo::test::draw_prefix(k, draw);
  return {synthetic_input(at + "pixels", {batch, 3, height, width}).to(precision),
          synthetic_input(at + "latents", {batch, 4, height / factor, width / factor}).to(precision)};
}

Vae::Posterior encode(const Vae& vae, const at::Tensor& pixels) {
  const c10::InferenceMode mode;
  Tape tape = Tape::inference();
  return vae.encode(tape, pixels);
}

at::Tensor decode(const Vae& vae, const at::Tensor& latents) {
  const c10::InferenceMode mode;
  Tape tape = Tape::inference();
  return vae.decode(tape, latents).value;
}

class VaeFamily : public ::testing::TestWithParam<const char*> {
 protected:
  const Golden golden{"vae", GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Vae, VaeFamily, ::testing::Values("f8", "f2"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(VaeFamily, HasExactlyTheParametersOfDiffusers) {
  EXPECT_TRUE(has_the_parameters_of(golden, Vae(spec_of(golden.json["config"]), {})));
}

Results results_of(const Golden& golden, size_t k, const Vae& vae, int64_t draw) {
  const Inputs inputs = inputs_of(golden, k, vae.spec().factor(), vae.weights().options().precision, draw);
  const Vae::Posterior posterior = encode(vae, inputs.pixels);
  Results results = {{"mean", posterior.mean_BLHW.value},
                     {"logvar", posterior.logvar_BLHW.value},
                     {"decoded", decode(vae, inputs.latents)}};
  if (golden.json["cases"].array()[k].has("tiled")) {
    const c10::InferenceMode mode;
    const int64_t sample_size = golden.json["config"]["sample_size"].integer();
    const Vae::Posterior tiled = vae.encode_tiled(inputs.pixels, sample_size);
    results.emplace("tiled_mean", tiled.mean_BLHW.value);
    results.emplace("tiled_logvar", tiled.logvar_BLHW.value);
    results.emplace("tiled_decoded", vae.decode_tiled(inputs.latents, sample_size));
  }
  return results;
}

TEST_P(VaeFamily, AgreesWithDiffusers) {
  const auto vae = golden_vae(golden);
  for (size_t k = 0; k < golden.json["cases"].array().size(); ++k) {
    SCOPED_TRACE(k);
    expect_golden(golden, k, results_of(golden, k, *vae, /*draw=*/0));
  }
}

TEST_P(VaeFamily, InBf16ErrsNoMoreThanDiffusers) {
  const auto wide = golden_vae(golden), narrow = golden_vae(golden, {.precision = at::kBFloat16});
  for (size_t k = 0; k < golden.json["cases"].array().size(); ++k) {
    SCOPED_TRACE(k);
    expect_bf16_errors_of_the_peer<Vae>(golden, k, *wide, *narrow,
                                        [&](const Vae& vae, int64_t draw) { return results_of(golden, k, vae, draw); });
  }
}

TEST(BFloat16Errors, BeyondTheAllowanceFail) {
  const Json peers = Json::parse(R"({"mean": 0.01, "decoded": 0.02})");
  const auto verdict = [&](const std::vector<double>& mean, const std::vector<double>& decoded) {
    BFloat16Errors errors;
    for (const double error : mean) errors.add("mean", error);
    for (const double error : decoded) errors.add("decoded", error);
    return bool(errors.within_allowance(peers, 2));
  };
  EXPECT_TRUE(verdict({0.009, 0.014}, {0.02, 0.02}));
  // The mean square of one result is too high, even though that of the other is low.
  EXPECT_FALSE(verdict({0.011, 0.014}, {0.002, 0.002}));
  EXPECT_FALSE(verdict({0.001, 0.001}, {0.02, 0.03}));
  // A different number of inputs, results missing on one side, an error that is not a number.
  EXPECT_FALSE(verdict({0.01}, {0.02, 0.02}));
  EXPECT_FALSE(verdict({0.01, 0.01}, {}));
  EXPECT_FALSE(verdict({}, {}));
  EXPECT_FALSE(verdict({0.01, NAN}, {0.02, 0.02}));
}

TEST_P(VaeFamily, AWeightThatChangesIsNoticed) {
  const Inputs inputs = inputs_of(golden, 0, spec_of(golden.json["config"]).factor());
  for (const std::string part : {"encoder", "decoder"}) {
    const auto vae = golden_vae(golden);
    // Changes one element of a middle layer by a tenth of its scale.
    const std::string name = part + ".mid_block.attentions.0.to_v.weight";
    at::Tensor weight = vae->weights().read(name);
    weight[3][5] += 0.1 * weight.std().item<double>();
    vae->weights().write(name, weight);
    const double error = part == "encoder"
                             ? relative_error(encode(*vae, inputs.pixels).mean_BLHW.value, golden.tensor("case0.mean"))
                             : relative_error(decode(*vae, inputs.latents), golden.tensor("case0.decoded"));
    EXPECT_GT(error, kEncoderTolerance) << part;
  }
}

TEST_P(VaeFamily, AnImageNoLargerThanATileIsProcessedWhole) {
  const auto vae = golden_vae(golden);
  const c10::InferenceMode mode;
  // 40 by 72 pixels with a tile that is just large enough, then with a smaller one.
  const Inputs inputs = inputs_of(golden, 1, vae->spec().factor());
  const int64_t unit = 4 * vae->spec().factor();
  const int64_t enough = (72 + unit - 1) / unit * unit;
  const at::Tensor whole = decode(*vae, inputs.latents);
  const Vae::Posterior posterior = encode(*vae, inputs.pixels);
  EXPECT_TRUE(same_values(vae->decode_tiled(inputs.latents, enough), whole));
  EXPECT_TRUE(same_values(vae->encode_tiled(inputs.pixels, enough).mean_BLHW.value, posterior.mean_BLHW.value));
  EXPECT_TRUE(same_values(vae->encode_tiled(inputs.pixels, enough).logvar_BLHW.value, posterior.logvar_BLHW.value));
  const at::Tensor tiled = vae->decode_tiled(inputs.latents, unit);
  EXPECT_EQ(tiled.sizes(), whole.sizes());
  EXPECT_FALSE(same_values(tiled, whole));
}

TEST_P(VaeFamily, TilesAreAnnouncedAndMayBeStopped) {
  const auto vae = golden_vae(golden);
  const c10::InferenceMode mode;
  const int64_t unit = 4 * vae->spec().factor();
  // 7 latents along each side of tiles that step by 3: three tiles along each side.
  const at::Tensor latents = at::zeros({1, vae->spec().latent_channels, 7, 7});
  const at::Tensor pixels = at::zeros({1, 3, 7 * vae->spec().factor(), 7 * vae->spec().factor()});
  int tiles = 0;
  vae->decode_tiled(latents, unit, true, [&tiles] { ++tiles; });
  EXPECT_EQ(tiles, 9);
  vae->encode_tiled(pixels, unit, true, [&tiles] { ++tiles; });
  EXPECT_EQ(tiles, 18);
  const auto stop_at_third = [&tiles] {
    if (++tiles == 3) throw std::runtime_error("stop");
  };
  tiles = 0;
  EXPECT_THROW(vae->decode_tiled(latents, unit, true, stop_at_third), std::runtime_error);
  EXPECT_EQ(tiles, 3);
  tiles = 0;
  EXPECT_THROW(vae->encode_tiled(pixels, unit, true, stop_at_third), std::runtime_error);
  EXPECT_EQ(tiles, 3);
}

TEST_P(VaeFamily, LogvarStaysWithinItsBounds) {
  const auto vae = golden_vae(golden);
  at::Tensor bias = vae->weights().read("quant_conv.bias");
  bias[4] = 1e4f;
  bias[5] = -1e4f;
  vae->weights().write("quant_conv.bias", bias);
  const Vae::Posterior posterior = encode(*vae, inputs_of(golden, 2, vae->spec().factor()).pixels);
  const at::Tensor logvar = posterior.logvar_BLHW.value;
  EXPECT_TRUE(logvar.select(1, 0).eq(20).all().item<bool>());
  EXPECT_TRUE(logvar.select(1, 1).eq(-30).all().item<bool>());
  // The other two channels and the mean are unchanged.
  EXPECT_TRUE(matches(logvar.slice(1, 2), golden.tensor("case2.logvar").slice(1, 2), kEncoderTolerance));
  EXPECT_TRUE(matches(posterior.mean_BLHW.value, golden.tensor("case2.mean"), kEncoderTolerance));
}

TEST_P(VaeFamily, CheckpointingAndRecordingChangeNoBit) {
  const auto vae = golden_vae(golden, {.trainable = true});
  const Inputs inputs = inputs_of(golden, 2, vae->spec().factor());
  std::vector<at::Tensor> runs[2];
  for (const bool checkpointing : {false, true}) {
    const c10::InferenceMode mode;
    vae->weights().zero_gradients();
    Tape tape;
    const Var latents = tape.input(inputs.latents), pixels = tape.input(inputs.pixels);
    const Var decoded = vae->decode(tape, latents, checkpointing);
    const Vae::Posterior posterior = vae->encode(tape, pixels, checkpointing);
    tape.backward({{decoded, synthetic_input("cotangent", decoded.value.sizes())},
                   {posterior.mean_BLHW, at::ones(posterior.mean_BLHW.value.sizes())},
                   {posterior.logvar_BLHW, at::ones(posterior.mean_BLHW.value.sizes())}});
    runs[checkpointing] = {decoded.value,          posterior.mean_BLHW.value, posterior.logvar_BLHW.value,
                           tape.gradient(latents), tape.gradient(pixels),     vae->weights().base().gradient().clone()};
  }
  runs[0][0] = decode(*vae, inputs.latents);
  for (size_t i = 0; i < runs[0].size(); ++i) EXPECT_TRUE(same_values(runs[0][i], runs[1][i])) << i;
}

// Covers the bounds of logvar: one of its channels exceeds them and passes no gradient.
TEST(VaeGradient, IsTheSlopeOfTheLoss) {
  const Golden golden("vae", "f2");
  const auto vae = golden_vae(golden, {.precision = at::kDouble, .trainable = true});
  at::Tensor bias = vae->weights().read("quant_conv.bias");
  bias[4] = 1e3;
  vae->weights().write("quant_conv.bias", bias);
  const c10::InferenceMode mode;

  const at::Tensor latents = synthetic_input("latents", {1, 4, 4, 3}).to(at::kDouble);
  const at::Tensor d_decoded = synthetic_input("d_decoded", {1, 3, 8, 6}).to(at::kDouble);
  {
    Tape tape;
    const Var input = tape.input(latents);
    tape.backward({{vae->decode(tape, input), d_decoded}});
    expect_slope(vae->weights(), latents, tape.gradient(input),
                 [&](const at::Tensor& x) { return decode(*vae, x).mul(d_decoded).sum().item<double>(); });
  }

  const at::Tensor pixels = synthetic_input("pixels", {1, 3, 9, 6}).to(at::kDouble);
  const at::Tensor d_mean = synthetic_input("d_mean", {1, 4, 4, 3}).to(at::kDouble);
  const at::Tensor d_logvar = synthetic_input("d_logvar", {1, 4, 4, 3}).to(at::kDouble);
  vae->weights().zero_gradients();
  Tape tape;
  const Var input = tape.input(pixels);
  const Vae::Posterior posterior = vae->encode(tape, input);
  tape.backward({{posterior.mean_BLHW, d_mean}, {posterior.logvar_BLHW, d_logvar}});
  expect_slope(vae->weights(), pixels, tape.gradient(input), [&](const at::Tensor& x) {
    const Vae::Posterior at_x = encode(*vae, x);
    return (at_x.mean_BLHW.value.mul(d_mean) + at_x.logvar_BLHW.value.mul(d_logvar)).sum().item<double>();
  });
}

TEST(VaeSpec, PartsThatAConfigLeavesOutHaveNoParameters) {
  const Golden golden("vae", "f2");
  VaeSpec spec = spec_of(golden.json["config"]);
  spec.use_quant_conv = spec.use_post_quant_conv = spec.mid_block_attention = false;
  Vae vae(spec, {});
  for (size_t i = 0; i < vae.weights().size(); ++i) {
    const std::string& name = vae.weights().entry(i).name;
    EXPECT_EQ(name.find("quant"), std::string::npos) << name;
    EXPECT_EQ(name.find("attentions"), std::string::npos) << name;
    vae.weights().write(name, smpo::test::synthetic_parameter(name, vae.weights().entry(i).shape));
  }
  const Inputs inputs = inputs_of(golden, 0, spec.factor());
  EXPECT_EQ(encode(vae, inputs.pixels).logvar_BLHW.value.sizes(), inputs.latents.sizes());
  EXPECT_EQ(decode(vae, inputs.latents).sizes(), inputs.pixels.sizes());
}

TEST(VaeSpec, InvalidFieldsAreNamed) {
  const Golden golden("vae", "f8");
  const auto refused = [&](const std::function<void(VaeSpec&)>& spoil) {
    VaeSpec spec = spec_of(golden.json["config"]);
    spoil(spec);
    return refusal([&] { const Vae vae(spec, {}); });
  };
  EXPECT_EQ(refused([](VaeSpec&) {}), "(nothing thrown)");
  EXPECT_EQ(refused([](VaeSpec& s) { s.block_out_channels[2] = 20; }),
            "block_out_channels[2]: expected a multiple of norm_num_groups (8), got 20");
  EXPECT_EQ(refused([](VaeSpec& s) { s.block_out_channels.clear(); }),
            "block_out_channels: expected 1..16 levels, got 0");
  EXPECT_EQ(refused([](VaeSpec& s) { s.latent_channels = 0; }), "latent_channels: expected 1..1048576, got 0");
  EXPECT_EQ(refused([](VaeSpec& s) { s.layers_per_block = -1; }), "layers_per_block: expected 1..1048576, got -1");
}

TEST(VaeInputs, ThatDoNotFitAreNamed) {
  const Golden golden("vae", "f8");
  const auto vae = golden_vae(golden);
  const auto encoded = [&](at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
    return refusal([&] { encode(*vae, at::zeros(shape, dtype)); });
  };
  EXPECT_EQ(encoded({1, 3, 8, 15}), "(nothing thrown)");
  EXPECT_EQ(encoded({1, 3, 7, 16}),
            "pixels: expected [B,3,H,W] of Float with H, W at least 8, got [1, 3, 7, 16] of Float");
  EXPECT_EQ(encoded({1, 4, 8, 8}),
            "pixels: expected [B,3,H,W] of Float with H, W at least 8, got [1, 4, 8, 8] of Float");
  EXPECT_EQ(encoded({1, 3, 8, 8}, at::kBFloat16),
            "pixels: expected [B,3,H,W] of Float with H, W at least 8, got [1, 3, 8, 8] of BFloat16");
  EXPECT_EQ(refusal([&] { encode(*vae, {}); }), "pixels: expected [B,3,H,W] of Float with H, W at least 8, got none");
  EXPECT_EQ(refusal([&] { decode(*vae, at::zeros({1, 3, 4, 4})); }),
            "latents: expected [B,4,h,w] of Float, got [1, 3, 4, 4] of Float");
  EXPECT_EQ(refusal([&] { decode(*vae, at::zeros({4, 4, 4})); }),
            "latents: expected [B,4,h,w] of Float, got [4, 4, 4] of Float");

  EXPECT_EQ(refusal([&] { vae->decode_tiled(at::zeros({1, 4, 9, 9}), 40); }),
            "tile: expected a multiple of 32 pixels, got 40");
  EXPECT_EQ(refusal([&] { vae->encode_tiled(at::zeros({1, 3, 64, 64}), 0); }),
            "tile: expected a multiple of 32 pixels, got 0");
  EXPECT_EQ(refusal([&] { vae->encode_tiled(at::zeros({1, 3, 64, 101}), 64); }),
            "pixels: [1, 3, 64, 101] leaves a last tile of 5 pixels, but a latent takes 8; expected sizes that are "
            "multiples of 8");
  EXPECT_EQ(refusal([&] { vae->encode_tiled(at::zeros({1, 4, 80, 80}), 64); }),
            "pixels: expected [B,3,H,W] of Float with H, W at least 8, got [1, 4, 80, 80] of Float");

  const Vae empty(vae->spec(), {});
  const std::string missing = refusal([&] { decode(empty, at::zeros({1, 4, 4, 4})); });
  EXPECT_EQ(missing.substr(0, missing.find(',')), "model: " + std::to_string(empty.weights().size()) + " of " +
                                                      std::to_string(empty.weights().size()) +
                                                      " parameters were never written: encoder.conv_in.weight");
}

}  // namespace
}  // namespace smpo::models::test
