#include "kernels/epilogue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/epilogue_case.h"
#include "support/threads.h"

namespace smpo::kernels {
namespace {

using test::EpilogueCase;

const auto run_cpu = [](const EpilogueArgs& args) { cpu::epilogue(args); };
const auto run_cpu_backward = [](const EpilogueBackwardArgs& args) { cpu::epilogue_backward(args); };

TEST(EpilogueReference, IsTheDefinition) {
  EpilogueCase c(2, 1, 1, DType::kF32, DType::kF32);
  c.x.set(1, 1);
  c.bias.set(0, 20);
  c.sample_bias.set(1, 300);
  c.residual.set(1, 4000);
  reference::epilogue(c.forward);
  EXPECT_EQ(c.y.at(1), 4321.0);
}

TEST(EpilogueReference, BackwardAgreesWithFiniteDifferences) {
  EpilogueCase c(2, 3, 2, DType::kF32, DType::kF32);
  for (int64_t i = 0; i < 2; ++i) c.d_bias.set(i, 0);
  reference::epilogue_backward(c.backward);
  const auto loss = [&] {
    reference::epilogue(c.forward);
    return test::dot(c.y, c.d_y);
  };
  EXPECT_TRUE(test::agrees_with_slopes(c.d_bias, test::finite_differences(c.bias, loss)));
  EXPECT_TRUE(test::agrees_with_slopes(c.d_sample_bias, test::finite_differences(c.sample_bias, loss)));
  EXPECT_TRUE(test::agrees_with_slopes(c.d_y, test::finite_differences(c.x, loss)));
  EXPECT_TRUE(test::agrees_with_slopes(c.d_y, test::finite_differences(c.residual, loss)));
}

TEST(EpilogueCpu, AgreesWithTheReference) {
  for (const auto& [dtype, x_dtype] :
       {std::pair{DType::kF32, DType::kF32}, {DType::kBF16, DType::kBF16}, {DType::kBF16, DType::kF32}}) {
    for (const int64_t channels : {1, 7, 16, 1025}) {
      for (const int64_t pixels : {1, 64, 65, 130}) {
        for (const auto parts : test::every_epilogue()) {
          SCOPED_TRACE(testing::Message() << pixels << " pixels of " << channels << ", " << test::name_of(dtype)
                                          << " of " << test::name_of(x_dtype) << ", bias " << parts.bias
                                          << ", sample bias " << parts.sample_bias << ", residual " << parts.residual);
          EpilogueCase got(3, pixels, channels, dtype, x_dtype, parts);
          EpilogueCase wanted(3, pixels, channels, dtype, x_dtype, parts);
          wanted.run(reference::epilogue, reference::epilogue_backward);
          got.run(run_cpu, run_cpu_backward);
          test::expect_epilogue_agreement(got, wanted);
        }
      }
    }
  }
}

TEST(EpilogueCpu, SameBitsForEveryInstructionSetThreadCountAndInPlace) {
  for (const DType dtype : test::kDTypes) {
    EpilogueCase wanted(5, 70, 1031, dtype, dtype);
    wanted.run(run_cpu, run_cpu_backward);
    for (const cpu::InstructionSet set : test::runnable_instruction_sets()) {
      for (const int threads : {1, 3}) {
        const test::ThreadScope scope(threads);
        EpilogueCase c(5, 70, 1031, dtype, dtype);
        c.run([&](const auto& args) { cpu::epilogue(args, set); },
              [&](const auto& args) { cpu::epilogue_backward(args, set); });
        EXPECT_EQ(c.y.bits(), wanted.y.bits()) << name_of(set);
        EXPECT_EQ(c.d_sample_bias.bits(), wanted.d_sample_bias.bits()) << name_of(set);
        EXPECT_EQ(c.d_bias.bits(), wanted.d_bias.bits()) << name_of(set);
        for (test::Tensor* place : {&c.x, &c.residual}) {
          EpilogueCase again(5, 70, 1031, dtype, dtype);
          test::Tensor& same = place == &c.x ? again.x : again.residual;
          again.forward.y_BPC = same.data();
          cpu::epilogue(again.forward, set);
          EXPECT_EQ(same.bits(), wanted.y.bits()) << name_of(set);
        }
      }
    }
  }
}

TEST(EpilogueCpu, ANaNShowsInItsPlaceAndItsSums) {
  EpilogueCase c(2, 3, 4, DType::kF32, DType::kF32);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  c.residual.set(5, nan);
  c.d_y.set(4 * 3 + 2, nan);
  c.run(run_cpu, run_cpu_backward);
  for (int64_t i = 0; i < 24; ++i) EXPECT_EQ(std::isnan(c.y.at(i)), i == 5) << i;
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(std::isnan(c.d_sample_bias.at(i)), i == 4 + 2) << i;
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(c.d_bias.at(i)), i == 2) << i;
}

TEST(EpilogueCpu, UnrequestedOutputsAreNotWritten) {
  EpilogueCase c(2, 3, 4, DType::kF32, DType::kF32);
  const auto d_bias = c.d_bias.bits(), d_sample_bias = c.d_sample_bias.bits();
  c.backward.d_bias_C = nullptr;
  c.backward.d_sample_bias_BC = nullptr;
  c.run(run_cpu, run_cpu_backward);
  EXPECT_EQ(c.d_bias.bits(), d_bias);
  EXPECT_EQ(c.d_sample_bias.bits(), d_sample_bias);
}

TEST(EpilogueCpu, NothingIsNothing) {
  cpu::epilogue({.batch = 0, .pixels = 4, .channels = 8});
  cpu::epilogue_backward({.batch = 0, .pixels = 4, .channels = 8});
}

}  // namespace
}  // namespace smpo::kernels
