#include "kernels/types.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace smpo::kernels {
namespace {

float value_of(uint32_t bits) { return std::bit_cast<float>(bits); }

// The definition of rounding: to the nearer neighbour, and in a tie to the neighbour with an even last bit.
uint16_t nearest_even(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto lower = static_cast<uint16_t>(bits >> 16);
  const double below = value_of(bits & 0xffff0000u);
  // The gap to the next bf16 away from zero. Above the largest bf16, the gap that the next exponent would have.
  const int exponent = std::max(static_cast<int>((bits >> 23) & 0xff), 1) - 127;
  const double gap = std::ldexp(1.0, exponent - 7);
  const double above = below + std::copysign(gap, static_cast<double>(value));
  const double to_below = std::abs(static_cast<double>(value) - below);
  const double to_above = std::abs(above - static_cast<double>(value));
  if (to_below < to_above) return lower;
  if (to_above < to_below) return static_cast<uint16_t>(lower + 1);
  return static_cast<uint16_t>(lower + (lower & 1));
}

TEST(BFloat16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const BFloat16 value{static_cast<uint16_t>(bits)};
    if (std::isnan(to_float(value))) continue;
    ASSERT_EQ(to_bfloat16(to_float(value)).bits, bits);
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  // All finite upper halves, with lower halves around the tie.
  for (uint32_t upper = 0; upper <= 0xffff; ++upper) {
    if ((upper & 0x7f80) == 0x7f80) continue;
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x4000u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float value = value_of(upper << 16 | lower);
      ASSERT_EQ(to_bfloat16(value).bits, nearest_even(value)) << std::hex << upper << " " << lower;
    }
  }
}

TEST(BFloat16, OverflowGoesToInfinity) {
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(to_bfloat16(-std::numeric_limits<float>::max()).bits, 0xff80);
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::infinity()).bits, 0x7f80);
}

TEST(BFloat16, NanStaysNan) {
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    const BFloat16 value = to_bfloat16(value_of(bits));
    EXPECT_TRUE(std::isnan(to_float(value))) << std::hex << bits;
    EXPECT_EQ(value.bits >> 15, bits >> 31) << "the sign";
  }
}

TEST(DType, ValuesAndSizes) {
  EXPECT_EQ(static_cast<int>(DType::kF32), 1);
  EXPECT_EQ(static_cast<int>(DType::kBF16), 2);
  EXPECT_EQ(size_of(DType::kF32), 4);
  EXPECT_EQ(size_of(DType::kBF16), 2);
  EXPECT_EQ(kDTypeOf<BFloat16>, DType::kBF16);
}

}  // namespace
}  // namespace smpo::kernels
