#include "kernels/preference_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "cuda_on_cpu/every_schedule.h"
#include "kernels/cuda/staging.h"
#include "kernels/preference_loss_case.h"
#include "kernels/tensor.h"

// Shapes: P pairs, R = 2P rows (winners first), N elements.
namespace smpo::kernels {
namespace {

using test::PreferenceLossCase;
using test::PreferenceLossTypes;

void run_on_device(const PreferenceLossArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  PreferenceLossArgs args = host;
  const int64_t P = host.pairs;
  const int64_t R = host.images * P;
  const int64_t count = R * host.elements;
  if (host.d_prediction_RN == host.prediction_RN) {
    args.d_prediction_RN = staging.out(host.d_prediction_RN, count, size_of(host.prediction_dtype));
    args.prediction_RN = args.d_prediction_RN;
  } else {
    args.prediction_RN = staging.in(host.prediction_RN, count, size_of(host.prediction_dtype));
    args.d_prediction_RN = staging.out(host.d_prediction_RN, count, size_of(host.prediction_dtype));
  }
  args.reference_RN = staging.in(host.reference_RN, count, size_of(host.reference_dtype));
  args.reference_error_R = staging.in(host.reference_error_R, R);
  args.target_RN = staging.in(host.target_RN, count, size_of(host.target_dtype));
  args.label_P = staging.in(host.label_P, P);
  args.logit_scale_P = staging.in(host.logit_scale_P, P);
  args.weight_P = staging.in(host.weight_P, P);
  args.mean_gain = staging.in(host.mean_gain, 1);
  args.desirable_R = staging.in(host.desirable_R, R);
  args.error_scale_R = staging.in(host.error_scale_R, R);
  args.error_4P = staging.out(host.error_4P, 4 * P);
  args.logit_P = staging.out(host.logit_P, P);
  args.loss_P = staging.out(host.loss_P, P);
  args.safeguard_P = staging.out(host.safeguard_P, P);
  args.d_error_R = staging.out(host.d_error_R, R);
  args.loss_sum = staging.out(host.loss_sum, 1);
  args.workspace = staging.out(host.workspace, preference_loss_workspace_bytes(host) / 8, 8);
  cuda::preference_loss(args, nullptr);
  staging.download();
}

/// Compares each stage with the reference, and the errors with those of the CPU, bit for bit.
void expect_agreement(int64_t pairs, int64_t elements, const PairLoss& loss, PreferenceLossTypes types = {},
                      size_t misalign = 0, const std::function<void(PreferenceLossCase&)>& change = {}) {
  SCOPED_TRACE(testing::Message() << test::name_of(loss.kind) << ", " << pairs << " pairs of " << elements << ", "
                                  << test::name_of(types.prediction) << " " << test::name_of(types.reference) << " "
                                  << test::name_of(types.target));
  PreferenceLossCase c(pairs, elements, loss, types);
  PreferenceLossCase judge(pairs, elements, loss, types);
  PreferenceLossCase on_cpu(pairs, elements, loss, types);
  if (change) {
    for (PreferenceLossCase* each : {&c, &judge, &on_cpu}) change(*each);
  }
  judge.run([](const PreferenceLossArgs& args) { reference::preference_loss(args); });
  on_cpu.run([](const PreferenceLossArgs& args) { cpu::preference_loss(args); });
  c.run([&](const PreferenceLossArgs& args) { run_on_device(args, misalign); });
  test::expect_agreement(c, judge);
  EXPECT_EQ(c.error.vector(), on_cpu.error.vector()) << "errors have the CPU's bits";
}

TEST(PreferenceLossCuda, AgreesWithTheReferenceOnAwkwardSizes) {
  SMPO_NEEDS_DEVICE();
  for (const int64_t elements : test::kRowSizes) {
    if (elements > 16384) continue;  // longer rows differ only in their number of chunks
    for (const int64_t pairs : {1, 2, 3, 5}) {
      if (elements > 1000 && pairs > 2) continue;
      expect_agreement(pairs, elements, test::sample_loss(SMPO_PAIR_LOSS_DPO), {}, static_cast<size_t>(pairs % 2));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(PreferenceLossCuda, AgreesWithTheReferenceForEveryKindAndType) {
  SMPO_NEEDS_DEVICE();
  for (const int32_t kind : test::kAllKinds) {
    PairLoss loss = test::sample_loss(kind);
    expect_agreement(3, 65, loss);
    loss.safeguard = 0;
    loss.budget_weight = 0;
    expect_agreement(3, 130, loss, {}, 0, [](PreferenceLossCase& c) { c.args.desirable_R = c.desirable.data(); });
    if (testing::Test::HasFatalFailure()) return;
  }
  for (const DType prediction : test::kDTypes) {
    for (const DType reference : test::kDTypes) {
      for (const DType target : test::kDTypes) {
        expect_agreement(2, 4099, test::sample_loss(SMPO_PAIR_LOSS_SMPO), {prediction, reference, target}, 1);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(PreferenceLossCuda, SingleImagesAgreeWithTheReferenceAndHaveTheCpusErrors) {
  SMPO_NEEDS_DEVICE();
  for (const int32_t kind : test::kSingleKinds) {
    for (const int64_t elements : {1, 130, 4099}) {
      for (const DType dtype : test::kDTypes) {
        SCOPED_TRACE(testing::Message() << test::name_of(kind) << ", " << elements);
        const PairLoss loss = test::loss_of(kind, kind == SMPO_PAIR_LOSS_KTO ? 100.0 : 0.0);
        const PreferenceLossTypes types{dtype, dtype, DType::kF32};
        PreferenceLossCase c(3, elements, loss, types), judge(3, elements, loss, types),
            on_cpu(3, elements, loss, types);
        for (PreferenceLossCase* each : {&c, &judge, &on_cpu}) {
          test::make_single(*each);
          if (kind != SMPO_PAIR_LOSS_KTO) each->args.reference_RN = nullptr;
        }
        judge.run([](const PreferenceLossArgs& args) { reference::preference_loss(args); });
        on_cpu.run([](const PreferenceLossArgs& args) { cpu::preference_loss(args); });
        c.run([](const PreferenceLossArgs& args) { run_on_device(args, 1); });
        test::expect_single_agreement(c, judge);
        for (size_t i = 0; i < 3; ++i) EXPECT_EQ(c.error[i], on_cpu.error[i]) << "errors have the CPU's bits";
        EXPECT_EQ(c.d_prediction.bits(), on_cpu.d_prediction.bits());
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(PreferenceLossCuda, OptionalInputsMayBeMissing) {
  SMPO_NEEDS_DEVICE();
  const PairLoss loss = test::sample_loss(SMPO_PAIR_LOSS_DPO);
  expect_agreement(3, 500, loss, {}, 0, [](PreferenceLossCase& c) {
    c.args.logit_scale_P = nullptr;
    c.args.weight_P = nullptr;
    c.args.label_P = nullptr;
  });
  expect_agreement(3, 500, loss, {}, 0, [](PreferenceLossCase& c) {
    c.args.reference_RN = nullptr;
    c.args.reference_error_R = c.reference_error.data();
  });
  expect_agreement(3, 500, loss, {}, 0, [](PreferenceLossCase& c) { c.args.d_prediction_RN = nullptr; });
  expect_agreement(2, 500, test::sample_loss(SMPO_PAIR_LOSS_MAPO), {}, 0,
                   [](PreferenceLossCase& c) { c.args.reference_RN = nullptr; });
}

TEST(PreferenceLossCuda, MorePairsThanThreads) {
  SMPO_NEEDS_DEVICE();
  const PairLoss kto = test::sample_loss(SMPO_PAIR_LOSS_KTO);
  expect_agreement(300, 3, kto);
  const double mean_gain = 0.003;
  expect_agreement(300, 3, kto, {}, 0, [&](PreferenceLossCase& c) { c.args.mean_gain = &mean_gain; });
}

TEST(PreferenceLossCuda, NoOrderOfThreadsMattersNorDoesWritingInPlace) {
  SMPO_NEEDS_DEVICE();
  const PairLoss loss = test::sample_loss(SMPO_PAIR_LOSS_KTO);
  PreferenceLossCase wanted(2, 4200, loss, {.prediction = DType::kBF16});
  wanted.run([](const PreferenceLossArgs& args) { run_on_device(args, 0); });
  test::for_every_schedule([&] {
    PreferenceLossCase c(2, 4200, loss, {.prediction = DType::kBF16});
    c.run([](const PreferenceLossArgs& args) { run_on_device(args, 0); });
    EXPECT_EQ(c.bits(), wanted.bits());
    PreferenceLossCase in_place(2, 4200, loss, {.prediction = DType::kBF16});
    in_place.args.d_prediction_RN = in_place.prediction.data();
    in_place.run([](const PreferenceLossArgs& args) { run_on_device(args, 1); });
    EXPECT_EQ(in_place.prediction.bits(), wanted.d_prediction.bits());
  });
}

TEST(PreferenceLossCuda, NonFiniteElementsShow) {
  SMPO_NEEDS_DEVICE();
  for (const int32_t kind : test::kAllKinds) {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      PreferenceLossCase c(2, 150, test::sample_loss(kind));
      c.prediction.set(3 * 150 + 149, bad);
      c.run([](const PreferenceLossArgs& args) { run_on_device(args, 0); });
      EXPECT_TRUE(std::isnan(c.loss_of_pair[1]) && std::isnan(c.loss_sum[0])) << test::name_of(kind);
      EXPECT_TRUE(std::isnan(c.d_prediction.at(150)) && std::isnan(c.d_prediction.at(450))) << test::name_of(kind);
    }
  }
}

TEST(PreferenceLossCuda, NoPairsIsALossOfZero) {
  SMPO_NEEDS_DEVICE();
  PreferenceLossArgs args;
  args.elements = 16;
  double sum = -1;
  test::Staging staging;
  args.loss_sum = staging.out(&sum, 1);
  cuda::preference_loss(args, nullptr);
  staging.download();
  EXPECT_EQ(sum, 0);
}

}  // namespace
}  // namespace smpo::kernels
