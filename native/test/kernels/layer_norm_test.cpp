#include "kernels/layer_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/layer_norm_case.h"
#include "support/threads.h"

namespace smpo::kernels {
namespace {

using test::LayerNormCase;

const auto run_cpu = [](const LayerNormArgs& args) { cpu::layer_norm(args); };
const auto run_cpu_backward = [](const LayerNormBackwardArgs& args) { cpu::layer_norm_backward(args); };

TEST(LayerNormReference, IsTheDefinition) {
  LayerNormCase c(1, 4, DType::kF32, DType::kF32, false);
  const float row[] = {1, 2, 3, 6};
  for (int64_t i = 0; i < 4; ++i) {
    c.x.set(i, row[i]);
    c.weight.set(i, static_cast<float>(i + 1));
    c.bias.set(i, 0.5f);
  }
  c.forward.eps = 0;
  reference::layer_norm(c.forward);
  EXPECT_EQ(c.mean_R.at(0), 3.0);
  EXPECT_NEAR(c.rstd_R.at(0), 1 / std::sqrt(3.5), 1e-7);
  EXPECT_NEAR(c.y.at(3), 4 * 3 / std::sqrt(3.5) + 0.5, 1e-6);
}

TEST(LayerNormReference, BackwardAgreesWithFiniteDifferences) {
  for (const bool with_residual : {false, true}) {
    LayerNormCase c(2, 6, DType::kF32, DType::kF32, with_residual);
    for (int64_t i = 0; i < 6; ++i) {
      c.d_weight.set(i, 0);
      c.d_bias.set(i, 0);
    }
    const auto loss = [&] {
      reference::layer_norm(c.forward);
      return test::dot(c.y, c.d_y) + (with_residual ? test::dot(c.sum, c.d_sum) : 0.0);
    };
    loss();
    reference::layer_norm_backward(c.backward);
    const auto check = [&](const test::Tensor& gradient, test::Tensor& variable) {
      EXPECT_TRUE(test::agrees_with_slopes(gradient, test::finite_differences(variable, loss)));
    };
    check(c.d_s, c.x);
    if (with_residual) check(c.d_s, c.residual);
    check(c.d_weight, c.weight);
    check(c.d_bias, c.bias);
  }
}

TEST(LayerNormCpu, AgreesWithTheReference) {
  for (const DType dtype : test::kDTypes) {
    for (const DType parameter_dtype : test::kDTypes) {
      for (const int64_t channels : {5, 7, 17, 64, 77, 320, 1283}) {
        for (const int64_t rows : {1, 3, 32, 67}) {
          for (const bool with_residual : {false, true}) {
            SCOPED_TRACE(testing::Message()
                         << rows << " rows of " << channels << ", " << test::name_of(dtype) << ", parameters "
                         << test::name_of(parameter_dtype) << (with_residual ? ", residual" : ""));
            LayerNormCase got(rows, channels, dtype, parameter_dtype, with_residual);
            LayerNormCase wanted(rows, channels, dtype, parameter_dtype, with_residual);
            wanted.run(reference::layer_norm, reference::layer_norm_backward);
            got.run(run_cpu, run_cpu_backward);
            test::expect_layer_norm_agreement(got, wanted);
          }
        }
      }
    }
  }
}

TEST(LayerNormCpu, SameBitsForEveryInstructionSetThreadCountAndInPlace) {
  for (const DType dtype : test::kDTypes) {
    LayerNormCase wanted(70, 333, dtype, dtype, true);
    wanted.run(run_cpu, run_cpu_backward);
    for (const cpu::InstructionSet set : test::runnable_instruction_sets()) {
      for (const int threads : {1, 2, 5}) {
        const test::ThreadScope scope(threads);
        LayerNormCase c(70, 333, dtype, dtype, true);
        c.forward.sum_RC = c.x.data();
        c.backward.s_RC = c.x.data();
        c.backward.d_s_RC = c.d_y.data();
        test::RedZone<unsigned char> workspace(static_cast<size_t>(layer_norm_backward_workspace_bytes(c.backward)));
        c.backward.workspace = workspace.data();
        cpu::layer_norm(c.forward, set);
        cpu::layer_norm_backward(c.backward, set);
        EXPECT_EQ(c.y.bits(), wanted.y.bits()) << name_of(set);
        EXPECT_EQ(c.d_y.bits(), wanted.d_s.bits()) << name_of(set);
        EXPECT_EQ(c.d_weight.bits(), wanted.d_weight.bits()) << name_of(set);
        EXPECT_EQ(c.d_bias.bits(), wanted.d_bias.bits()) << name_of(set);
      }
    }
  }
}

TEST(LayerNormCpu, OneChannelIsItsBias) {
  LayerNormCase c(3, 1, DType::kF32, DType::kF32, false);
  c.run(run_cpu, run_cpu_backward);
  for (int64_t r = 0; r < 3; ++r) {
    EXPECT_EQ(c.y.at(r), c.bias.at(0));
    EXPECT_EQ(c.d_s.at(r), 0.0);
  }
}

TEST(LayerNormCpu, ALargeMeanCostsNoVariance) {
  LayerNormCase got(3, 320, DType::kF32, DType::kF32, false, 1000.0f),
      wanted(3, 320, DType::kF32, DType::kF32, false, 1000.0f);
  reference::layer_norm(wanted.forward);
  cpu::layer_norm(got.forward);
  for (int64_t r = 0; r < 3; ++r) {
    EXPECT_NEAR(got.rstd_R.at(r), wanted.rstd_R.at(r), 1e-5 * wanted.rstd_R.at(r));
  }
}

TEST(LayerNormCpu, ANaNShowsInItsRowAlone) {
  LayerNormCase c(3, 50, DType::kF32, DType::kF32, false);
  c.x.set(50 + 49, std::numeric_limits<float>::quiet_NaN());
  cpu::layer_norm(c.forward);
  for (int64_t i = 0; i < 50; ++i) {
    EXPECT_TRUE(std::isnan(c.y.at(50 + i)));
    EXPECT_TRUE(std::isfinite(c.y.at(i)) && std::isfinite(c.y.at(100 + i)));
  }
}

TEST(LayerNormCpu, UnrequestedOutputsAreNotWritten) {
  LayerNormCase c(5, 33, DType::kF32, DType::kF32, false);
  cpu::layer_norm(c.forward);
  const auto d_s = c.d_s.bits(), d_weight = c.d_weight.bits(), d_bias = c.d_bias.bits();
  c.backward.d_s_RC = nullptr;
  c.backward.d_weight_C = nullptr;
  c.backward.d_bias_C = nullptr;
  test::RedZone<unsigned char> workspace(static_cast<size_t>(layer_norm_backward_workspace_bytes(c.backward)));
  c.backward.workspace = workspace.data();
  cpu::layer_norm_backward(c.backward);
  EXPECT_EQ(c.d_s.bits(), d_s);
  EXPECT_EQ(c.d_weight.bits(), d_weight);
  EXPECT_EQ(c.d_bias.bits(), d_bias);
}

}  // namespace
}  // namespace smpo::kernels
