#include "kernels/renoise_update.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/renoise_update_case.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/threads.h"
#include "support/tolerance.h"

// Shapes: S slots (places in the inversion batch), R rows (images), N elements.
namespace smpo::kernels {
namespace {

using test::RenoiseUpdateCase;
using test::Tolerance;

/// alphas_cumprod of the SD 1.5 schedule by level.
constexpr double kAlphasCumprod1 = 0.998296027838;
constexpr double kAlphasCumprod201 = 0.752143401636;
constexpr double kAlphasCumprod401 = 0.422881524262;

void run_reference(const RenoiseUpdateArgs& args) { reference::renoise_update(args); }
void run_cpu(const RenoiseUpdateArgs& args) { cpu::renoise_update(args); }

// The inversion as printed in the papers: predict the clean latent, then add noise up to the next level.
double ddim_inverse(double x, double e, double source, double destination) {
  const double clean = (x - std::sqrt(1 - source) * e) / std::sqrt(source);
  return std::sqrt(destination) * clean + std::sqrt(1 - destination) * e;
}

TEST(RenoiseUpdateReference, IsTheInversionWithItsPublishedCoefficients) {
  // 1 -> 201 and 201 -> 401 of the five-step grid (v022): A and B as published, to nine digits.
  const struct {
    double source, destination;
    float a, b;
  } steps[] = {{kAlphasCumprod1, kAlphasCumprod201, 0.868001855f, 0.462021564f},
               {kAlphasCumprod201, kAlphasCumprod401, 0.749823471f, 0.386382039f}};
  for (const auto& step : steps) {
    RenoiseUpdateCase c(1, 1, 33, DType::kF32, DType::kF32);
    c.table[0] = {.row = 0, .flags = RenoiseSlot::kActive | RenoiseSlot::kAverage, .a = step.a, .b = step.b};
    c.run(run_reference);
    RenoiseUpdateCase guess(1, 1, 33, DType::kF32, DType::kF32);
    guess.table[0] = {.row = 0, .flags = RenoiseSlot::kActive, .a = step.a, .b = step.b};
    guess.run(run_reference);
    int noticed = 0;
    for (int64_t n = 0; n < 33; ++n) {
      const double x = c.latents.at(n);
      const double e1 = c.prediction.at(n);
      const double e2 = c.kept_before.at(n);
      // Roundings of the coefficients to f32 and to nine digits, and of the result: three parts in 2^24 of the terms.
      const Tolerance tolerance{.absolute = 3 * 0x1p-24 * (std::abs(x) + std::abs(e1) + std::abs(e2))};
      const double renoised = ddim_inverse(x, (e1 + e2) / 2, step.source, step.destination);
      EXPECT_TRUE(tolerance.accepts(c.updated.at(n), renoised));
      const double mutated = ddim_inverse(x, (e1 + e2) / 2, step.source * (1 + 1e-5), step.destination);
      noticed += tolerance.accepts(c.updated.at(n), mutated) ? 0 : 1;
      EXPECT_TRUE(tolerance.accepts(guess.updated.at(n), ddim_inverse(x, e1, step.source, step.destination)));
    }
    EXPECT_GT(noticed, 25) << "a level off by 1e-5 must show";
  }
}

TEST(RenoiseUpdateReference, TargetIsTheNoiseThatLedToTheLatent) {
  // tau = (x - sqrt(abar) x0) / sqrt(1 - abar): the target of a noised latent is its noise.
  RenoiseUpdateCase c(1, 1, 65, DType::kF32, DType::kF32);
  const double abar = kAlphasCumprod401;
  c.table[0] = {.row = 0,
                .flags = RenoiseSlot::kTarget,
                .target_x = 1 / std::sqrt(1 - abar),
                .target_x0 = -std::sqrt(abar) / std::sqrt(1 - abar)};
  for (int64_t n = 0; n < 65; ++n) {
    c.latents.set(n, static_cast<float>(std::sqrt(abar) * c.clean.at(n) + std::sqrt(1 - abar) * c.noise.at(n)));
  }
  c.run(run_reference);
  for (int64_t n = 0; n < 65; ++n) {
    const Tolerance tolerance{.absolute = 8 * 0x1p-24 * (std::abs(c.clean.at(n)) + std::abs(c.noise.at(n)))};
    EXPECT_TRUE(tolerance.accepts(c.target.at(n), c.noise.at(n)));
    EXPECT_FALSE(tolerance.accepts(c.target.at(n), c.noise.at(n) + 1e-4));
    EXPECT_EQ(c.updated.at(n), c.latents.at(n)) << "an inactive slot passes its latent on";
  }
}

// At t = 0 there is no inversion step: the target is (1 - sqrt(abar)) / sqrt(1 - abar) x0, the difference of two terms
// that are two thousand times larger. In f32, it would be wrong by 1e-4.
TEST(RenoiseUpdateCpu, ATargetOfLatentsThatDidNotMoveKeepsItsDigits) {
  const double abar = 0.99915;  // SD 1.5 at t = 0
  RenoiseUpdateCase c(1, 1, 65, DType::kF32, DType::kF32);
  c.table[0] = {.row = 0,
                .flags = RenoiseSlot::kTarget,
                .target_x = 1 / std::sqrt(1 - abar),
                .target_x0 = -std::sqrt(abar) / std::sqrt(1 - abar)};
  for (int64_t n = 0; n < 65; ++n) c.latents.set(n, static_cast<float>(c.clean.at(n)));
  c.run(run_cpu);
  const auto narrow = [](double x) { return static_cast<double>(static_cast<float>(x)); };
  int lost = 0;
  for (int64_t n = 0; n < 65; ++n) {
    const double x0 = c.clean.at(n);
    const double wanted = (1 - std::sqrt(abar)) / std::sqrt(1 - abar) * x0;
    const Tolerance tolerance{.relative = 1.001 * 0x1p-24};
    EXPECT_TRUE(tolerance.accepts(c.target.at(n), wanted));
    EXPECT_FALSE(tolerance.accepts(c.target.at(n), wanted * (1 + 2.5 * 0x1p-24)));
    const double in_f32 = narrow(narrow(c.table[0].target_x) * x0) + narrow(narrow(c.table[0].target_x0) * x0);
    lost += std::abs(in_f32 / wanted - 1) > 1e-5 ? 1 : 0;
  }
  EXPECT_GT(lost, 30) << "f32 would not do";
}

TEST(RenoiseUpdateReference, VelocityPredictionNeedsOtherCoefficientsOnly) {
  // x0 = sqrt(abar) x - sqrt(1 - abar) v, e = sqrt(abar) v + sqrt(1 - abar) x: x' and the target remain linear.
  const double i = kAlphasCumprod1;
  const double j = kAlphasCumprod201;
  RenoiseUpdateCase c(1, 1, 17, DType::kF32, DType::kF32);
  c.table[0] = {.row = 0,
                .flags = RenoiseSlot::kActive | RenoiseSlot::kTarget,
                .a = static_cast<float>(std::sqrt(j * i) + std::sqrt((1 - j) * (1 - i))),
                .b = static_cast<float>(std::sqrt((1 - j) * i) - std::sqrt(j * (1 - i))),
                .target_x = std::sqrt(j) / std::sqrt(1 - j),
                .target_x0 = -1 / std::sqrt(1 - j)};
  c.run(run_reference);
  for (int64_t n = 0; n < 17; ++n) {
    const double x = c.latents.at(n);
    const double v = c.prediction.at(n);
    const double x0 = std::sqrt(i) * x - std::sqrt(1 - i) * v;
    const double e = std::sqrt(i) * v + std::sqrt(1 - i) * x;
    const double next = std::sqrt(j) * x0 + std::sqrt(1 - j) * e;
    // velocity = sqrt(abar) e - sqrt(1 - abar) x0, with e from the latent
    const double given = c.clean.at(n);
    const double velocity = std::sqrt(j) * (next - std::sqrt(j) * given) / std::sqrt(1 - j) - std::sqrt(1 - j) * given;
    const double scale = std::abs(x) + std::abs(v) + std::abs(given);
    EXPECT_NEAR(c.updated.at(n), next, 4 * 0x1p-24 * scale);
    EXPECT_NEAR(c.target.at(n), velocity, 16 * 0x1p-24 * scale);
  }
}

// Self-NPO from t 239 to s 339: forward diffusion of the latents, and the target is the predicted noise turned by the
// fresh one, c e + sqrt(1 - c^2) n, here as numbers of (x, e, n) -> (x', target).
TEST(RenoiseUpdateReference, TheEndOfARolloutMixesPredictionAndNoise) {
  const double x[] = {0.3, -1.1, 0.8}, e[] = {0.2, -0.7, 1.0}, n[] = {-0.5, 0.4, 0.9};
  const double noised[] = {0.015758682930, -0.761739558048, 1.138887509894};
  const double target[] = {-0.215936801338, -0.206136945876, 1.342918624345};
  const double abar_t = 0.691750631538874, signal_s = 0.724494402401, sigma_s = 0.689280683677;
  const double c = 0.701641457307, rest = 0.712530185598;
  for (const auto& kernel : {&run_reference, &run_cpu}) {
    RenoiseUpdateCase mix(1, 1, 3, DType::kF32, DType::kF32);
    mix.table[0] = {.row = 0,
                    .flags = RenoiseSlot::kActive | RenoiseSlot::kNoise | RenoiseSlot::kTarget | RenoiseSlot::kMix,
                    .a = static_cast<float>(signal_s / std::sqrt(abar_t)),
                    .noise_scale = static_cast<float>(sigma_s * rest),
                    .target_e = c,
                    .target_noise = rest};
    for (int64_t i = 0; i < 3; ++i) {
      mix.latents.set(i, static_cast<float>(x[i]));
      mix.prediction.set(i, static_cast<float>(e[i]));
      mix.noise.set(i, static_cast<float>(n[i]));
    }
    mix.run(kernel);
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(mix.updated.at(i), noised[i], 2e-7);
      EXPECT_NEAR(mix.target.at(i), target[i], 2e-7);
    }
  }
}

TEST(RenoiseUpdateCpu, AgreesWithTheReference) {
  for (const DType prediction : test::kDTypes) {
    for (const DType input : test::kDTypes) {
      for (const int64_t elements : test::kRowSizes) {
        SCOPED_TRACE(testing::Message() << elements << " elements, " << test::name_of(prediction) << " predictions, "
                                        << test::name_of(input) << " input");
        const int64_t slots = elements > 1000 ? 3 : 32;
        RenoiseUpdateCase c(slots, slots + 2, elements, prediction, input);
        RenoiseUpdateCase judge(slots, slots + 2, elements, prediction, DType::kF32);
        test::fill_table(c, slots + 2);
        test::fill_table(judge, slots + 2);
        c.run(run_cpu);
        judge.run(run_reference);
        test::expect_agreement(c, judge);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(RenoiseUpdateCpu, InPlaceGivesTheSameBits) {
  RenoiseUpdateCase c(6, 6, 4097, DType::kBF16, DType::kBF16);
  test::fill_table(c, 6);
  c.run(run_cpu);
  RenoiseUpdateCase in_place(6, 6, 4097, DType::kBF16, DType::kBF16);
  test::fill_table(in_place, 6);
  in_place.args.updated_RN = in_place.latents.floats();
  in_place.run(run_cpu);
  for (size_t s = 0; s < 6; ++s) {
    const int32_t row = c.table[s].row;
    if (row < 0) continue;
    for (int64_t n = 0; n < 4097; ++n) {
      const bool guess = (c.table[s].flags & RenoiseSlot::kGuess) != 0;
      ASSERT_EQ(in_place.latents.at(row * 4097 + n), (guess ? c.latents : c.updated).at(row * 4097 + n));
    }
  }
  EXPECT_EQ(in_place.target.bits(), c.target.bits());
  EXPECT_EQ(in_place.unet_input.bits(), c.unet_input.bits());
}

TEST(RenoiseUpdateCpu, TheGuessGoesToTheUnetAndLeavesTheLatentAlone) {
  RenoiseUpdateCase c(2, 2, 100, DType::kF32, DType::kF32);
  for (int32_t s = 0; s < 2; ++s)
    c.table[static_cast<size_t>(s)] = {
        .row = s, .flags = RenoiseSlot::kActive | RenoiseSlot::kGuess, .a = 0.5f, .b = 2.0f};
  c.args.noise_SN = nullptr;
  c.args.clean_latents_RN = nullptr;
  c.args.target_RN = nullptr;
  c.run(run_cpu);
  for (int64_t i = 0; i < 200; ++i) {
    EXPECT_EQ(c.unet_input.at(i), 0.5f * c.latents.floats()[i] + 2.0f * c.prediction.floats()[i]);
    EXPECT_EQ(c.updated.at(i), RenoiseUpdateCase::kUntouched);
    EXPECT_EQ(c.kept.at(i), c.prediction.at(i));
  }
}

TEST(RenoiseUpdateCpu, InactiveSlotsCopyAndEmptySlotsTouchNothing) {
  RenoiseUpdateCase c(3, 4, 1000, DType::kF32, DType::kF32);
  c.table[0] = {.row = 3};
  c.table[1] = {.row = -1, .flags = RenoiseSlot::kActive | RenoiseSlot::kTarget};
  c.table[2] = {.row = 1};
  c.run(run_cpu);
  for (int64_t n = 0; n < 1000; ++n) {
    EXPECT_EQ(c.updated.at(3000 + n), c.latents.at(3000 + n));
    EXPECT_EQ(c.updated.at(1000 + n), c.latents.at(1000 + n));
    EXPECT_EQ(c.unet_input.at(n), c.latents.at(3000 + n));
    EXPECT_EQ(c.unet_input.at(2000 + n), c.latents.at(1000 + n));
    for (const int64_t untouched : {n, 2000 + n}) EXPECT_EQ(c.updated.at(untouched), RenoiseUpdateCase::kUntouched);
    EXPECT_EQ(c.unet_input.at(1000 + n), RenoiseUpdateCase::kUntouched);
    EXPECT_EQ(c.target.at(n), RenoiseUpdateCase::kUntouched);
  }
}

TEST(RenoiseUpdateCpu, SameBitsForEveryInstructionSetAndThreadCount) {
  for (const DType dtype : test::kDTypes) {
    std::vector<std::vector<unsigned char>> wanted;
    for (const cpu::InstructionSet set : test::runnable_instruction_sets()) {
      for (const int threads : {1, 2, 5}) {
        const test::ThreadScope scope(threads);
        RenoiseUpdateCase c(8, 8, 5003, dtype, dtype);
        test::fill_table(c, 8);
        c.run([&](const RenoiseUpdateArgs& args) { cpu::renoise_update(args, set); });
        const std::vector<std::vector<unsigned char>> bits = {c.updated.bits(), c.unet_input.bits(), c.target.bits(),
                                                              c.kept.bits()};
        if (wanted.empty()) wanted = bits;
        EXPECT_TRUE(bits == wanted) << cpu::name_of(set) << ", " << threads << " threads";
      }
    }
  }
}

TEST(RenoiseUpdateCpu, NonFinitePredictionsPassThrough) {
  RenoiseUpdateCase c(1, 1, 40, DType::kBF16, DType::kBF16);
  c.table[0] = {.row = 0,
                .flags = RenoiseSlot::kActive | RenoiseSlot::kAverage | RenoiseSlot::kTarget,
                .a = 0.9f,
                .b = 0.1f,
                .target_x = 1.0,
                .target_x0 = -0.5};
  c.prediction.set(7, std::numeric_limits<float>::quiet_NaN());
  c.kept.set(39, std::numeric_limits<float>::infinity());
  c.run(run_cpu);
  for (int64_t n = 0; n < 40; ++n) {
    EXPECT_EQ(std::isfinite(c.updated.at(n)), n != 7 && n != 39) << n;
    EXPECT_EQ(std::isfinite(c.unet_input.at(n)), n != 7 && n != 39) << n;
    EXPECT_EQ(std::isfinite(c.target.at(n)), n != 7 && n != 39) << n;
  }
}

}  // namespace
}  // namespace smpo::kernels
