#include "kernels/renoise_update.h"

#include <gtest/gtest.h>

#include <vector>

#include "cuda_on_cpu/every_schedule.h"
#include "kernels/cuda/staging.h"
#include "kernels/renoise_update_case.h"
#include "kernels/tensor.h"

namespace smpo::kernels {
namespace {

using test::RenoiseUpdateCase;

void run_on_device(const RenoiseUpdateArgs& host, int64_t rows, size_t misalign) {
  test::Staging staging(misalign);
  RenoiseUpdateArgs args = host;
  const int64_t by_slot = host.slots * host.elements;
  const int64_t by_row = rows * host.elements;
  args.slot_S = staging.in(host.slot_S, host.slots);
  if (host.updated_RN == host.latents_RN) {
    args.updated_RN = staging.out(host.updated_RN, by_row);
    args.latents_RN = args.updated_RN;
  } else {
    args.latents_RN = staging.in(host.latents_RN, by_row);
    args.updated_RN = staging.out(host.updated_RN, by_row);
  }
  args.prediction_SN = staging.in(host.prediction_SN, by_slot, size_of(host.prediction_dtype));
  args.kept_prediction_SN = staging.out(host.kept_prediction_SN, by_slot, size_of(host.prediction_dtype));
  args.noise_SN = staging.in(host.noise_SN, by_slot);
  args.clean_latents_RN = staging.in(host.clean_latents_RN, by_row);
  args.unet_input_SN = staging.out(host.unet_input_SN, by_slot, size_of(host.unet_input_dtype));
  args.target_RN = staging.out(host.target_RN, by_row);
  cuda::renoise_update(args, nullptr);
  staging.download();
}

std::vector<std::vector<unsigned char>> bits_of(const RenoiseUpdateCase& c) {
  return {c.updated.bits(), c.unet_input.bits(), c.target.bits(), c.kept.bits()};
}

TEST(RenoiseUpdateCuda, SameBitsAsTheCpuAndCloseToTheReference) {
  SMPO_NEEDS_DEVICE();
  for (const DType prediction : test::kDTypes) {
    for (const DType input : test::kDTypes) {
      for (const int64_t elements : test::kRowSizes) {
        if (elements > 4097) continue;
        SCOPED_TRACE(testing::Message() << elements << " elements, " << test::name_of(prediction) << " predictions, "
                                        << test::name_of(input) << " input");
        const int64_t slots = elements > 1000 ? 3 : 32;
        RenoiseUpdateCase judge(slots, slots + 2, elements, prediction, DType::kF32);
        test::fill_table(judge, slots + 2);
        judge.run([](const RenoiseUpdateArgs& args) { reference::renoise_update(args); });
        RenoiseUpdateCase on_cpu(slots, slots + 2, elements, prediction, input);
        test::fill_table(on_cpu, slots + 2);
        on_cpu.run([](const RenoiseUpdateArgs& args) { cpu::renoise_update(args); });
        for (const size_t misalign : {size_t{0}, size_t{1}}) {
          RenoiseUpdateCase c(slots, slots + 2, elements, prediction, input);
          test::fill_table(c, slots + 2);
          c.run([&](const RenoiseUpdateArgs& args) { run_on_device(args, slots + 2, misalign); });
          test::expect_agreement(c, judge);
          EXPECT_EQ(bits_of(c), bits_of(on_cpu));
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(RenoiseUpdateCuda, InPlaceAndWithoutOptionalOutputsInEveryOrder) {
  SMPO_NEEDS_DEVICE();
  const int64_t N = 1025;
  RenoiseUpdateCase wanted(6, 6, N, DType::kBF16, DType::kBF16);
  test::fill_table(wanted, 6);
  wanted.args.updated_RN = wanted.latents.floats();
  wanted.run([](const RenoiseUpdateArgs& args) { cpu::renoise_update(args); });
  test::for_every_schedule([&] {
    RenoiseUpdateCase c(6, 6, N, DType::kBF16, DType::kBF16);
    test::fill_table(c, 6);
    c.args.updated_RN = c.latents.floats();
    c.run([](const RenoiseUpdateArgs& args) { run_on_device(args, 6, 1); });
    EXPECT_EQ(c.latents.bits(), wanted.latents.bits());
    EXPECT_EQ(c.unet_input.bits(), wanted.unet_input.bits());
    EXPECT_EQ(c.target.bits(), wanted.target.bits());
  });

  RenoiseUpdateCase guess(2, 2, N, DType::kF32, DType::kF32);
  for (int32_t s = 0; s < 2; ++s) {
    guess.table[static_cast<size_t>(s)] = {
        .row = s, .flags = RenoiseSlot::kActive | RenoiseSlot::kGuess, .a = 0.5f, .b = 2.0f};
  }
  guess.args.updated_RN = nullptr;
  guess.args.noise_SN = nullptr;
  guess.args.clean_latents_RN = nullptr;
  guess.args.target_RN = nullptr;
  guess.run([](const RenoiseUpdateArgs& args) { run_on_device(args, 2, 0); });
  for (int64_t i = 0; i < 2 * N; ++i) {
    ASSERT_EQ(guess.unet_input.at(i), 0.5f * guess.latents.floats()[i] + 2.0f * guess.prediction.floats()[i]);
  }
}

}  // namespace
}  // namespace smpo::kernels
