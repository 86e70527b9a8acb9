#include "support/tolerance.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace smpo::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Tolerance, AcceptsOneRoundingAndRejectsTwo) {
  const Tolerance one = Tolerance::elementwise(1);
  EXPECT_TRUE(one.accepts(1 + 0x1p-24, 1));
  EXPECT_FALSE(one.accepts(1 + 0x1p-23, 1));
  const Tolerance stored = Tolerance::elementwise(0, 0, kernels::DType::kBF16);
  EXPECT_TRUE(stored.accepts(1 + 0x1p-8, 1));
  EXPECT_FALSE(stored.accepts(1 + 0x1p-7, 1));
}

TEST(Tolerance, SumGrowsWithDepthAndMagnitude) {
  EXPECT_NEAR(Tolerance::sum(100, 1, 8).absolute, 101 * 0x1p-24 * 8, 1e-8);
  EXPECT_EQ(Tolerance::sum(100, 1, 8).relative, 0);
}

TEST(Tolerance, NonFiniteValuesMustMatchInKindAndSign) {
  const Tolerance loose{.relative = 1e9, .absolute = 1e9};
  EXPECT_TRUE(loose.accepts(kNan, kNan));
  EXPECT_FALSE(loose.accepts(kNan, 0));
  EXPECT_FALSE(loose.accepts(0, kNan));
  EXPECT_TRUE(loose.accepts(kInf, kInf));
  EXPECT_FALSE(loose.accepts(kInf, -kInf));
  EXPECT_FALSE(loose.accepts(1, kInf));
  EXPECT_FALSE(loose.accepts(kInf, 1));
}

TEST(Tolerance, MatchesRejectsAMutatedOutput) {
  const std::vector<float> values = {1, -2, 3, 4};
  const std::vector<double> wanted = {1, -2, 3, 4};
  const Tolerance tolerance = Tolerance::elementwise(4);
  EXPECT_TRUE(matches(values, wanted, tolerance));
  for (size_t i = 0; i < values.size(); ++i) {
    std::vector<float> mutated = values;
    mutated[i] *= 1.00001f;
    EXPECT_FALSE(matches(mutated, wanted, tolerance));
  }
  EXPECT_FALSE(matches(std::vector<float>{1, -2, 3}, wanted, tolerance));
}

TEST(Tolerance, MatchesRejectsAToleranceThatCouldNotFail) {
  const std::vector<float> values = {1, -2, 3, 4};
  const std::vector<double> wanted = {1, -2, 3, 4};
  EXPECT_FALSE(matches(values, wanted, Tolerance{.relative = 0.01, .absolute = 0}));
  EXPECT_FALSE(matches(values, wanted, Tolerance{.relative = 0, .absolute = 1}));
}

TEST(Tolerance, FailureNamesTheWorstElement) {
  const std::vector<float> values = {1, 2.5f, 30};
  const std::vector<double> wanted = {1, 2, 3};
  const testing::AssertionResult result = matches(values, wanted, Tolerance::elementwise(1));
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("2 of 3 values are wrong; worst at [2]: 30, wanted 3"),
            std::string::npos)
      << result.message();
}

TEST(Tolerance, SameBitsTellsZerosApart) {
  EXPECT_TRUE(same_bits(std::vector<float>{0.f, NAN}, std::vector<float>{0.f, NAN}));
  EXPECT_FALSE(same_bits(std::vector<float>{0.f}, std::vector<float>{-0.f}));
}

}  // namespace
}  // namespace smpo::test
