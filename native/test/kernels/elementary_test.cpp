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
  for (double x = 0; x <= 87; x += 1.0 / 1024 + 1e-6) {
    const auto t = static_cast<float>(x);
    const double wanted = std::exp(-static_cast<double>(t));
    worst = std::max(worst, std::abs(exponential_of_minus(t) - wanted) / wanted);
  }
  EXPECT_LT(worst, 3 * kU);
  EXPECT_GT(worst, 0.4 * kU) << "no float function is exact: the comparison does not look";
  EXPECT_EQ(exponential_of_minus(0.0f), 1.0f);
}

TEST(Elementary, MagnitudeBelow) {
  EXPECT_EQ(magnitude_below(-3.5f, 13.0f), 3.5f);
  EXPECT_EQ(magnitude_below(-0.0f, 13.0f), 0.0f);
  EXPECT_EQ(magnitude_below(14.0f, 13.0f), 13.0f);
  EXPECT_EQ(magnitude_below(-std::numeric_limits<float>::infinity(), 13.0f), 13.0f);
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
  EXPECT_TRUE(std::isnan(silu_and_slope(std::numeric_limits<float>::quiet_NaN()).slope));
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
