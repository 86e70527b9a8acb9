// The preprocessing of images in float: torch's resize, its transpose, and the whole chain from a sample to an
// embedding by finite differences in f64.
#include "models/pixel_values.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <string>

#include "models/clip_vision.h"
#include "models/encoder_case.h"
#include "models/golden_unet.h"
#include "models/vae.h"

namespace smpo::models::test {
namespace {

using smpo::test::Golden;
using smpo::test::Json;
using smpo::test::synthetic_input;
using tape::Tape;
using tape::Var;
using tape::test::matches;

TEST(ResizeMatrix, HasItsKnownValues) {
  const at::Tensor bilinear = resize_matrix(6, 3, ResizeFilter::kBilinear, at::kDouble);
  const at::Tensor first = at::tensor({0.428571428571, 0.428571428571, 0.142857142857, 0.0, 0.0, 0.0}, at::kDouble);
  EXPECT_TRUE(matches(bilinear.select(0, 0), first, 1e-11));
  const at::Tensor bicubic = resize_matrix(6, 3, ResizeFilter::kBicubic, at::kDouble);
  const at::Tensor middle = at::tensor(
      {-0.034351145038, 0.110687022901, 0.423664122137, 0.423664122137, 0.110687022901, -0.034351145038}, at::kDouble);
  EXPECT_TRUE(matches(bicubic.select(0, 1), middle, 1e-11));
  const at::Tensor ramp = at::arange(6, at::kDouble);
  EXPECT_TRUE(
      matches(bicubic.matmul(ramp), at::tensor({0.543933054393, 2.500000000000, 4.456066945607}, at::kDouble), 1e-11));
  // The gradient of a sum is the sum of each column.
  EXPECT_TRUE(matches(
      bicubic.sum(0),
      at::tensor({0.430084001405, 0.562569868089, 0.507346130506, 0.507346130506, 0.562569868089, 0.430084001405},
                 at::kDouble),
      1e-11));
  // Weights beside the diagonal are -0, which equals 0 in value but not in bits.
  EXPECT_TRUE(at::equal(resize_matrix(5, 5, ResizeFilter::kBicubic, at::kFloat), at::eye(5)));
}

TEST(PixelValues, BlackSurroundsAndTheCropCuts) {
  PixelSpec spec{.resized_height = 4, .resized_width = 4, .height = 6, .width = 2, .top = 1, .left = -1};
  spec.mean = {0.5, 0, 0};
  spec.std = {0.25, 1, 1};
  const at::Tensor pixels = synthetic_input("pixels", {1, 3, 4, 4}).to(at::kDouble);
  const at::Tensor values = pixel_values(pixels, spec);
  const at::Tensor light = ((pixels + 1) / 2).clamp(0, 1).slice(3, 1, 3);
  EXPECT_TRUE(matches(values.slice(2, 1, 5).select(1, 0), (light.select(1, 0) - 0.5) / 0.25, 1e-12));
  EXPECT_TRUE(matches(values.slice(2, 1, 5).select(1, 1), light.select(1, 1), 1e-12));
  for (const int64_t row : {0, 5}) {
    EXPECT_EQ(values.select(2, row).select(1, 0).min().item<double>(), -2);
    EXPECT_EQ(values.select(2, row).select(1, 1).max().item<double>(), 0);
  }
}

TEST(PixelValues, GradientIsTheTransposeAndZeroWhereClamped) {
  for (const ResizeFilter filter : {ResizeFilter::kBilinear, ResizeFilter::kBicubic}) {
    PixelSpec spec{
        .filter = filter, .resized_height = 5, .resized_width = 9, .height = 7, .width = 6, .top = 1, .left = -2};
    spec.std = {0.3, 0.5, 2};
    const at::Tensor pixels = synthetic_input("pixels", {2, 3, 12, 7}).to(at::kDouble);  // about half beyond [-1,1]
    const at::Tensor seed = synthetic_input("seed", {2, 3, 7, 6}).to(at::kDouble);
    const at::Tensor gradient = pixel_values_backward(pixels, spec, seed);
    const at::Tensor direction = synthetic_input("direction", pixels.sizes()).to(at::kDouble);
    const auto loss = [&](double step) {
      return pixel_values(pixels + step * direction, spec).mul(seed).sum().item<double>();
    };
    const double h = 1e-7, slope = gradient.mul(direction).sum().item<double>();
    EXPECT_NEAR((loss(h) - loss(-h)) / (2 * h), slope, 1e-6 * gradient.abs().sum().item<double>());
    EXPECT_EQ(gradient.mul(pixels.abs().gt(1)).abs().max().item<double>(), 0);
    EXPECT_GT(gradient.mul(pixels.abs().lt(1)).abs().max().item<double>(), 0);
  }
}

/// The models of tools/golden/reward_gradient.py in f64.
struct Chain {
  std::unique_ptr<UNet> unet;
  std::unique_ptr<Vae> vae;
  std::unique_ptr<ClipVision> vision;
  at::Tensor prompt = synthetic_input("prompt", {1, 7, 20}).to(at::kDouble);
  at::Tensor negative = synthetic_input("negative", {1, 7, 20}).to(at::kDouble);
  PixelSpec spec{.resized_height = 56, .resized_width = 70, .height = 56, .width = 56, .left = -7};
  double guidance = 5, sample = 1.25, output = -0.75, scale = 0.18215;

  explicit Chain(bool trainable) {
    const WeightOptions options{.precision = at::kDouble, .trainable = trainable};
    unet = golden_unet(Golden("unet", "sd1"), options);
    const Golden clip("clip", "vit_h"), f8("vae", "f8");
    const Json& config = f8.json["config"];
    vae = golden_encoder<Vae>(f8,
                              VaeSpec{.in_channels = 3,
                                      .out_channels = 3,
                                      .latent_channels = 4,
                                      .block_out_channels = config["block_out_channels"].integers(),
                                      .layers_per_block = config["layers_per_block"].integer(),
                                      .norm_num_groups = config["norm_num_groups"].integer()},
                              WeightOptions{.precision = at::kDouble});
    const Json& tower = clip.json["config"];
    vision =
        golden_encoder<ClipVision>(clip,
                                   ClipVisionSpec{.image_size = tower["image_size"].integer(),
                                                  .patch_size = tower["patch_size"].integer(),
                                                  .encoder = {.hidden_size = tower["hidden_size"].integer(),
                                                              .intermediate_size = tower["intermediate_size"].integer(),
                                                              .attention_heads = tower["num_attention_heads"].integer(),
                                                              .layers = tower["num_hidden_layers"].integer(),
                                                              .activation = ClipActivation::kGelu},
                                                  .projection_dim = tower["projection_dim"].integer()},
                                   WeightOptions{.precision = at::kDouble});
    spec.mean = {0.48, 0.46, 0.41};
    spec.std = {0.27, 0.26, 0.28};
  }

  UNet::Inputs inputs(const Var& x, const at::Tensor& states) const {
    return {.sample_BCHW = x, .timesteps_B = at::tensor({451.0}, at::kDouble), .encoder_hidden_states_BTD = states};
  }
  at::Tensor clean(const at::Tensor& x) const {
    Tape tape = Tape::inference();
    const at::Tensor p = unet->forward(tape, inputs(x, prompt)).value;
    const at::Tensor n = unet->forward(tape, inputs(x, negative)).value;
    return sample * x + output * (n + guidance * (p - n));
  }
  at::Tensor embeds(const at::Tensor& x) const {
    Tape tape = Tape::inference();
    const at::Tensor pixels = vae->decode(tape, clean(x) / scale).value;
    return vision->encode(tape, pixel_values(pixels, spec)).embeds_BP.value;
  }
  at::Tensor by_sample(const at::Tensor& x, const at::Tensor& states, const at::Tensor& seed) const {
    const Weights::Frozen frozen(unet->weights());
    Tape tape;
    const Var input = tape.input(x);
    tape.backward({{unet->forward(tape, inputs(input, states)), seed}});
    return tape.gradient(input);
  }
  /// The gradient of the sum of embeds * seed, by the chain of backward passes.
  at::Tensor gradient(const at::Tensor& x, const at::Tensor& seed) const {
    const at::Tensor latents = clean(x) / scale;
    Tape decoding;
    const Var z = decoding.input(latents);
    const Var pixels = vae->decode(decoding, z, /*checkpointing=*/true);
    Tape seeing;
    const Var values = seeing.input(pixel_values(pixels.value, spec));
    seeing.backward({{vision->encode(seeing, values).embeds_BP, seed}});
    decoding.backward({{pixels, pixel_values_backward(pixels.value, spec, seeing.gradient(values))}});
    const at::Tensor d_clean = decoding.gradient(z) / scale;
    return sample * d_clean + by_sample(x, prompt, output * guidance * d_clean) +
           by_sample(x, negative, output * (1 - guidance) * d_clean);
  }
};

TEST(RewardGradient, IsTheSlopeOfTheWholeChain) {
  const c10::InferenceMode mode;
  const Chain chain(/*trainable=*/false);
  const at::Tensor x = synthetic_input("sample", {1, 4, 8, 10}).to(at::kDouble);
  const at::Tensor seed = synthetic_input("seed", {1, 24}).to(at::kDouble);
  const at::Tensor gradient = chain.gradient(x, seed);
  const at::Tensor direction = synthetic_input("direction", x.sizes()).to(at::kDouble);
  const auto loss = [&](double step) { return chain.embeds(x + step * direction).mul(seed).sum().item<double>(); };
  // Clamping breaks the slope where a pixel crosses the range within the step: a step so small that few do.
  const double h = 1e-7, slope = gradient.mul(direction).sum().item<double>();
  const double difference = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h);
  std::printf("slope %.9g, difference %.9g\n", slope, difference);
  EXPECT_NEAR(difference, slope, 1e-5 * std::abs(slope));
  EXPECT_GT(std::abs(slope), 1e-3);
}

TEST(Frozen, LeavesGradientsAndCostsNothing) {
  const c10::InferenceMode mode;
  const Chain chain(/*trainable=*/true);
  const at::Tensor x = synthetic_input("sample", {1, 4, 8, 10}).to(at::kDouble);
  const at::Tensor seed = synthetic_input("seed", x.sizes()).to(at::kDouble);
  Weights& weights = chain.unet->weights();
  Tape tape;
  const Var input = tape.input(x);
  tape.backward({{chain.unet->forward(tape, chain.inputs(input, chain.prompt)), seed}});
  const at::Tensor before = weights.base().gradient().clone();
  EXPECT_GT(before.abs().max().item<double>(), 0);
  EXPECT_TRUE(same_values(chain.by_sample(x, chain.prompt, seed), tape.gradient(input)));
  EXPECT_TRUE(same_values(weights.base().gradient(), before));
  // The parameters train again.
  Tape again;
  again.backward({{chain.unet->forward(again, chain.inputs(x, chain.prompt)), seed}});
  EXPECT_TRUE(matches(weights.base().gradient(), before * 2, 1e-12));
}

}  // namespace
}  // namespace smpo::models::test
