#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "c_api/border.h"

namespace smpo::test {
namespace {

constexpr int32_t kDtypes[] = {SMPO_F32, SMPO_BF16, SMPO_F16, SMPO_I32, SMPO_I64};

uint64_t size_of(int32_t dtype) { return dtype == SMPO_I64 ? 8 : dtype == SMPO_F32 || dtype == SMPO_I32 ? 4 : 2; }

std::vector<smpo_tensor_spec> awkward_shapes(int32_t dtype) {
  return {spec_of(dtype, {}),
          spec_of(dtype, {0}),
          spec_of(dtype, {1}),
          spec_of(dtype, {7}),
          spec_of(dtype, {3, 0, 5}),
          spec_of(dtype, {1, 1, 1, 1, 1, 1, 1, 1}),
          spec_of(dtype, {2, 1, 3, 1, 2, 1, 5, 1}),
          spec_of(dtype, {0, 0, 0, 0, 0, 0, 0, 0}),
          spec_of(dtype, {17, 129}),
          spec_of(dtype, {2, 4, 64, 64}),
          spec_of(dtype, {1000003})};
}

using TensorTest = BorderTest;

TEST_F(TensorTest, BytesAreReadBackAsWritten) {
  std::mt19937_64 random(7);
  for (const int32_t dtype : kDtypes) {
    for (const smpo_tensor_spec& spec : awkward_shapes(dtype)) {
      SCOPED_TRACE(::testing::Message() << "dtype " << dtype << ", rank " << spec.rank << ", first " << spec.shape[0]);
      // Random bits, including signalling NaNs.
      std::vector<unsigned char> bytes(elements_of(spec) * size_of(dtype));
      for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random());
      smpo_tensor tensor = 0;
      EXPECT_OK(smpo_tensor_from_host(session, &spec, bytes.data(), bytes.size(), &tensor, &error));
      auto described = sized<smpo_tensor_spec>();
      EXPECT_OK(smpo_tensor_describe(session, tensor, &described, &error));
      EXPECT_EQ(std::memcmp(&described, &spec, sizeof spec), 0);
      std::vector<unsigned char> back(bytes.size(), 0xee);
      EXPECT_OK(smpo_tensor_to_host(session, tensor, &spec, back.data(), back.size(), &error));
      EXPECT_EQ(bytes, back);
      close(tensor);
    }
  }
}

TEST_F(TensorTest, ZerosAreZeroAlsoInReusedMemory) {
  for (const int32_t dtype : kDtypes) {
    for (const smpo_tensor_spec& spec : awkward_shapes(dtype)) {
      const std::vector<unsigned char> ones(elements_of(spec) * size_of(dtype), 0xff);
      smpo_tensor dirty = 0;
      EXPECT_OK(smpo_tensor_from_host(session, &spec, ones.data(), ones.size(), &dirty, &error));
      close(dirty);
      const smpo_tensor tensor = zeros(spec);
      std::vector<unsigned char> back(ones.size(), 0xee);
      EXPECT_OK(smpo_tensor_to_host(session, tensor, &spec, back.data(), back.size(), &error));
      EXPECT_EQ(back, std::vector<unsigned char>(ones.size(), 0));
      close(tensor);
    }
  }
}

TEST_F(TensorTest, NothingNeedsNoMemory) {
  const auto spec = spec_of(SMPO_F32, {0, 3});
  smpo_tensor tensor = 0;
  EXPECT_OK(smpo_tensor_from_host(session, &spec, nullptr, 0, &tensor, &error));
  EXPECT_OK(smpo_tensor_to_host(session, tensor, &spec, nullptr, 0, &error));
  EXPECT_OK(smpo_tensor_fill_normal(session, tensor, 0, 0, nullptr, 0, &error));
}

TEST_F(TensorTest, TheLibraryKeepsNoPointerToTheCallersMemory) {
  const auto spec = spec_of(SMPO_I32, {4});
  std::vector<int32_t> values = {1, 2, 3, 4};
  const smpo_tensor tensor = from_host(spec, values);
  values.assign(4, 0);
  EXPECT_EQ(to_host<int32_t>(tensor), (std::vector<int32_t>{1, 2, 3, 4}));
}

// ---- conversions: expectations follow from the formats' definitions, not from a library
// ------------------------------

float bf16_value(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

double f16_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  double value;
  if (exponent == 31) {
    value = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(fraction, -24);
  } else {
    value = std::ldexp(1024 + fraction, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

std::vector<uint16_t> all_patterns() {
  std::vector<uint16_t> patterns(65536);
  std::iota(patterns.begin(), patterns.end(), uint16_t{0});
  return patterns;
}

// A float and the bit pattern of a narrower type to which it must round.
struct Rounding {
  float from;
  uint16_t to;
};

// For each pair of neighbours of a narrower format: the float halfway between them rounds to the even one, the floats
// just below and above it to the nearer one. `value` decodes a positive pattern; the last finite one is followed by
// infinity, whose place as a neighbour is `beyond`, the number that the next exponent would begin with.
template <typename Value>
std::vector<Rounding> roundings(uint16_t infinity, double beyond, const Value& value) {
  std::vector<Rounding> cases;
  for (uint16_t low = 0; low < infinity; ++low) {
    const auto high = static_cast<uint16_t>(low + 1);
    const double middle = (value(low) + (high == infinity ? beyond : value(high))) / 2;
    const auto tie = static_cast<float>(middle);
    EXPECT_EQ(static_cast<double>(tie), middle) << "the middle is a float";
    const uint16_t even = low % 2 == 0 ? low : high;
    const Rounding positive[] = {{static_cast<float>(value(low)), low},
                                 {std::nextafter(tie, 0.0f), low},
                                 {tie, even},
                                 {std::nextafter(tie, std::numeric_limits<float>::infinity()), high}};
    for (const auto& [from, to] : positive) {
      cases.push_back({from, to});
      cases.push_back({-from, static_cast<uint16_t>(to | 0x8000)});
    }
  }
  cases.push_back({std::numeric_limits<float>::infinity(), infinity});
  cases.push_back({-std::numeric_limits<float>::infinity(), static_cast<uint16_t>(infinity | 0x8000)});
  cases.push_back({std::numeric_limits<float>::max(), infinity});
  cases.push_back({std::numeric_limits<float>::denorm_min(), 0});
  return cases;
}

std::vector<Rounding> bf16_roundings() {
  return roundings(0x7f80, std::ldexp(1.0, 128), [](uint16_t bits) { return static_cast<double>(bf16_value(bits)); });
}

std::vector<Rounding> f16_roundings() { return roundings(0x7c00, 65536.0, f16_value); }

class ConvertTest : public BorderTest {
 protected:
  // Cases whose result differs from the expected pattern.
  size_t wrong(int32_t dtype, const std::vector<Rounding>& cases) {
    std::vector<float> from;
    for (const Rounding& rounding : cases) from.push_back(rounding.from);
    const auto count = static_cast<int64_t>(from.size());
    const smpo_tensor tensor = from_host(spec_of(SMPO_F32, {count}), from);
    const smpo_tensor narrow = convert(tensor, dtype);
    const auto to = to_host<uint16_t>(narrow);
    size_t differences = 0;
    for (size_t i = 0; i < cases.size(); ++i) {
      if (to[i] != cases[i].to && ++differences <= 5) {
        first_differences_ += ::testing::PrintToString(cases[i].from) + " -> " + std::to_string(to[i]) + ", expected " +
                              std::to_string(cases[i].to) + "; ";
      }
    }
    close(tensor);
    close(narrow);
    return differences;
  }

  std::string first_differences_;
};

TEST_F(ConvertTest, EveryBf16AndF16IsExactInF32) {
  const auto patterns = all_patterns();
  for (const int32_t dtype : {SMPO_BF16, SMPO_F16}) {
    const auto wide = to_host<float>(convert(from_host(spec_of(dtype, {65536}), patterns), SMPO_F32));
    for (const uint16_t bits : patterns) {
      const float expected = dtype == SMPO_BF16 ? bf16_value(bits) : static_cast<float>(f16_value(bits));
      ASSERT_TRUE(same(wide[bits], expected)) << bits;
    }
  }
}

TEST_F(ConvertTest, F32ToBf16RoundsToNearestEven) {
  EXPECT_EQ(wrong(SMPO_BF16, bf16_roundings()), 0u) << first_differences_;
}

TEST_F(ConvertTest, F32ToF16RoundsToNearestEven) {
  EXPECT_EQ(wrong(SMPO_F16, f16_roundings()), 0u) << first_differences_;
}

TEST_F(ConvertTest, TheComparisonNoticesOneWrongBit) {
  auto cases = bf16_roundings();
  cases[12345].to ^= 1;
  EXPECT_EQ(wrong(SMPO_BF16, cases), 1u);
}

TEST_F(ConvertTest, NanStaysNan) {
  // Payloads of all sizes, including those that would round to infinity; whole vectors and tails.
  std::vector<float> nans;
  for (int bit = 0; bit < 23; ++bit) {
    nans.push_back(std::bit_cast<float>(0x7f800000u | 1u << bit));
    nans.push_back(std::bit_cast<float>(0xffffffffu >> bit | 0xff800000u | 1u));
  }
  const auto count = static_cast<int64_t>(nans.size());
  const smpo_tensor tensor = from_host(spec_of(SMPO_F32, {count}), nans);
  for (const uint16_t bits : to_host<uint16_t>(convert(tensor, SMPO_BF16))) {
    EXPECT_TRUE(std::isnan(bf16_value(bits))) << bits;
  }
  for (const uint16_t bits : to_host<uint16_t>(convert(tensor, SMPO_F16))) {
    EXPECT_TRUE(std::isnan(f16_value(bits))) << bits;
  }
}

TEST_F(ConvertTest, BetweenBf16AndF16) {
  const auto patterns = all_patterns();
  const auto widened = to_host<uint16_t>(convert(from_host(spec_of(SMPO_F16, {65536}), patterns), SMPO_BF16));
  const smpo_tensor bf16 = from_host(spec_of(SMPO_BF16, {65536}), patterns);
  const auto direct = to_host<uint16_t>(convert(bf16, SMPO_F16));
  const auto by_f32 = to_host<uint16_t>(convert(convert(bf16, SMPO_F32), SMPO_F16));
  for (const uint16_t bits : patterns) {
    if (std::isnan(f16_value(bits))) {
      EXPECT_TRUE(std::isnan(bf16_value(widened[bits]))) << bits;
    } else if (bits % 8 == 0 && (bits & 0x7c00) != 0) {
      // Exact, because this value needs at most seven fraction bits.
      EXPECT_EQ(bf16_value(widened[bits]), f16_value(bits)) << bits;
    }
    if (!std::isnan(bf16_value(bits))) {
      EXPECT_EQ(direct[bits], by_f32[bits]) << bits;
    }
  }
}

TEST_F(ConvertTest, IntegersThatFitAreExact) {
  const std::vector<int64_t> wide = {0, 1, -1, INT32_MAX, INT32_MIN, 123456789};
  const std::vector<int32_t> narrow = {0, 1, -1, INT32_MAX, INT32_MIN, 123456789};
  EXPECT_EQ(to_host<int32_t>(convert(from_host(spec_of(SMPO_I64, {6}), wide), SMPO_I32)), narrow);
  EXPECT_EQ(to_host<int64_t>(convert(from_host(spec_of(SMPO_I32, {6}), narrow), SMPO_I64)), wide);
}

TEST_F(ConvertTest, IntegersThatDoNotFitAreRefused) {
  for (const int64_t value : {int64_t{INT32_MAX} + 1, int64_t{INT32_MIN} - 1, INT64_MAX, INT64_MIN}) {
    const smpo_tensor tensor = from_host(spec_of(SMPO_I64, {3}), std::vector<int64_t>{1, value, 2});
    smpo_tensor converted = 99;
    EXPECT_EQ(smpo_tensor_convert(session, tensor, SMPO_I32, &converted, &error), SMPO_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(error.message),
              "smpo_tensor_convert: tensor: expected values that fit i32, got " + std::to_string(value));
    EXPECT_EQ(converted, 99u);
  }
}

TEST_F(ConvertTest, ToTheSameTypeIsACopy) {
  const smpo_tensor tensor = from_host(spec_of(SMPO_I32, {3}), std::vector<int32_t>{4, 5, 6});
  const smpo_tensor copy = convert(tensor, SMPO_I32);
  EXPECT_NE(copy, tensor);
  close(tensor);
  EXPECT_EQ(to_host<int32_t>(copy), (std::vector<int32_t>{4, 5, 6}));
}

TEST_F(ConvertTest, BetweenFloatingAndIntegerTypesIsUnsupported) {
  for (const int32_t from : kDtypes) {
    const smpo_tensor tensor = zeros(spec_of(from, {2}));
    for (const int32_t to : kDtypes) {
      const bool mixed = (from >= SMPO_I32) != (to >= SMPO_I32);
      smpo_tensor converted = 0;
      EXPECT_EQ(smpo_tensor_convert(session, tensor, to, &converted, &error), mixed ? SMPO_UNSUPPORTED : SMPO_OK)
          << from << " to " << to;
    }
  }
}

TEST_F(ConvertTest, KeepsAwkwardShapes) {
  for (const smpo_tensor_spec& spec : awkward_shapes(SMPO_F32)) {
    const smpo_tensor tensor = zeros(spec);
    const smpo_tensor converted = convert(tensor, SMPO_F16);
    auto expected = spec;
    expected.dtype = SMPO_F16;
    auto described = sized<smpo_tensor_spec>();
    EXPECT_OK(smpo_tensor_describe(session, converted, &described, &error));
    EXPECT_EQ(std::memcmp(&described, &expected, sizeof expected), 0);
    close(tensor);
    close(converted);
  }
}

// ---- normal numbers -------------------------------------------------------------------------------------------------

class FillNormalTest : public BorderTest {
 protected:
  std::vector<float> draw(int64_t elements, const std::vector<int64_t>& items, uint32_t purpose = 1,
                          uint32_t step = 2) {
    const smpo_tensor tensor = zeros(spec_of(SMPO_F32, {static_cast<int64_t>(items.size()), elements}));
    EXPECT_OK(smpo_tensor_fill_normal(session, tensor, purpose, step, items.data(), items.size(), &error));
    const auto values = to_host<float>(tensor);
    close(tensor);
    return values;
  }
};

TEST_F(FillNormalTest, ARowDependsOnItsItemAlone) {
  constexpr int64_t kElements = 1003;
  const auto batch = draw(kElements, {5, 1, 9, 5});
  for (size_t row = 0; row < 4; ++row) {
    const int64_t item = std::vector<int64_t>{5, 1, 9, 5}[row];
    const auto alone = draw(kElements, {item});
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), batch.begin() + static_cast<int64_t>(row) * kElements)) << row;
  }
}

TEST_F(FillNormalTest, NeitherThreadsNorChunksMatter) {
  // 3 rows of 700,000 values exceed one chunk of the engine.
  const std::vector<int64_t> items = {3, 1, 2};
  const auto expected = draw(700'000, items);
  for (const int32_t threads : {1, 3}) {
    EXPECT_OK(smpo_session_close(session, &error));
    config.threads = threads;
    config.deterministic = threads % 2;
    EXPECT_OK(smpo_session_open(&config, &session, &error));
    EXPECT_EQ(draw(700'000, items), expected) << threads << " threads";
  }
}

TEST_F(FillNormalTest, EveryPartOfTheKeyMatters) {
  const auto base = draw(100, {7});
  EXPECT_EQ(draw(100, {7}), base);
  EXPECT_NE(draw(100, {8}), base);
  EXPECT_NE(draw(100, {7}, /*purpose=*/2), base);
  EXPECT_NE(draw(100, {7}, 1, /*step=*/3), base);
  EXPECT_OK(smpo_session_close(session, &error));
  ++config.seed;
  EXPECT_OK(smpo_session_open(&config, &session, &error));
  EXPECT_NE(draw(100, {7}), base);
}

TEST_F(FillNormalTest, NarrowTypesHoldTheRoundedNumbers) {
  const std::vector<int64_t> items = {4, 2, 6};
  const auto spec = spec_of(SMPO_F32, {3, 5, 211});
  const smpo_tensor wide = zeros(spec);
  EXPECT_OK(smpo_tensor_fill_normal(session, wide, 1, 2, items.data(), items.size(), &error));
  for (const int32_t dtype : {SMPO_BF16, SMPO_F16}) {
    const smpo_tensor narrow = zeros(spec_of(dtype, {3, 5, 211}));
    EXPECT_OK(smpo_tensor_fill_normal(session, narrow, 1, 2, items.data(), items.size(), &error));
    EXPECT_EQ(to_host<uint16_t>(narrow), to_host<uint16_t>(convert(wide, dtype)));
  }
}

TEST_F(FillNormalTest, HasTheMomentsOfANormal) {
  const std::vector<int64_t> items = {0, 1, 2, 3};
  const auto values = draw(250'000, items);
  double sum = 0;
  double squares = 0;
  for (const float value : values) {
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const auto count = static_cast<double>(values.size());
  // Five standard errors: 1/sqrt(n) of the mean, sqrt(2/n) of the variance.
  EXPECT_LT(std::abs(sum / count), 5 / std::sqrt(count));
  EXPECT_LT(std::abs(squares / count - 1), 5 * std::sqrt(2 / count));
}

TEST_F(FillNormalTest, AScalarHasNoRows) {
  const smpo_tensor scalar = zeros(spec_of(SMPO_F32, {}));
  const int64_t item = 0;
  EXPECT_EQ(smpo_tensor_fill_normal(session, scalar, 0, 0, &item, 1, &error), SMPO_SHAPE_MISMATCH);
  EXPECT_STREQ(error.message, "smpo_tensor_fill_normal: count: expected the tensor's first dimension of [], got 1");
}

}  // namespace
}  // namespace smpo::test
