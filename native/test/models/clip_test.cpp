// CLIP encoders against the outputs of transformers, and invariants between their ways of running.
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <string>

#include "models/clip_text.h"
#include "models/clip_vision.h"
#include "models/encoder_case.h"

namespace smpo::models::test {
namespace {

using smpo::test::Golden;
using smpo::test::Json;
using smpo::test::synthetic_input;
using smpo::test::synthetic_uniform;
using tape::Tape;
using tape::Var;
using tape::test::matches;
using tape::test::relative_error;

ClipEncoderSpec encoder_of(const Json& config) {
  return {.hidden_size = config["hidden_size"].integer(),
          .intermediate_size = config["intermediate_size"].integer(),
          .attention_heads = config["num_attention_heads"].integer(),
          .layers = config["num_hidden_layers"].integer(),
          .activation = config["hidden_act"].string() == "gelu" ? ClipActivation::kGelu : ClipActivation::kQuickGelu};
}

// ---- text

ClipTextSpec text_spec_of(const Json& config) {
  const bool projection = config["architectures"].array()[0].string() == "CLIPTextModelWithProjection";
  return {.vocab_size = config["vocab_size"].integer(),
          .max_position_embeddings = config["max_position_embeddings"].integer(),
          .encoder = encoder_of(config),
          .projection_dim = projection ? config["projection_dim"].integer() : 0,
          .eos_token_id = config["eos_token_id"].integer()};
}

std::unique_ptr<ClipText> golden_text(const Golden& golden, const WeightOptions& options = {}) {
  return golden_encoder<ClipText>(golden, text_spec_of(golden.json["config"]), options);
}

/// Token ids of the case; another draw has the same rows with other words, generated as in tools/golden/vae_clip.py.
at::Tensor ids_of(const Golden& golden, size_t k, int64_t draw = 0) {
  constexpr int64_t kStart = 997, kEnd = 998, kWords = 900;
  std::vector<at::Tensor> rows;
  for (const Json& row : golden.json["cases"].array().at(k)["ids"].array()) {
    std::vector<int64_t> ids = row.integers();
    const auto end = std::find(ids.begin(), ids.end(), kEnd);
    const at::Tensor drawn = synthetic_uniform(smpo::test::draw_prefix(k, draw) + "ids." + std::to_string(rows.size()),
                                               {end - ids.begin() + 1});
    EXPECT_EQ(ids[0], kStart);
    for (int64_t i = 1; ids[i] != kEnd; ++i) {
      const auto word = static_cast<int64_t>(std::abs(double{drawn.const_data_ptr<float>()[i]}) * kWords);
      EXPECT_TRUE(draw > 0 || word == ids[i]) << "not what the golden script draws: " << word;
      ids[i] = word;
    }
    rows.push_back(at::tensor(ids));
  }
  return at::stack(rows);
}

ClipText::Output encode(const ClipText& encoder, const at::Tensor& ids, const ClipText::Options& options = {}) {
  const c10::InferenceMode mode;
  Tape tape = Tape::inference();
  return encoder.encode(tape, ids, options);
}

class TextFamily : public ::testing::TestWithParam<const char*> {
 protected:
  const Golden golden{"clip", GetParam()};
};

INSTANTIATE_TEST_SUITE_P(ClipText, TextFamily, ::testing::Values("vit_l", "open_clip"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(TextFamily, HasExactlyTheParametersOfTransformers) {
  EXPECT_TRUE(has_the_parameters_of(golden, ClipText(text_spec_of(golden.json["config"]), {})));
}

Results results_of(const Golden& golden, size_t k, const ClipText& encoder, int64_t draw) {
  const at::Tensor ids = ids_of(golden, k, draw);
  const ClipText::Output last = encode(encoder, ids);
  const ClipText::Output penultimate = encode(encoder, ids, {.skip = 1, .final_norm = false});
  // The pooled output comes from the last layer, whatever the hidden state.
  EXPECT_TRUE(same_values(penultimate.pooled_BP.value, last.pooled_BP.value));
  return {{"last_hidden_state", last.hidden_BSC.value},
          {"penultimate", penultimate.hidden_BSC.value},
          {encoder.spec().projection_dim > 0 ? "text_embeds" : "pooled", last.pooled_BP.value}};
}

TEST_P(TextFamily, AgreesWithTransformers) {
  const auto encoder = golden_text(golden);
  for (size_t k = 0; k < golden.json["cases"].array().size(); ++k) {
    SCOPED_TRACE(k);
    expect_golden(golden, k, results_of(golden, k, *encoder, /*draw=*/0));
  }
}

TEST_P(TextFamily, InBf16ErrsNoMoreThanTransformers) {
  const auto wide = golden_text(golden), narrow = golden_text(golden, {.precision = at::kBFloat16});
  for (size_t k = 0; k < golden.json["cases"].array().size(); ++k) {
    SCOPED_TRACE(k);
    expect_bf16_errors_of_the_peer<ClipText>(golden, k, *wide, *narrow, [&](const ClipText& encoder, int64_t draw) {
      return results_of(golden, k, encoder, draw);
    });
  }
}

TEST_P(TextFamily, AWeightThatChangesIsNoticed) {
  const auto encoder = golden_text(golden);
  const std::string name = "text_model.encoder.layers.1.mlp.fc1.weight";
  at::Tensor weight = encoder->weights().read(name);
  weight[3][5] += 0.1 * weight.std().item<double>();
  encoder->weights().write(name, weight);
  EXPECT_GT(
      relative_error(encode(*encoder, ids_of(golden, 0)).hidden_BSC.value, golden.tensor("case0.last_hidden_state")),
      kEncoderTolerance);
}

TEST_P(TextFamily, UnrequestedOutputsChangeNothing) {
  const auto encoder = golden_text(golden);
  const at::Tensor ids = ids_of(golden, 1);
  const ClipText::Output both = encode(*encoder, ids, {.skip = 2});
  const ClipText::Output alone = encode(*encoder, ids, {.skip = 2, .pooled = false});
  EXPECT_TRUE(same_values(alone.hidden_BSC.value, both.hidden_BSC.value));
  EXPECT_FALSE(alone.pooled_BP.defined());
  EXPECT_TRUE(same_values(encode(*encoder, ids.to(at::kInt), {.skip = 2}).pooled_BP.value, both.pooled_BP.value));
  // The final norm of the penultimate state: clip skip of Stable Diffusion 1.
  const at::Tensor penultimate = encode(*encoder, ids, {.skip = 1, .final_norm = false}).hidden_BSC.value;
  const at::Tensor centred = penultimate - penultimate.mean(-1, true);
  const at::Tensor norm = centred / (centred.square().mean(-1, true) + 1e-5).sqrt();
  const at::Tensor wanted = norm * encoder->weights().read("text_model.final_layer_norm.weight") +
                            encoder->weights().read("text_model.final_layer_norm.bias");
  EXPECT_TRUE(matches(encode(*encoder, ids, {.skip = 1}).hidden_BSC.value, wanted, kEncoderTolerance));
}

TEST_P(TextFamily, ATokenSeesOnlyThoseBeforeIt) {
  const auto encoder = golden_text(golden);
  const at::Tensor ids = ids_of(golden, 0);
  at::Tensor changed = ids.clone();
  changed[0][40] = (ids[0][40].item<int64_t>() + 1) % 900;
  const at::Tensor before = encode(*encoder, ids).hidden_BSC.value;
  const at::Tensor after = encode(*encoder, changed).hidden_BSC.value;
  EXPECT_TRUE(matches(after.slice(1, 0, 40), before.slice(1, 0, 40), kEncoderTolerance));
  for (int64_t s = 40; s < 77; ++s) {
    EXPECT_GT(relative_error(after.select(1, s), before.select(1, s)), kEncoderTolerance) << s;
  }
  // Therefore the output for a shorter row is a prefix of that for a longer row.
  const at::Tensor shorter = encode(*encoder, ids.slice(1, 0, 9), {.pooled = false}).hidden_BSC.value;
  EXPECT_TRUE(matches(shorter, before.slice(1, 0, 9), kEncoderTolerance));
}

TEST_P(TextFamily, CheckpointingAndRecordingChangeNoBit) {
  const auto encoder = golden_text(golden, {.trainable = true});
  const at::Tensor ids = ids_of(golden, 1);
  std::vector<at::Tensor> runs[2];
  for (const bool checkpointing : {false, true}) {
    const c10::InferenceMode mode;
    encoder->weights().zero_gradients();
    Tape tape;
    const ClipText::Output output = encoder->encode(tape, ids, {.skip = 1, .checkpointing = checkpointing});
    tape.backward({{output.hidden_BSC, synthetic_input("d_hidden", output.hidden_BSC.value.sizes())},
                   {output.pooled_BP, synthetic_input("d_pooled", output.pooled_BP.value.sizes())}});
    runs[checkpointing] = {output.hidden_BSC.value, output.pooled_BP.value,
                           encoder->weights().base().gradient().clone()};
  }
  runs[0][0] = encode(*encoder, ids, {.skip = 1}).hidden_BSC.value;
  for (size_t i = 0; i < runs[0].size(); ++i) EXPECT_TRUE(same_values(runs[0][i], runs[1][i])) << i;
}

TEST_P(TextFamily, GradientsAreTheSlopeOfTheLoss) {
  const auto encoder = golden_text(golden, {.precision = at::kDouble, .trainable = true});
  const at::Tensor ids = ids_of(golden, 1).slice(0, 0, 2);
  const ClipText::Options options{.skip = 1, .final_norm = false};
  const c10::InferenceMode mode;
  Tape tape;
  const ClipText::Output output = encoder->encode(tape, ids, options);
  const at::Tensor d_hidden = synthetic_input("d_hidden", output.hidden_BSC.value.sizes()).to(at::kDouble);
  const at::Tensor d_pooled = synthetic_input("d_pooled", output.pooled_BP.value.sizes()).to(at::kDouble);
  tape.backward({{output.hidden_BSC, d_hidden}, {output.pooled_BP, d_pooled}});
  expect_slope(encoder->weights(), ids, {}, [&](const at::Tensor&) {
    const ClipText::Output moved = encode(*encoder, ids, options);
    return moved.hidden_BSC.value.mul(d_hidden).sum().item<double>() +
           moved.pooled_BP.value.mul(d_pooled).sum().item<double>();
  });
}

TEST(ClipTextEnd, IsTheFirstOfItsKind) {
  const Golden golden("clip", "vit_l");
  ClipTextSpec spec = text_spec_of(golden.json["config"]);
  const at::Tensor ids = at::tensor({7, 5, 900, 3, 5, 900, 3, 3}, at::kLong).view({1, 8});
  // Without projection, the pooled output is the token's state.
  const auto pooled_is = [&](int64_t eos, int64_t position) {
    spec.eos_token_id = eos;
    const ClipText::Output output = encode(*golden_encoder<ClipText>(golden, spec), ids);
    return matches(output.pooled_BP.value, output.hidden_BSC.value.select(1, position), kEncoderTolerance);
  };
  EXPECT_TRUE(pooled_is(ClipTextSpec::kLargestId, 2));
  EXPECT_TRUE(pooled_is(5, 1));
  EXPECT_TRUE(pooled_is(3, 3));
  EXPECT_FALSE(pooled_is(3, 2));
  EXPECT_EQ(refusal([&] { pooled_is(11, 0); }), "ids[0]: expected the end token 11, got a row without");
}

TEST(ClipTextSpec, InvalidFieldsAreNamed) {
  const Golden golden("clip", "open_clip");
  const auto refused = [&](const std::function<void(ClipTextSpec&)>& spoil) {
    ClipTextSpec spec = text_spec_of(golden.json["config"]);
    spoil(spec);
    return refusal([&] { const ClipText encoder(spec, {}); });
  };
  EXPECT_EQ(refused([](ClipTextSpec&) {}), "(nothing thrown)");
  EXPECT_EQ(refused([](ClipTextSpec& s) { s.encoder.attention_heads = 7; }),
            "num_attention_heads: expected a number that divides hidden_size (40), got 7");
  EXPECT_EQ(refused([](ClipTextSpec& s) { s.encoder.layers = 0; }), "num_hidden_layers: expected 1..1048576, got 0");
  EXPECT_EQ(refused([](ClipTextSpec& s) { s.encoder.layer_norm_eps = 0; }),
            "layer_norm_eps: expected more than 0, got 0");
  EXPECT_EQ(refused([](ClipTextSpec& s) { s.vocab_size = -3; }), "vocab_size: expected 1..1048576, got -3");
  EXPECT_EQ(refused([](ClipTextSpec& s) { s.projection_dim = -1; }), "projection_dim: expected 1..1048576, got -1");
  EXPECT_EQ(refused([](ClipTextSpec& s) { s.eos_token_id = 1000; }), "eos_token_id: expected 0..999, got 1000");
  EXPECT_EQ(refused([](ClipTextSpec& s) { s.encoder.activation = static_cast<ClipActivation>(9); }),
            "hidden_act: expected gelu or quick_gelu, got number 9");
}

TEST(ClipTextInputs, ThatDoNotFitAreNamed) {
  const Golden golden("clip", "open_clip");
  const auto encoder = golden_text(golden);
  const auto encoded = [&](const at::Tensor& ids, const ClipText::Options& options = {.pooled = false}) {
    return refusal([&] { encode(*encoder, ids, options); });
  };
  at::Tensor ids = at::zeros({2, 77}, at::kLong);
  EXPECT_EQ(encoded(ids), "(nothing thrown)");
  EXPECT_EQ(encoded(ids, {}), "ids[0]: expected the end token 998, got a row without");
  EXPECT_EQ(encoded(at::zeros({2, 78}, at::kLong)),
            "ids: expected [B,S] of Int or Long, S in 1..77, got [2, 78] of Long");
  EXPECT_EQ(encoded(at::zeros({2, 0}, at::kLong)),
            "ids: expected [B,S] of Int or Long, S in 1..77, got [2, 0] of Long");
  EXPECT_EQ(encoded(at::zeros({2, 7})), "ids: expected [B,S] of Int or Long, S in 1..77, got [2, 7] of Float");
  EXPECT_EQ(encoded({}), "ids: expected [B,S] of Int or Long, S in 1..77, got none");
  ids[1][3] = 1000;
  EXPECT_EQ(encoded(ids), "ids[1][3]: expected 0..999 (vocab_size - 1), got 1000");
  ids[1][3] = -1;
  EXPECT_EQ(encoded(ids), "ids[1][3]: expected 0..999 (vocab_size - 1), got -1");
  EXPECT_EQ(encoded(at::zeros({1, 3}, at::kInt), {.skip = 5, .pooled = false}),
            "skip: expected 0..4 (the number of layers), got 5");
  EXPECT_EQ(encoded(at::zeros({1, 3}, at::kInt), {.skip = 4, .pooled = false}), "(nothing thrown)");
  const ClipText empty(encoder->spec(), {});
  EXPECT_EQ(refusal([&] { encode(empty, at::zeros({1, 3}, at::kInt), {.pooled = false}); }).substr(0, 52),
            "model: 69 of 69 parameters were never written: text_");
}

// ---- vision

ClipVisionSpec vision_spec_of(const Json& config) {
  return {.image_size = config["image_size"].integer(),
          .patch_size = config["patch_size"].integer(),
          .channels = config["num_channels"].integer(),
          .encoder = encoder_of(config),
          .projection_dim = config["projection_dim"].integer()};
}

std::unique_ptr<ClipVision> golden_vision(const Golden& golden, const WeightOptions& options = {}) {
  return golden_encoder<ClipVision>(golden, vision_spec_of(golden.json["config"]), options);
}

at::Tensor pixels_of(const Golden& golden, size_t k, at::ScalarType precision = at::kFloat, int64_t draw = 0) {
  const int64_t size = golden.json["config"]["image_size"].integer();
  const int64_t batch = golden.json["cases"].array().at(k)["batch"].integer();
  return synthetic_input(smpo::test::draw_prefix(k, draw) + "pixel_values", {batch, 3, size, size}).to(precision);
}

ClipVision::Output encode(const ClipVision& encoder, const at::Tensor& pixels) {
  const c10::InferenceMode mode;
  Tape tape = Tape::inference();
  return encoder.encode(tape, pixels);
}

class VisionFamily : public ::testing::TestWithParam<const char*> {
 protected:
  const Golden golden{"clip", GetParam()};
};

INSTANTIATE_TEST_SUITE_P(ClipVision, VisionFamily, ::testing::Values("vit_h", "vit_l_vision"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(VisionFamily, HasExactlyTheParametersOfTransformers) {
  EXPECT_TRUE(has_the_parameters_of(golden, ClipVision(vision_spec_of(golden.json["config"]), {})));
}

Results results_of(const Golden& golden, size_t k, const ClipVision& encoder, int64_t draw) {
  const ClipVision::Output output = encode(encoder, pixels_of(golden, k, encoder.weights().options().precision, draw));
  return {{"image_embeds", output.embeds_BP.value}, {"last_hidden_state", output.hidden_BSC.value}};
}

TEST_P(VisionFamily, AgreesWithTransformers) {
  const auto encoder = golden_vision(golden);
  for (size_t k = 0; k < golden.json["cases"].array().size(); ++k) {
    SCOPED_TRACE(k);
    expect_golden(golden, k, results_of(golden, k, *encoder, /*draw=*/0));
  }
}

TEST_P(VisionFamily, InBf16ErrsNoMoreThanTransformers) {
  const auto wide = golden_vision(golden), narrow = golden_vision(golden, {.precision = at::kBFloat16});
  for (size_t k = 0; k < golden.json["cases"].array().size(); ++k) {
    SCOPED_TRACE(k);
    expect_bf16_errors_of_the_peer<ClipVision>(golden, k, *wide, *narrow, [&](const ClipVision& encoder, int64_t draw) {
      return results_of(golden, k, encoder, draw);
    });
  }
}

TEST_P(VisionFamily, AWeightThatChangesIsNoticed) {
  const auto encoder = golden_vision(golden);
  const std::string name = "vision_model.encoder.layers.1.self_attn.v_proj.weight";
  at::Tensor weight = encoder->weights().read(name);
  weight[3][5] += 0.1 * weight.std().item<double>();
  encoder->weights().write(name, weight);
  EXPECT_GT(relative_error(encode(*encoder, pixels_of(golden, 0)).embeds_BP.value, golden.tensor("case0.image_embeds")),
            kEncoderTolerance);
}

TEST_P(VisionFamily, CheckpointingAndRecordingChangeNoBit) {
  const auto encoder = golden_vision(golden, {.trainable = true});
  const at::Tensor pixels = pixels_of(golden, 1);
  std::vector<at::Tensor> runs[2];
  for (const bool checkpointing : {false, true}) {
    const c10::InferenceMode mode;
    encoder->weights().zero_gradients();
    Tape tape;
    const Var input = tape.input(pixels);
    const Var embeds = encoder->encode(tape, input, checkpointing).embeds_BP;
    tape.backward({{embeds, synthetic_input("d_embeds", embeds.value.sizes())}});
    runs[checkpointing] = {embeds.value, tape.gradient(input), encoder->weights().base().gradient().clone()};
  }
  runs[0][0] = encode(*encoder, pixels).embeds_BP.value;
  for (size_t i = 0; i < runs[0].size(); ++i) EXPECT_TRUE(same_values(runs[0][i], runs[1][i])) << i;
}

TEST_P(VisionFamily, GradientsAreTheSlopeOfTheLoss) {
  const auto encoder = golden_vision(golden, {.precision = at::kDouble, .trainable = true});
  const at::Tensor pixels = pixels_of(golden, 0, at::kDouble);
  const c10::InferenceMode mode;
  Tape tape;
  const Var input = tape.input(pixels);
  const Var embeds = encoder->encode(tape, input).embeds_BP;
  const at::Tensor d_embeds = synthetic_input("d_embeds", embeds.value.sizes()).to(at::kDouble);
  tape.backward({{embeds, d_embeds}});
  expect_slope(encoder->weights(), pixels, tape.gradient(input), [&](const at::Tensor& x) {
    return encode(*encoder, x).embeds_BP.value.mul(d_embeds).sum().item<double>();
  });
}

TEST(ClipVisionSpec, WithoutProjectionTheClassTokenIsTheEmbedding) {
  const Golden golden("clip", "vit_h");
  ClipVisionSpec spec = vision_spec_of(golden.json["config"]);
  spec.projection_dim = 0;
  ClipVision encoder(spec, {});
  for (size_t i = 0; i < encoder.weights().size(); ++i) {
    const std::string& name = encoder.weights().entry(i).name;
    EXPECT_NE(name, "visual_projection.weight");
    encoder.weights().write(name, smpo::test::synthetic_parameter(name, encoder.weights().entry(i).shape));
  }
  const at::Tensor embeds = encode(encoder, pixels_of(golden, 1)).embeds_BP.value;
  const at::Tensor projection = golden_vision(golden)->weights().read("visual_projection.weight");
  EXPECT_TRUE(matches(embeds.matmul(projection.t()), golden.tensor("case1.image_embeds"), kEncoderTolerance));
}

TEST(ClipVisionSpec, InvalidFieldsAreNamed) {
  const Golden golden("clip", "vit_h");
  const auto refused = [&](const std::function<void(ClipVisionSpec&)>& spoil) {
    ClipVisionSpec spec = vision_spec_of(golden.json["config"]);
    spoil(spec);
    return refusal([&] { const ClipVision encoder(spec, {}); });
  };
  EXPECT_EQ(refused([](ClipVisionSpec&) {}), "(nothing thrown)");
  EXPECT_EQ(refused([](ClipVisionSpec& s) { s.patch_size = 57; }),
            "patch_size: expected at most image_size (56), got 57");
  EXPECT_EQ(refused([](ClipVisionSpec& s) { s.channels = 0; }), "num_channels: expected 1..1048576, got 0");
  EXPECT_EQ(refused([](ClipVisionSpec& s) { s.encoder.hidden_size = 0; }), "hidden_size: expected 1..1048576, got 0");
}

TEST(ClipVisionInputs, ThatDoNotFitAreNamed) {
  const Golden golden("clip", "vit_h");
  const auto encoder = golden_vision(golden);
  const std::string expected = "pixel_values: expected [B,3,56,56] of Float, got ";
  const auto encoded = [&](const at::Tensor& pixels) { return refusal([&] { encode(*encoder, pixels); }); };
  EXPECT_EQ(encoded(at::zeros({1, 3, 56, 56})), "(nothing thrown)");
  EXPECT_EQ(encoded(at::zeros({1, 3, 56, 42})), expected + "[1, 3, 56, 42] of Float");
  EXPECT_EQ(encoded(at::zeros({3, 56, 56})), expected + "[3, 56, 56] of Float");
  EXPECT_EQ(encoded(at::zeros({1, 3, 56, 56}, at::kInt)), expected + "[1, 3, 56, 56] of Int");
  EXPECT_EQ(encoded({}), expected + "none");
  const ClipVision empty(encoder->spec(), {});
  EXPECT_EQ(refusal([&] { encode(empty, at::zeros({1, 3, 56, 56})); }).substr(0, 54),
            "model: 56 of 56 parameters were never written: vision_");
}

}  // namespace
}  // namespace smpo::models::test
