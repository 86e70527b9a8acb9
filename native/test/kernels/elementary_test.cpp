#include "kernels/elementary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace smpo::kernels {
namespace {

constexpr double kU = 0x1p-24;

double probability(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double density(double x) { return std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi / std::numbers::sqrt2; }

TEST(Elementary, ExponentialIsWithinThreeRoundings) {
  double worst = 0;
  for (double x = -87.3; x <= 88.0; x += 1.0 / 1024 + 1e-6) {
    const auto rounded_x = static_cast<float>(x);
    const double wanted = std::exp(static_cast<double>(rounded_x));
    worst = std::max(worst, std::abs(exponential(rounded_x) - wanted) / wanted);
  }
  EXPECT_LT(worst, 3 * kU);
  EXPECT_GT(worst, 0.4 * kU) << "no float function is exact: the comparison does not look";
  EXPECT_EQ(exponential(0.0f), 1.0f);
  EXPECT_EQ(exponential(-1000.0f), exponential(-87.3f));
  EXPECT_EQ(exponential(std::numeric_limits<float>::infinity()), exponential(88.0f));
  EXPECT_TRUE(std::isnan(exponential(std::numeric_limits<float>::quiet_NaN())));
}

TEST(Elementary, SiluAndItsSlope) {
  for (double x = -60; x <= 60; x += 1.0 / 512 + 1e-6) {
    const auto z = static_cast<float>(x);
    const double s = 1 / (1 + std::exp(-static_cast<double>(z)));
    const ValueAndSlope got = silu_and_slope(z);
    const double size = std::max(1.0, std::abs(x));
    ASSERT_NEAR(got.value, z * s, 6 * kU * std::abs(z * s)) << z;
    ASSERT_NEAR(got.slope, s + z * s * (1 - s), 8 * kU * size) << z;
  }
  EXPECT_TRUE(std::isnan(silu_and_slope(std::numeric_limits<float>::quiet_NaN()).value));
  EXPECT_LT(std::abs(silu_and_slope(-1e4f).value), 1e-30f);
  EXPECT_EQ(silu_and_slope(1e4f).value, 1e4f);
}

TEST(Elementary, GeluAndItsSlope) {
  for (double x = -20; x <= 20; x += 1.0 / 2048 + 1e-6) {
    const auto z = static_cast<float>(x);
    const ValueAndSlope got = gelu_and_slope(z);
    const double size = std::max(1.0, std::abs(x));
    ASSERT_NEAR(got.value, z * probability(z), 8 * kU * std::abs(x)) << z;
    ASSERT_NEAR(got.slope, probability(z) + z * density(z), 8 * kU * size) << z;
  }
  EXPECT_TRUE(std::isnan(gelu_and_slope(std::numeric_limits<float>::quiet_NaN()).slope));
  EXPECT_EQ(gelu_and_slope(100.0f).value, 100.0f);
  EXPECT_EQ(gelu_and_slope(0.0f).value, 0.0f);
}

}  // namespace
}  // namespace smpo::kernels
