// BLIP's vision transformer and BERT with cross-attention against the outputs of timm and transformers.
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <string>

#include "models/bert.h"
#include "models/clip_vision.h"
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

const std::string kVision = "blip.visual_encoder.";
const std::string kText = "blip.text_encoder.";

ClipVisionSpec vision_spec_of(const Golden& golden) {
  const Json& json = golden.json;
  return {.image_size = json["side"].integer(),
          .patch_size = json["patch"].integer(),
          .encoder = {.hidden_size = json["width"].integer(),
                      .intermediate_size = json["inner"].integer(),
                      .attention_heads = json["width"].integer() / 64,
                      .layers = json["depth"].integer(),
                      .activation = ClipActivation::kGelu,
                      .layer_norm_eps = 1e-6},
          .projection_dim = 0,
          .patch_bias = true,
          .pre_norm = false,
          .all_tokens = true};
}

BertSpec bert_spec_of(const Golden& golden) {
  const Json& text = golden.json["text"];
  return {.vocab_size = golden.json["tokens"].integer(),
          .max_position_embeddings = text["max_position_embeddings"].integer(),
          .hidden_size = text["hidden_size"].integer(),
          .intermediate_size = text["intermediate_size"].integer(),
          .attention_heads = text["num_attention_heads"].integer(),
          .layers = text["num_hidden_layers"].integer(),
          .encoder_width = golden.json["width"].integer()};
}

at::Tensor parameter(const Golden& golden, const std::string& name) {
  return smpo::test::synthetic_parameter(name, golden.json["parameters"][name].integers());
}

/// The vision transformer's weights, whose names and shapes differ from CLIP's.
std::unique_ptr<ClipVision> golden_vision(const Golden& golden) {
  auto model = std::make_unique<ClipVision>(vision_spec_of(golden), WeightOptions{});
  Weights& weights = model->weights();
  const auto both = [&](const std::string& ours, const std::string& theirs) {
    for (const char* kind : {".weight", ".bias"})
      weights.write(ours + kind, parameter(golden, kVision + theirs + kind));
  };
  const std::string embeddings = "vision_model.embeddings.";
  weights.write(embeddings + "class_embedding", parameter(golden, kVision + "cls_token").flatten());
  weights.write(embeddings + "position_embedding.weight", parameter(golden, kVision + "pos_embed").squeeze(0));
  both(embeddings + "patch_embedding", "patch_embed.proj");
  both("vision_model.post_layernorm", "norm");
  const int64_t width = golden.json["width"].integer();
  for (int64_t i = 0; i < golden.json["depth"].integer(); ++i) {
    const std::string ours = "vision_model.encoder.layers." + std::to_string(i), theirs = "blocks." + std::to_string(i);
    both(ours + ".layer_norm1", theirs + ".norm1");
    both(ours + ".layer_norm2", theirs + ".norm2");
    both(ours + ".self_attn.out_proj", theirs + ".attn.proj");
    both(ours + ".mlp.fc1", theirs + ".mlp.fc1");
    both(ours + ".mlp.fc2", theirs + ".mlp.fc2");
    for (const char* kind : {".weight", ".bias"}) {
      const at::Tensor all = parameter(golden, kVision + theirs + ".attn.qkv" + kind);
      int64_t row = 0;
      for (const char* part : {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"}) {
        weights.write(ours + part + kind, all.slice(0, row, row + width));
        row += width;
      }
    }
  }
  weights.require_written();
  return model;
}

std::unique_ptr<Bert> golden_bert(const Golden& golden, const WeightOptions& options = {}) {
  auto model = std::make_unique<Bert>(bert_spec_of(golden), options);
  for (const auto& [name, shape] : golden.json["parameters"].object()) {
    if (!name.starts_with(kText)) continue;
    model->weights().write(name.substr(kText.size()), smpo::test::synthetic_parameter(name, shape.integers()));
  }
  return model;
}

at::Tensor ids_of(const Golden& golden) {
  std::vector<int64_t> all;
  const auto& rows = golden.json["ids"].array();
  for (const Json& row : rows) {
    for (const int64_t id : row.integers()) all.push_back(id);
  }
  return at::tensor(all).view({static_cast<int64_t>(rows.size()), -1});
}

at::Tensor encode(const Bert& bert, const at::Tensor& ids, const at::Tensor& states) {
  const c10::InferenceMode mode;
  Tape tape = Tape::inference();
  return bert.encode(tape, ids, states).value;
}

at::Tensor see(const ClipVision& vision, const Golden& golden) {
  const c10::InferenceMode mode;
  Tape tape = Tape::inference();
  const int64_t side = golden.json["side"].integer();
  return vision.encode(tape, synthetic_input("case0.pixel_values", {3, 3, side, side})).embeds_BP.value;
}

TEST(Blip, StatesAreThoseOfTimm) {
  const Golden golden("blip", "blip");
  const auto vision = golden_vision(golden);
  const at::Tensor& wanted = golden.tensor("states");
  EXPECT_TRUE(matches(see(*vision, golden), wanted, kEncoderTolerance));
  const std::string name = "vision_model.embeddings.patch_embedding.bias";
  vision->weights().write(name, vision->weights().read(name).mul(1.1));
  EXPECT_GT(relative_error(see(*vision, golden), wanted), kEncoderTolerance);
}

TEST(Blip, TheFirstTokenIsThatOfTransformers) {
  const Golden golden("blip", "blip");
  const auto bert = golden_bert(golden);
  const at::Tensor& states = golden.tensor("states");
  const at::Tensor ids = ids_of(golden);
  const at::Tensor& wanted = golden.tensor("first");
  EXPECT_TRUE(matches(encode(*bert, ids, states).select(1, 0), wanted, kEncoderTolerance));
  EXPECT_TRUE(matches(encode(*bert, ids.to(at::kInt), states).select(1, 0), wanted, kEncoderTolerance));
  for (const char* name : {"encoder.layer.1.crossattention.self.value.bias", "encoder.layer.2.output.LayerNorm.bias",
                           "embeddings.position_embeddings.weight", "encoder.layer.0.attention.output.dense.weight"}) {
    const auto changed = golden_bert(golden);
    changed->weights().write(name, changed->weights().read(name).mul(1.1));
    EXPECT_GT(relative_error(encode(*changed, ids, states).select(1, 0), wanted), kEncoderTolerance) << name;
  }
}

TEST(Blip, RowsAndTheirStatesAreIndependent) {
  const Golden golden("blip", "blip");
  const auto bert = golden_bert(golden);
  const at::Tensor ids = ids_of(golden);
  const at::Tensor all = encode(*bert, ids, golden.tensor("states"));
  for (int64_t b = 0; b < ids.size(0); ++b) {
    const at::Tensor one = encode(*bert, ids.slice(0, b, b + 1), golden.tensor("states").slice(0, b, b + 1));
    EXPECT_TRUE(matches(one, all.slice(0, b, b + 1), kEncoderTolerance)) << b;
  }
}

TEST(Blip, GradientsOfBertAreTheSlopeOfTheLoss) {
  const Golden golden("blip", "blip");
  const auto bert = golden_bert(golden, {.precision = at::kDouble, .trainable = true});
  const at::Tensor ids = ids_of(golden);
  const at::Tensor states = golden.tensor("states").to(at::kDouble);
  const c10::InferenceMode mode;
  Tape tape;
  const Var input = tape.input(states);
  const Var last = bert->encode(tape, ids, input);
  const at::Tensor d_last = synthetic_input("d_last", last.value.sizes()).to(at::kDouble);
  tape.backward({{last, d_last}});
  expect_slope(bert->weights(), states, tape.gradient(input),
               [&](const at::Tensor& x) { return encode(*bert, ids, x).mul(d_last).sum().item<double>(); });
}

TEST(Blip, InputsThatDoNotFitAreNamed) {
  const Golden golden("blip", "blip");
  const auto bert = golden_bert(golden);
  const auto encoded = [&](const at::Tensor& ids, const at::Tensor& states) {
    return refusal([&] { encode(*bert, ids, states); });
  };
  const at::Tensor ids = at::zeros({2, 40}, at::kLong), states = at::zeros({2, 3, 128});
  EXPECT_EQ(encoded(ids, states), "(nothing thrown)");
  EXPECT_EQ(encoded(at::zeros({2, 41}, at::kLong), states),
            "ids: expected [B,S] of Int or Long, S in 1..40, got [2, 41] of Long");
  EXPECT_EQ(encoded(ids + 2502, states), "ids[0][0]: expected 0..2501 (vocab_size - 1), got 2502");
  EXPECT_EQ(encoded(ids, at::zeros({2, 3, 64})),
            "encoder_states: expected [2,T,128] of Float, got [2, 3, 64] of Float");
  EXPECT_EQ(encoded(ids, at::zeros({1, 3, 128})),
            "encoder_states: expected [2,T,128] of Float, got [1, 3, 128] of Float");
  EXPECT_EQ(encoded(ids, {}), "encoder_states: expected [2,T,128] of Float, got none");
  BertSpec spec = bert->spec();
  spec.encoder_width = 0;
  EXPECT_EQ(refusal([&] { const Bert broken(spec, {}); }), "encoder_width: expected 1..1048576, got 0");
}

}  // namespace
}  // namespace smpo::models::test
