#include "kernels/philox_normal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "kernels/normal.h"
#include "support/red_zone.h"
#include "support/samples.h"
#include "support/threads.h"
#include "support/tolerance.h"

namespace smpo::kernels {
namespace {

using cpu::InstructionSet;

std::array<uint32_t, 4> words_of(const PhiloxBlock& block) { return {block.x0, block.x1, block.x2, block.x3}; }

// ---- Philox

TEST(Philox, KnownAnswersOfRandom123) {
  EXPECT_EQ(words_of(philox4x32({0, 0, 0, 0}, {0, 0})),
            (std::array<uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(words_of(philox4x32({0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}, {0xffffffffu, 0xffffffffu})),
            (std::array<uint32_t, 4>{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(words_of(philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u})),
            (std::array<uint32_t, 4>{0xd16cfe09u, 0x94fdcceb, 0x5001e420u, 0x24126ea1u}));
}

TEST(Philox, NumberingOfKeyAndCounter) {
  const PhiloxKey key = philox_key(0x1122334455667788u);
  EXPECT_EQ(key.k0, 0x55667788u);
  EXPECT_EQ(key.k1, 0x11223344u);
  EXPECT_EQ(words_of(philox_counter(7, 0xab, 9, 0x00cdef0123456789)),
            (std::array<uint32_t, 4>{7, 0x23456789u, 9, 0xabcdef01u}));
}

// ---- the transform

// Words that cover every branch and boundary of normal_pair, and many others.
std::vector<uint32_t> edge_words() {
  std::vector<uint32_t> words;
  for (int bit = 0; bit < 32; ++bit) {
    for (int64_t offset = -2; offset <= 2; ++offset) {
      words.push_back(static_cast<uint32_t>((int64_t{1} << bit) + offset));
      words.push_back(static_cast<uint32_t>(0xffffffff - (int64_t{1} << bit) + offset));
    }
  }
  for (uint32_t eighth = 0; eighth < 8; ++eighth) {
    for (uint32_t offset = 0; offset < 5; ++offset) words.push_back((eighth << 29) + offset - 2);
  }
  return words;
}

// Relative error of the logarithm in units of 2^-24 for every mantissa and the exponents at which its terms cancel most
// or least.
TEST(Normal, LogarithmIsWithinItsBoundForEveryMantissa) {
  double worst = 0;
  for (const uint32_t exponent : {0u, 1u, 12u, 29u, 30u, 31u, 32u}) {
    for (uint32_t mantissa = 0; mantissa < 1u << 23; mantissa += exponent >= 30 ? 1 : 17) {
      const float v = std::bit_cast<float>((exponent + 126u) << 23 | mantissa);
      if (v > 0x1p32f) break;
      const double wanted = std::log(static_cast<double>(v) * 0x1p-32);
      const double error = std::abs(static_cast<double>(log_of_uniform(v)) - wanted);
      if (wanted == 0) {
        ASSERT_EQ(error, 0) << v;
      } else {
        worst = std::max(worst, error / std::abs(wanted));
      }
    }
  }
  RecordProperty("worst_units", std::to_string(worst * 0x1p24));
  EXPECT_LE(worst, 2 * 0x1p-24) << worst * 0x1p24 << " units";
  EXPECT_GT(worst, 0.5 * 0x1p-24) << "a bound that nothing comes near is no bound";
}

TEST(Normal, LargestMagnitudeAndZero) {
  EXPECT_EQ(scaled_uniform(0), 0.5f);
  EXPECT_EQ(scaled_uniform(0xffffffffu), 0x1p32f);
  const NormalPair largest = normal_pair(0, 0);
  EXPECT_NEAR(largest.z0, std::sqrt(66 * std::numbers::ln2), 1e-6);
  EXPECT_EQ(largest.z1, 0.0f);
  EXPECT_EQ(normal_pair(0xffffffffu, 12345).z0, 0.0f);
}

// ---- the kernel

struct Row {
  uint64_t seed;
  uint32_t purpose;
  uint32_t step;
  int64_t item;
};

const std::vector<Row> kRows = {{0, 0, 0, 0},
                                {1, 0, 0, 0},
                                {0xffffffffffffffffu, 255, 0xffffffffu, (int64_t{1} << 56) - 1},
                                {20261120, 3, 1000, (int64_t{1} << 40) + 17}};

PhiloxNormalArgs args_of(float* out, int64_t rows, int64_t elements, const int64_t* items) {
  return {.out = out, .rows = rows, .elements = elements, .seed = 42, .purpose = 2, .step = 7, .items = items};
}

std::vector<float> cpu_rows(const std::vector<int64_t>& items, int64_t elements,
                            InstructionSet set = cpu::best_instruction_set()) {
  std::vector<float> out(items.size() * static_cast<size_t>(elements));
  cpu::philox_normal(args_of(out.data(), static_cast<int64_t>(items.size()), elements, items.data()), set);
  return out;
}

TEST(PhiloxNormal, AgreesWithTheReference) {
  constexpr int64_t kElements = 50001;
  for (const Row& row : kRows) {
    std::vector<float> out(kElements);
    const PhiloxNormalArgs args{.out = out.data(),
                                .rows = 1,
                                .elements = kElements,
                                .seed = row.seed,
                                .purpose = row.purpose,
                                .step = row.step,
                                .items = &row.item};
    std::vector<double> wanted(kElements);
    for (int64_t n = 0; n < kElements; ++n) {
      wanted[static_cast<size_t>(n)] = reference::philox_normal_at(args, row.item, n);
    }
    cpu::philox_normal(args);
    EXPECT_TRUE(test::matches(out, wanted, {.relative = kNormalTolerance, .absolute = 0}));
    std::vector<float> rounded(kElements);
    PhiloxNormalArgs reference_args = args;
    reference_args.out = rounded.data();
    reference::philox_normal(reference_args);
    EXPECT_TRUE(test::matches(rounded, wanted, test::Tolerance::elementwise(1)));
  }
}

// Generated words rarely hit a boundary, so this test supplies them.
TEST(PhiloxNormal, TransformIsWithinItsBoundAtTheEdges) {
  const std::vector<uint32_t> words = edge_words();
  double worst = 0;
  for (const uint32_t bits0 : words) {
    for (const uint32_t bits1 : words) {
      const NormalPair pair = normal_pair(bits0, bits1);
      const std::array<double, 2> wanted = reference::normal_pair(bits0, bits1);
      for (const auto& [value, want] : {std::pair{pair.z0, wanted[0]}, std::pair{pair.z1, wanted[1]}}) {
        if (want == 0) {
          ASSERT_EQ(value, 0) << bits0 << " " << bits1;
        } else {
          worst = std::max(worst, std::abs(static_cast<double>(value) - want) / std::abs(want));
        }
      }
    }
  }
  RecordProperty("worst_units", std::to_string(worst * 0x1p24));
  EXPECT_LE(worst, kNormalTolerance) << worst * 0x1p24 << " units of 2^-24";
}

TEST(PhiloxNormal, EveryInstructionSetAndSizeGivesTheSameBits) {
  const std::vector<int64_t> items = {5, 0, (int64_t{1} << 40) + 1};
  for (const int64_t elements : test::awkward_sizes()) {
    const std::vector<float> baseline = cpu_rows(items, elements, InstructionSet::kBaseline);
    for (const InstructionSet set : test::runnable_instruction_sets()) {
      for (const test::Flush flush : {test::Flush::kStart, test::Flush::kEnd}) {
        test::RedZone<float> out(baseline.size(), flush);
        test::RedZone<int64_t> frozen(items, flush);
        frozen.freeze();
        cpu::philox_normal(args_of(out.data(), 3, elements, frozen.data()), set);
        ASSERT_TRUE(test::same_bits(out.vector(), baseline)) << name_of(set) << " " << elements;
        ASSERT_TRUE(out.intact()) << name_of(set) << " " << elements;
      }
    }
  }
}

TEST(PhiloxNormal, EveryThreadCountGivesTheSameBits) {
  const std::vector<int64_t> items = {3, 1, 4, 1, 5};
  std::vector<float> wanted;
  for (const int threads : {1, 2, 3, 8}) {
    const test::ThreadScope scope(threads);
    const std::vector<float> out = cpu_rows(items, 20001);
    if (wanted.empty()) wanted = out;
    EXPECT_TRUE(test::same_bits(out, wanted)) << threads;
  }
}

TEST(PhiloxNormal, RowDependsOnItsItemAlone) {
  const std::vector<int64_t> items = {9, 2, 9, 7};
  constexpr int64_t kElements = 1021;
  const std::vector<float> batch = cpu_rows(items, kElements);
  for (size_t r = 0; r < items.size(); ++r) {
    const auto begin = batch.begin() + static_cast<ptrdiff_t>(r * kElements);
    const std::vector<float> row(begin, begin + kElements);
    EXPECT_TRUE(test::same_bits(row, cpu_rows({items[r]}, kElements))) << r;
    // A shorter row is a prefix.
    EXPECT_TRUE(test::same_bits(std::vector<float>(row.begin(), row.begin() + 514), cpu_rows({items[r]}, 514))) << r;
  }
}

TEST(PhiloxNormal, SeedPurposeStepAndItemEachChangeTheRow) {
  std::vector<std::vector<float>> rows;
  const auto draw = [&](uint64_t seed, uint32_t purpose, uint32_t step, int64_t item) {
    std::vector<float> out(64);
    cpu::philox_normal(
        {.out = out.data(), .rows = 1, .elements = 64, .seed = seed, .purpose = purpose, .step = step, .items = &item});
    rows.push_back(out);
  };
  draw(1, 2, 3, 4);
  draw(1 + (uint64_t{1} << 32), 2, 3, 4);
  draw(2, 2, 3, 4);
  draw(1, 3, 3, 4);
  draw(1, 2, 4, 4);
  draw(1, 2, 3, 5);
  draw(1, 2, 3, 4 + (int64_t{1} << 32));
  draw(1, 2, 3, 4 + (int64_t{1} << 55));
  for (size_t a = 0; a < rows.size(); ++a) {
    for (size_t b = 0; b < a; ++b) {
      size_t equal = 0;
      for (size_t i = 0; i < 64; ++i) equal += rows[a][i] == rows[b][i];
      EXPECT_LE(equal, 1u) << a << " and " << b;
    }
  }
}

// ---- statistics: each bound is five standard deviations of the statistic under the hypothesis, so a correct generator
// fails for one in a million seeds; the seed is fixed.

class Statistics : public testing::Test {
 protected:
  static constexpr int64_t kCount = 1 << 21;
  static std::vector<float> sample() { return cpu_rows({123}, kCount); }
};

double largest_distance_to_normal(std::vector<float> values) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double distance = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double cumulative = 0.5 * std::erfc(-static_cast<double>(values[i]) / std::numbers::sqrt2);
    distance =
        std::max({distance, cumulative - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - cumulative});
  }
  return distance;
}

TEST_F(Statistics, Moments) {
  const std::vector<float> values = sample();
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
  for (const float value : values) {
    const double z = value;
    m1 += z;
    m2 += z * z;
    m3 += z * z * z;
    m4 += z * z * z * z;
  }
  const double n = kCount;
  // Variances of z, z^2, z^3, z^4: 1, 2, 15, 96.
  EXPECT_NEAR(m1 / n, 0, 5 * std::sqrt(1 / n));
  EXPECT_NEAR(m2 / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(m3 / n, 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(m4 / n, 3, 5 * std::sqrt(96 / n));
}

TEST_F(Statistics, KolmogorovSmirnov) {
  // P(sqrt(n) D > x) is near 2 exp(-2 x^2): one in a million at x = 2.69.
  const double bound = 2.69 / std::sqrt(static_cast<double>(kCount));
  std::vector<float> values = sample();
  EXPECT_LT(largest_distance_to_normal(values), bound);
  // The bound detects a mean of 0.004 and a standard deviation of 1.01.
  std::vector<float> shifted = values;
  for (float& value : shifted) value += 0.004f;
  EXPECT_GT(largest_distance_to_normal(shifted), bound);
  for (float& value : values) value *= 1.01f;
  EXPECT_GT(largest_distance_to_normal(values), bound);
}

TEST_F(Statistics, Tails) {
  const std::vector<float> values = sample();
  for (const double threshold : {2.0, 3.0, 4.0}) {
    const double p = std::erfc(threshold / std::numbers::sqrt2);
    const auto beyond = static_cast<double>(
        std::count_if(values.begin(), values.end(), [&](float value) { return std::abs(value) > threshold; }));
    EXPECT_NEAR(beyond, kCount * p, 5 * std::sqrt(kCount * p)) << threshold;
  }
}

TEST_F(Statistics, NeighboursAreUncorrelated) {
  const std::vector<float> values = sample();
  const auto correlation = [&](const std::vector<float>& a, size_t lag_a, const std::vector<float>& b, size_t lag_b) {
    double sum = 0;
    const size_t n = std::min(a.size() - lag_a, b.size() - lag_b);
    for (size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i + lag_a]) * static_cast<double>(b[i + lag_b]);
    return sum / static_cast<double>(n);
  };
  const double bound = 5 / std::sqrt(static_cast<double>(kCount) - 4);
  for (size_t lag = 1; lag <= 4; ++lag) EXPECT_LT(std::abs(correlation(values, lag, values, 0)), bound) << lag;
  // The two numbers of a Box-Muller pair share a radius, yet their squares must be independent.
  std::vector<float> squares(values.size());
  for (size_t i = 0; i < values.size(); ++i) squares[i] = (values[i] * values[i] - 1) / std::numbers::sqrt2_v<float>;
  for (size_t lag = 1; lag <= 4; ++lag) EXPECT_LT(std::abs(correlation(squares, lag, squares, 0)), bound) << lag;
  // Rows of adjacent items are independent.
  EXPECT_LT(std::abs(correlation(values, 0, cpu_rows({124}, kCount), 0)), bound);
}

}  // namespace
}  // namespace smpo::kernels
