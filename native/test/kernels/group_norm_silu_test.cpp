#include "kernels/group_norm_silu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/group_norm_silu_case.h"
#include "support/threads.h"

namespace smpo::kernels {
namespace {

using test::GroupNormSiluCase;
using test::GroupNormSize;

const auto run_cpu = [](const GroupNormSiluArgs& args) { cpu::group_norm_silu(args); };
const auto run_cpu_backward = [](const GroupNormSiluBackwardArgs& args) { cpu::group_norm_silu_backward(args); };

TEST(GroupNormSiluReference, IsTheDefinition) {
  // Two groups of one channel each: three pixels per group.
  GroupNormSiluCase c({1, 3, 2, 2}, false, DType::kF32, DType::kF32);
  const float x[] = {1, 10, 2, 20, 6, 60};
  for (int64_t i = 0; i < 6; ++i) c.x.set(i, x[i]);
  c.weight.set(0, 2);
  c.bias.set(0, -1);
  c.forward.eps = 0;
  reference::group_norm_silu(c.forward);
  EXPECT_EQ(c.mean_BG.at(0), 3.0);
  EXPECT_EQ(c.mean_BG.at(1), 30.0);
  const double deviation = std::sqrt(14.0 / 3.0);
  EXPECT_NEAR(c.rstd_BG.at(1), 1 / (10 * deviation), 1e-8);
  const double z = 2 * 3 / deviation - 1;
  EXPECT_NEAR(c.y.at(4), z, 1e-6);
  c.forward.silu = true;
  reference::group_norm_silu(c.forward);
  EXPECT_NEAR(c.y.at(4), z / (1 + std::exp(-z)), 1e-6);
}

TEST(GroupNormSiluReference, BackwardAgreesWithFiniteDifferences) {
  for (const bool silu : {false, true}) {
    GroupNormSiluCase c({2, 5, 6, 3}, silu, DType::kF32, DType::kF32);
    for (int64_t i = 0; i < 6; ++i) {
      c.d_weight.set(i, 0);
      c.d_bias.set(i, 0);
    }
    const auto loss = [&] {
      reference::group_norm_silu(c.forward);
      return test::dot(c.y, c.d_y);
    };
    loss();
    reference::group_norm_silu_backward(c.backward);
    const auto check = [&](const test::Tensor& gradient, test::Tensor& variable) {
      EXPECT_TRUE(test::agrees_with_slopes(gradient, test::finite_differences(variable, loss)));
    };
    check(c.d_x, c.x);
    check(c.d_weight, c.weight);
    check(c.d_bias, c.bias);
  }
}

TEST(GroupNormSiluCpu, AgreesWithTheReference) {
  for (const DType dtype : test::kDTypes) {
    for (const DType parameter_dtype : test::kDTypes) {
      for (const GroupNormSize& size : test::kGroupNormSizes) {
        for (const bool silu : {false, true}) {
          SCOPED_TRACE(testing::Message() << size.batch << "x" << size.pixels << "x" << size.channels << " in "
                                          << size.groups << ", " << test::name_of(dtype) << ", parameters "
                                          << test::name_of(parameter_dtype) << (silu ? ", silu" : ""));
          GroupNormSiluCase got(size, silu, dtype, parameter_dtype), wanted(size, silu, dtype, parameter_dtype);
          wanted.run(reference::group_norm_silu, reference::group_norm_silu_backward);
          got.run(run_cpu, run_cpu_backward);
          test::expect_group_norm_agreement(got, wanted);
        }
      }
    }
  }
}

TEST(GroupNormSiluCpu, SameBitsForEveryInstructionSetThreadCountAndInPlace) {
  const GroupNormSize size{2, 133, 90, 9};
  for (const DType dtype : test::kDTypes) {
    GroupNormSiluCase wanted(size, true, dtype, dtype);
    wanted.run(run_cpu, run_cpu_backward);
    for (const cpu::InstructionSet set : test::runnable_instruction_sets()) {
      for (const int threads : {1, 2, 5}) {
        const test::ThreadScope scope(threads);
        GroupNormSiluCase c(size, true, dtype, dtype);
        c.backward.d_x_BPC = c.d_y.data();
        test::RedZone<double> workspace(
            GroupNormSiluCase::bytes_to_doubles(group_norm_silu_backward_workspace_bytes(c.backward)));
        test::RedZone<double> workspace_forward(
            GroupNormSiluCase::bytes_to_doubles(group_norm_silu_workspace_bytes(c.forward)));
        c.forward.workspace = workspace_forward.data();
        c.backward.workspace = workspace.data();
        cpu::group_norm_silu(c.forward, set);
        cpu::group_norm_silu_backward(c.backward, set);
        EXPECT_EQ(c.y.bits(), wanted.y.bits()) << name_of(set);
        EXPECT_EQ(c.d_y.bits(), wanted.d_x.bits()) << name_of(set);
        EXPECT_EQ(c.d_weight.bits(), wanted.d_weight.bits()) << name_of(set);
        EXPECT_EQ(c.d_bias.bits(), wanted.d_bias.bits()) << name_of(set);
        // Forward in place: nothing else reads the x that it overwrites.
        c.forward.y_BPC = c.x.data();
        cpu::group_norm_silu(c.forward, set);
        EXPECT_EQ(c.x.bits(), wanted.y.bits()) << name_of(set);
      }
    }
  }
}

TEST(GroupNormSiluCpu, ALargeMeanCostsNoVariance) {
  const GroupNormSize size{1, 1000, 40, 4};
  GroupNormSiluCase got(size, true, DType::kF32, DType::kF32, 1000.0f);
  GroupNormSiluCase wanted(size, true, DType::kF32, DType::kF32, 1000.0f);
  wanted.run(reference::group_norm_silu, reference::group_norm_silu_backward);
  got.run(run_cpu, run_cpu_backward);
  for (int64_t g = 0; g < 4; ++g) {
    EXPECT_NEAR(got.rstd_BG.at(g), wanted.rstd_BG.at(g), 1e-6 * wanted.rstd_BG.at(g));
  }
}

TEST(GroupNormSiluCpu, ANaNShowsInItsGroupAlone) {
  GroupNormSiluCase c({2, 40, 12, 3}, true, DType::kF32, DType::kF32);
  c.x.set(39 * 12 + 5, std::numeric_limits<float>::quiet_NaN());  // sample 0, group 1
  c.run(run_cpu, run_cpu_backward);
  for (int64_t i = 0; i < c.count; ++i) {
    const bool poisoned = i < 40 * 12 && i % 12 / 4 == 1;
    EXPECT_EQ(std::isnan(c.y.at(i)), poisoned) << i;
    EXPECT_EQ(std::isnan(c.d_x.at(i)), poisoned) << i;
  }
}

TEST(GroupNormSiluCpu, UnrequestedOutputsAreNotWritten) {
  GroupNormSiluCase c({2, 9, 12, 3}, true, DType::kF32, DType::kF32);
  const auto d_x = c.d_x.bits(), d_weight = c.d_weight.bits(), d_bias = c.d_bias.bits();
  c.backward.d_x_BPC = nullptr;
  c.backward.d_weight_C = nullptr;
  c.backward.d_bias_C = nullptr;
  c.run(run_cpu, run_cpu_backward);
  EXPECT_EQ(c.d_x.bits(), d_x);
  EXPECT_EQ(c.d_weight.bits(), d_weight);
  EXPECT_EQ(c.d_bias.bits(), d_bias);
}

}  // namespace
}  // namespace smpo::kernels
