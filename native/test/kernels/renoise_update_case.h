// Inputs, outputs and comparison for the tests of renoise_update on CPU and device.
// Shapes: S slots (places in the inversion batch), R rows (images), N elements.
#ifndef SMPO_TEST_KERNELS_RENOISE_UPDATE_CASE_H_
#define SMPO_TEST_KERNELS_RENOISE_UPDATE_CASE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <initializer_list>
#include <vector>

#include "kernels/renoise_update.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

using kernels::DType;
using kernels::kRenoiseTolerance;
using kernels::kTargetTolerance;
using kernels::RenoiseSlot;
using kernels::RenoiseUpdateArgs;

/// Random inputs, and outputs, all between guard pages.
struct RenoiseUpdateCase {
  RenoiseUpdateCase(int64_t slots, int64_t rows, int64_t elements, DType prediction_dtype, DType input_dtype,
                    uint32_t seed = 1)
      : table(static_cast<size_t>(slots)),
        latents(DType::kF32, normal_floats(rows * elements, seed)),
        clean(DType::kF32, normal_floats(rows * elements, seed + 1)),
        prediction(prediction_dtype, normal_floats(slots * elements, seed + 2)),
        kept(prediction_dtype, normal_floats(slots * elements, seed + 3)),
        kept_before(prediction_dtype, normal_floats(slots * elements, seed + 3)),
        noise(DType::kF32, normal_floats(slots * elements, seed + 4)),
        updated(DType::kF32, std::vector<float>(static_cast<size_t>(rows * elements), kUntouched)),
        unet_input(input_dtype, std::vector<float>(static_cast<size_t>(slots * elements), kUntouched)),
        target(DType::kF32, std::vector<float>(static_cast<size_t>(rows * elements), kUntouched)) {
    for (size_t s = 0; s < table.size(); ++s) table[s] = RenoiseSlot{};
    args = {.slots = slots,
            .elements = elements,
            .slot_S = table.data(),
            .latents_RN = latents.floats(),
            .prediction_SN = prediction.data(),
            .kept_prediction_SN = kept.data(),
            .prediction_dtype = prediction_dtype,
            .noise_SN = noise.floats(),
            .clean_latents_RN = clean.floats(),
            .updated_RN = updated.floats(),
            .unet_input_SN = unet_input.data(),
            .unet_input_dtype = input_dtype,
            .target_RN = target.floats()};
  }

  void run(const std::function<void(const RenoiseUpdateArgs&)>& kernel) {
    const bool in_place = args.updated_RN == args.latents_RN;
    table.freeze();
    if (!in_place) latents.freeze();
    for (Tensor* input : {&clean, &prediction, &noise}) input->freeze();
    kernel(args);
    table.make_writable();
    for (Tensor* input : {&latents, &clean, &prediction, &noise}) input->make_writable();
    for (const Tensor* tensor : std::initializer_list<const Tensor*>{&latents, &clean, &prediction, &kept, &noise,
                                                                     &updated, &unet_input, &target}) {
      EXPECT_TRUE(tensor->intact());
    }
    EXPECT_TRUE(table.intact());
  }

  static constexpr float kUntouched = -77.0f;  // exact in bf16

  RedZone<RenoiseSlot> table;
  Tensor latents, clean, prediction, kept, kept_before, noise;
  Tensor updated, unet_input, target;
  RenoiseUpdateArgs args;
};

/// A table with every combination of the first five flags (of 32 slots), and kMix on every third of those to which it
/// belongs; rows in another order than slots, and one empty slot.
inline void fill_table(RenoiseUpdateCase& c, int64_t rows) {
  const auto slots = static_cast<int64_t>(c.table.size());
  for (int64_t s = 0; s < slots; ++s) {
    RenoiseSlot& slot = c.table[static_cast<size_t>(s)];
    slot.row = s == 2 ? -1 : static_cast<int32_t>(rows - 1 - s);
    slot.flags = static_cast<uint32_t>(s * 7 + 5) % 32;
    slot.a = 0.868001855f + 0.01f * static_cast<float>(s);
    slot.b = 0.462021564f;
    slot.noise_scale = 0.1f;
    // Not exact in f32. From slot 8 they nearly cancel, as they do near t = 0.
    slot.target_x = s < 8 ? 1.3168 : 34.30;
    slot.target_x0 = s < 8 ? -0.8556 : -34.2854;
    const uint32_t needed = RenoiseSlot::kActive | RenoiseSlot::kTarget;
    if ((slot.flags & needed) == needed && s % 3 != 0) slot.flags |= RenoiseSlot::kMix;
    slot.target_e = 0.7016;
    slot.target_noise = -0.7125;
  }
}

/// Sum of the absolute values of the terms of x' at one element: the scale of its rounding errors.
inline double magnitude_of(const RenoiseUpdateCase& c, const RenoiseSlot& slot, int64_t by_slot, int64_t by_row) {
  const double x = std::abs(c.latents.at(by_row));
  if ((slot.flags & RenoiseSlot::kActive) == 0) return x;
  const double e = slot.flags & RenoiseSlot::kAverage
                       ? (std::abs(c.prediction.at(by_slot)) + std::abs(c.kept_before.at(by_slot))) / 2
                       : std::abs(c.prediction.at(by_slot));
  const double noise = slot.flags & RenoiseSlot::kNoise ? std::abs(slot.noise_scale * c.noise.at(by_slot)) : 0.0;
  return std::abs(slot.a) * x + std::abs(slot.b) * e + noise;
}

inline void expect_element(double value, double wanted, double magnitude, DType stored = DType::kF32) {
  const Tolerance tolerance{.relative = stored == DType::kBF16 ? unit_roundoff(stored) : 0.0,
                            .absolute = kRenoiseTolerance * magnitude};
  ASSERT_TRUE(tolerance.accepts(value, wanted)) << value << ", wanted " << wanted << " of magnitude " << magnitude;
  const double sensitivity = stored == DType::kBF16 ? 2e-2 : 1e-6;
  ASSERT_FALSE(tolerance.accepts(value + sensitivity * magnitude, wanted)) << "the comparison is too loose";
}

/// `magnitude` is that of x', `mixed` that of the prediction and the noise in the target.
inline void expect_target(double value, double wanted, double magnitude, double mixed, const RenoiseSlot& slot) {
  if ((slot.flags & RenoiseSlot::kActive) == 0) {
    ASSERT_EQ(value, wanted) << "of latents as they are, a target is rounded once";
    return;
  }
  const double of_x = std::abs(slot.target_x) * magnitude;
  const Tolerance tolerance{.relative = kTargetTolerance, .absolute = kRenoiseTolerance * of_x + 0x1p-24 * mixed};
  ASSERT_TRUE(tolerance.accepts(value, wanted)) << value << ", wanted " << wanted << " of magnitude " << of_x;
  ASSERT_FALSE(tolerance.accepts(value + 1e-6 * (of_x + mixed + std::abs(wanted)), wanted))
      << "the comparison is too loose";
}

/// Compares all outputs of `c` with those of the reference in `judge`, whose UNet input is f32.
inline void expect_agreement(const RenoiseUpdateCase& c, const RenoiseUpdateCase& judge) {
  const int64_t N = c.args.elements;
  for (int64_t s = 0; s < c.args.slots; ++s) {
    const RenoiseSlot& slot = c.table[static_cast<size_t>(s)];
    for (int64_t n = 0; n < N; ++n) {
      const int64_t by_slot = s * N + n;
      if (slot.row < 0) {
        ASSERT_EQ(c.unet_input.at(by_slot), RenoiseUpdateCase::kUntouched);
        continue;
      }
      const int64_t by_row = slot.row * N + n;
      const double magnitude = magnitude_of(judge, slot, by_slot, by_row);
      const bool guess = (slot.flags & RenoiseSlot::kGuess) != 0;
      if (guess) {
        ASSERT_EQ(c.updated.at(by_row), RenoiseUpdateCase::kUntouched);
      } else {
        expect_element(c.updated.at(by_row), judge.updated.at(by_row), magnitude);
      }
      ASSERT_EQ(c.kept.at(by_slot), (guess ? c.prediction : c.kept_before).at(by_slot));
      expect_element(c.unet_input.at(by_slot), judge.unet_input.at(by_slot), magnitude, c.args.unet_input_dtype);
      if (slot.flags & RenoiseSlot::kTarget) {
        const double e = std::abs(judge.prediction.at(by_slot)) + std::abs(judge.kept_before.at(by_slot));
        const double mixed = slot.flags & RenoiseSlot::kMix ? std::abs(slot.target_e) * e : 0.0;
        expect_target(c.target.at(by_row), judge.target.at(by_row), magnitude, mixed, slot);
      } else {
        ASSERT_EQ(c.target.at(by_row), RenoiseUpdateCase::kUntouched);
      }
    }
  }
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_RENOISE_UPDATE_CASE_H_
