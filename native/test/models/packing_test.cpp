// Whole networks with packed weights against the same networks with plain ones: outputs and gradients have the same
// bits.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "models/clip_text.h"
#include "models/clip_vision.h"
#include "models/unet.h"
#include "models/vae.h"
#include "tape/onednn.h"
#include "tape/op_case.h"

namespace smpo::models::test {
namespace {

using tape::Tape;
using tape::Var;

const WeightOptions kPacked{.trainable = true};
const WeightOptions kPlain{.trainable = true, .packing = {.budget = [] { return int64_t{0}; }}};

void fill(Weights& weights) {
  tape::test::Samples samples(51);
  for (size_t i = 0; i < weights.size(); ++i) {
    const ParameterGroup::Entry& entry = weights.entry(i);
    const bool gain = entry.shape.size() == 1 && entry.name.ends_with("weight");
    const double fan_in = static_cast<double>(entry.elements) / static_cast<double>(entry.shape[0]);
    weights.write(
        entry.name,
        samples.normal(entry.shape, entry.shape.size() == 1 ? 0.05 : 1 / std::sqrt(fan_in)).add_(gain ? 1.0 : 0.0));
  }
}

/// `run` evaluates a network on a tape that may record.
template <typename Network>
void expect_same_bits(const Network& packed, const Network& plain,
                      const std::function<Var(Tape&, const Network&)>& run) {
  const c10::InferenceMode mode;
  Tape inference = Tape::inference();
  const at::Tensor expected = run(inference, plain).value;
  EXPECT_TRUE(at::equal(run(inference, packed).value, expected));
  EXPECT_TRUE(at::equal(run(inference, packed).value, expected)) << "from copies that are there";
  EXPECT_EQ(plain.weights().base().packed_bytes(), 0);
  const bool packs = tape::prefers_onednn(tape::test::Samples(1).normal({640, 640}).to(at::kFloat));
  if (packs) {
    EXPECT_GT(packed.weights().base().packed_bytes(), 0);
  }
  for (const Network* network : {&packed, &plain}) {
    Tape tape;
    const Var output = run(tape, *network);
    EXPECT_TRUE(at::equal(output.value, expected));
    tape.backward({{output, expected}});
  }
  EXPECT_TRUE(at::equal(packed.weights().base().gradient(), plain.weights().base().gradient()));
}

template <typename Network, typename Spec>
std::pair<std::unique_ptr<Network>, std::unique_ptr<Network>> two_of(const Spec& spec) {
  auto packed = std::make_unique<Network>(spec, kPacked), plain = std::make_unique<Network>(spec, kPlain);
  fill(packed->weights());
  fill(plain->weights());
  return {std::move(packed), std::move(plain)};
}

TEST(Packing, AUNetHasTheSameBits) {
  UNetSpec spec{.in_channels = 4, .out_channels = 4, .cross_attention_dim = 320, .norm_num_groups = 8};
  spec.norm_eps = 1e-5;
  for (const int64_t channels : {160, 320}) {
    spec.levels.push_back({.channels = channels,
                           .layers = 1,
                           .down_attention = true,
                           .up_attention = true,
                           .transformer_layers = 1,
                           .heads = 4});
  }
  const auto [packed, plain] = two_of<UNet>(spec);
  tape::test::Samples samples(52);
  UNet::Inputs inputs;
  inputs.sample_BCHW = samples.normal({2, 4, 16, 12}).to(at::kFloat);
  inputs.timesteps_B = at::arange(2, at::kFloat).mul_(300);
  inputs.encoder_hidden_states_BTD = samples.normal({2, 20, 320}).to(at::kFloat);
  expect_same_bits<UNet>(*packed, *plain,
                         [&inputs](Tape& tape, const UNet& unet) { return unet.forward(tape, inputs); });
  const c10::InferenceMode mode;
  EXPECT_TRUE(at::equal(packed->text_keys_values(inputs.encoder_hidden_states_BTD.value, false),
                        plain->text_keys_values(inputs.encoder_hidden_states_BTD.value, false)));
  // Copies of old weights are not used again.
  for (const UNet* unet : {packed.get(), plain.get()}) {
    const_cast<UNet*>(unet)->weights().write("conv_in.weight", samples.normal({160, 4, 3, 3}).mul_(0).add_(0.01));
    const_cast<UNet*>(unet)->weights().write("mid_block.resnets.0.conv1.weight",
                                             samples.normal({320, 320, 3, 3}).mul_(0).add_(0.001));
  }
  Tape inference = Tape::inference();
  EXPECT_TRUE(at::equal(packed->forward(inference, inputs).value, plain->forward(inference, inputs).value));
}

TEST(Packing, AVaeHasTheSameBits) {
  const VaeSpec spec{.block_out_channels = {128, 256}, .layers_per_block = 1, .norm_num_groups = 32};
  const auto [packed, plain] = two_of<Vae>(spec);
  tape::test::Samples samples(53);
  const at::Tensor pixels = samples.normal({1, 3, 32, 24}).to(at::kFloat);
  expect_same_bits<Vae>(*packed, *plain,
                        [&pixels](Tape& tape, const Vae& vae) { return vae.encode(tape, pixels).mean_BLHW; });
  const at::Tensor latents = samples.normal({1, spec.latent_channels, 16, 12}).to(at::kFloat);
  expect_same_bits<Vae>(*packed, *plain, [&latents](Tape& tape, const Vae& vae) { return vae.decode(tape, latents); });
}

TEST(Packing, ClipTowersHaveTheSameBits) {
  const ClipEncoderSpec encoder{.hidden_size = 320, .intermediate_size = 1280, .attention_heads = 5, .layers = 2};
  ClipVisionSpec vision{.encoder = encoder, .projection_dim = 320};
  vision.image_size = 56;
  vision.patch_size = 14;
  const auto [packed, plain] = two_of<ClipVision>(vision);
  const at::Tensor pixels = tape::test::Samples(54).normal({9, 3, 56, 56}).to(at::kFloat);
  expect_same_bits<ClipVision>(
      *packed, *plain, [&pixels](Tape& tape, const ClipVision& tower) { return tower.encode(tape, pixels).embeds_BP; });
  ClipTextSpec text{.encoder = encoder, .projection_dim = 320};
  text.vocab_size = 100;
  text.eos_token_id = 99;
  text.max_position_embeddings = 20;
  const auto [packed_text, plain_text] = two_of<ClipText>(text);
  // 20 tokens with the end token last.
  const at::Tensor ids = at::arange(80, 100, at::kLong).expand({8, 20}).contiguous();
  expect_same_bits<ClipText>(*packed_text, *plain_text, [&ids](Tape& tape, const ClipText& tower) {
    return tower.encode(tape, ids, {.skip = 0, .final_norm = true}).hidden_BSC;
  });
}

}  // namespace
}  // namespace smpo::models::test
