#include "kernels/grad_norm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "support/red_zone.h"
#include "support/samples.h"
#include "support/threads.h"
#include "support/tolerance.h"

namespace smpo::kernels {
namespace {

using cpu::InstructionSet;

GradNormResult run_reference(const std::vector<float>& gradient, double max_norm) {
  GradNormResult result{-1, -1, -1};
  reference::grad_norm({.gradient = gradient.data(),
                        .elements = static_cast<int64_t>(gradient.size()),
                        .max_norm = max_norm,
                        .result = &result,
                        .workspace = nullptr});
  return result;
}

GradNormResult run_cpu(const std::vector<float>& gradient, double max_norm,
                       InstructionSet set = cpu::best_instruction_set(), test::Flush flush = test::Flush::kEnd) {
  const auto elements = static_cast<int64_t>(gradient.size());
  test::RedZone<float> frozen(gradient, flush);
  frozen.freeze();
  test::RedZone<GradNormResult> result(1, flush);
  test::RedZone<unsigned char> workspace(static_cast<size_t>(grad_norm_workspace_bytes(elements)), flush);
  cpu::grad_norm({.gradient = frozen.data(),
                  .elements = elements,
                  .max_norm = max_norm,
                  .result = result.data(),
                  .workspace = workspace.data()},
                 set);
  EXPECT_TRUE(frozen.intact() && result.intact() && workspace.intact());
  return result[0];
}

void expect_same_bits(const GradNormResult& got, const GradNormResult& wanted) {
  EXPECT_EQ(std::bit_cast<uint64_t>(got.norm), std::bit_cast<uint64_t>(wanted.norm));
  EXPECT_EQ(std::bit_cast<uint32_t>(got.clip_coefficient), std::bit_cast<uint32_t>(wanted.clip_coefficient));
  EXPECT_EQ(got.finite, wanted.finite);
}

std::vector<int64_t> sizes() {
  std::vector<int64_t> all = test::awkward_sizes();
  for (const int64_t chunks : {1, 2}) {
    for (const int64_t offset : {-1, 0, 1}) all.push_back(chunks * square_sum::kChunk + offset);
  }
  all.push_back((square_sum::kFinalLanes + 1) * square_sum::kChunk + 1);  // more partial sums than final lanes
  return all;
}

TEST(GradNormReference, IsTheDefinition) {
  const GradNormResult result = run_reference({3, -4}, 1);
  EXPECT_EQ(result.norm, 5);
  EXPECT_EQ(result.finite, 1);
  EXPECT_EQ(result.clip_coefficient, static_cast<float>(1 / (5 + 1e-6)));
  EXPECT_EQ(run_reference({3, -4}, 10).clip_coefficient, 1.0f);
}

TEST(GradNormCpu, AgreesWithTheReference) {
  for (const int64_t elements : sizes()) {
    SCOPED_TRACE(elements);
    const std::vector<float> gradient = test::normal_floats(elements, 3, 0.001f, 0.02f);
    const GradNormResult wanted = run_reference(gradient, 1);
    const GradNormResult result = run_cpu(gradient, 1);
    const test::Tolerance norm{.relative = grad_norm_tolerance(elements), .absolute = 0};
    EXPECT_TRUE(norm.accepts(result.norm, wanted.norm)) << result.norm << ", wanted " << wanted.norm;
    EXPECT_EQ(result.finite, 1);
    const test::Tolerance clip{.relative = 2 * test::unit_roundoff(DType::kF32), .absolute = 0};
    EXPECT_TRUE(clip.accepts(result.clip_coefficient, wanted.clip_coefficient));
    if (elements > 0) {
      EXPECT_FALSE(norm.accepts(result.norm * (1 + 1e-8), wanted.norm)) << "the bound is too loose";
      EXPECT_FALSE(clip.accepts(result.clip_coefficient * (1 + 1e-6), wanted.clip_coefficient));
    }
  }
}

TEST(GradNormCpu, LeavesOutNoElement) {
  // Every element has its own weight, a power of two, so that the sum is exact.
  for (const int64_t elements : {int64_t{1}, int64_t{1025}, square_sum::kChunk + 17}) {
    std::vector<float> gradient(static_cast<size_t>(elements));
    for (int64_t i = 0; i < elements; ++i) {
      gradient[static_cast<size_t>(i)] = 2;
      EXPECT_EQ(run_cpu(gradient, 1).norm, 2) << i << " of " << elements;
      gradient[static_cast<size_t>(i)] = 0;
      if (i > 40) i += elements / 61;
    }
  }
}

TEST(GradNormCpu, EveryInstructionSetAndAlignmentGivesTheSameBits) {
  for (const int64_t elements : sizes()) {
    const std::vector<float> gradient = test::normal_floats(elements, 4);
    const GradNormResult wanted = run_cpu(gradient, 0.5, InstructionSet::kBaseline);
    for (const InstructionSet set : test::runnable_instruction_sets()) {
      SCOPED_TRACE(testing::Message() << elements << " elements, " << name_of(set));
      expect_same_bits(run_cpu(gradient, 0.5, set, test::Flush::kStart), wanted);
      expect_same_bits(run_cpu(gradient, 0.5, set, test::Flush::kEnd), wanted);
    }
  }
}

TEST(GradNormCpu, EveryThreadCountGivesTheSameBits) {
  const std::vector<float> gradient = test::normal_floats(1000003, 5);
  const GradNormResult wanted = run_cpu(gradient, 1);
  for (const int threads : {1, 2, 3, 8}) {
    const test::ThreadScope scope(threads);
    SCOPED_TRACE(threads);
    expect_same_bits(run_cpu(gradient, 1), wanted);
  }
}

TEST(GradNormCpu, OneBadElementAnywhereIsSeen) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t at : {size_t{0}, size_t{1000}, size_t{16383}, size_t{16384}, size_t{40000}}) {
      std::vector<float> gradient(40001, 0.1f);
      gradient[at] = bad;
      for (const GradNormResult& result : {run_cpu(gradient, 1), run_reference(gradient, 1)}) {
        EXPECT_EQ(result.finite, 0) << bad << " at " << at;
        EXPECT_EQ(result.clip_coefficient, 0.0f);
        EXPECT_FALSE(std::isfinite(result.norm));
      }
    }
  }
}

TEST(GradNormCpu, LargestFloatsAreFiniteUntilTheirNormIsNot) {
  constexpr float kMax = std::numeric_limits<float>::max();
  for (const auto run : {+[](const std::vector<float>& g) { return run_cpu(g, 1); },
                         +[](const std::vector<float>& g) { return run_reference(g, 1); }}) {
    const GradNormResult one = run({kMax});
    EXPECT_EQ(one.finite, 1);
    EXPECT_EQ(one.norm, static_cast<double>(kMax));
    const GradNormResult two = run({kMax, kMax});
    EXPECT_EQ(two.finite, 0) << "the norm overflows float";
    EXPECT_EQ(two.clip_coefficient, 0.0f);
  }
}

TEST(GradNormCpu, SmallestFloatsAreNotLost) {
  constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(run_cpu({kSmallest}, 1).norm, static_cast<double>(kSmallest));
}

TEST(GradNormCpu, ClipsAsTorchDoes) {
  EXPECT_EQ(run_cpu({}, 1).norm, 0);
  EXPECT_EQ(run_cpu({}, 1).clip_coefficient, 1.0f);
  EXPECT_EQ(run_cpu({}, 1e-7).clip_coefficient, static_cast<float>(1e-7 / 1e-6));
  EXPECT_EQ(run_cpu({3, 4}, std::numeric_limits<double>::infinity()).clip_coefficient, 1.0f);
  EXPECT_EQ(run_cpu({3, 4}, 5 + 1e-6).clip_coefficient, 1.0f);
  EXPECT_LT(run_cpu({3, 4}, 5).clip_coefficient, 1.0f);
}

}  // namespace
}  // namespace smpo::kernels
