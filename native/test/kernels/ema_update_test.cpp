#include "kernels/ema_update.h"

#include <gtest/gtest.h>

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

std::vector<float> averages(int64_t elements) { return test::normal_floats(elements, 1); }

// Close to the averages, as weights are.
std::vector<float> parameters(int64_t elements) {
  std::vector<float> values = test::normal_floats(elements, 2, 0, 0.01f);
  const std::vector<float> base = averages(elements);
  for (size_t i = 0; i < values.size(); ++i) values[i] += base[i];
  return values;
}

std::vector<float> run_cpu(int64_t elements, EmaUpdateArgs args, InstructionSet set = cpu::best_instruction_set(),
                           test::Flush flush = test::Flush::kEnd) {
  test::RedZone<float> average(averages(elements), flush), parameter(parameters(elements), flush);
  parameter.freeze();
  args.elements = elements;
  args.average = average.data();
  args.parameter = parameter.data();
  cpu::ema_update(args, set);
  EXPECT_TRUE(average.intact());
  return average.vector();
}

TEST(EmaUpdateReference, IsTheDefinition) {
  std::vector<float> average = {1, -2, 4};
  const std::vector<float> parameter = {3, -2, 0};
  reference::ema_update({.elements = 3, .average = average.data(), .parameter = parameter.data(), .decay = 0.75});
  EXPECT_EQ(average, (std::vector<float>{1.5f, -2, 3}));
}

TEST(EmaUpdateCpu, AgreesWithTheReference) {
  const double u = test::unit_roundoff(DType::kF32);
  for (const int64_t elements : test::awkward_sizes()) {
    for (const double decay : {0.5, 0.9, 0.9999}) {
      SCOPED_TRACE(testing::Message() << elements << " elements, decay " << decay);
      const std::vector<float> before = averages(elements), parameter = parameters(elements);
      const std::vector<float> got = run_cpu(elements, {.decay = decay});
      for (size_t i = 0; i < got.size(); ++i) {
        const double change = (1 - decay) * (static_cast<double>(before[i]) - static_cast<double>(parameter[i]));
        const double wanted = static_cast<double>(before[i]) - change;
        const test::Tolerance tolerance{.relative = u, .absolute = 3 * u * std::abs(change)};
        ASSERT_TRUE(tolerance.accepts(got[i], wanted)) << i << ": " << got[i] << ", wanted " << wanted;
        ASSERT_FALSE(tolerance.accepts(got[i] + 1e-5 * std::max(std::abs(wanted), 1e-3), wanted)) << i;
      }
      std::vector<float> reference = before;
      reference::ema_update(
          {.elements = elements, .average = reference.data(), .parameter = parameter.data(), .decay = decay});
      const std::vector<double> wide(reference.begin(), reference.end());
      EXPECT_TRUE(test::matches(got, wide, {.relative = 2 * u, .absolute = u}));
    }
  }
}

TEST(EmaUpdateCpu, AConstantParameterKeepsItsAverage) {
  std::vector<float> average = averages(1000);
  const std::vector<float> parameter = average;
  cpu::ema_update({.elements = 1000, .average = average.data(), .parameter = parameter.data(), .decay = 0.999});
  EXPECT_TRUE(test::same_bits(average, parameter));
}

TEST(EmaUpdateCpu, EveryInstructionSetAlignmentAndThreadCountGivesTheSameBits) {
  for (const int64_t elements : test::awkward_sizes()) {
    const std::vector<float> wanted = run_cpu(elements, {.decay = 0.99}, InstructionSet::kBaseline);
    for (const InstructionSet set : test::runnable_instruction_sets()) {
      for (const test::Flush flush : {test::Flush::kStart, test::Flush::kEnd}) {
        for (const int threads : {1, 3}) {
          const test::ThreadScope scope(threads);
          SCOPED_TRACE(testing::Message() << elements << " elements, " << name_of(set) << ", " << threads);
          EXPECT_TRUE(test::same_bits(run_cpu(elements, {.decay = 0.99}, set, flush), wanted));
        }
      }
    }
  }
}

TEST(EmaUpdateCpu, WritesNothingWhenTheGradientIsNotFinite) {
  const int32_t finite = 0;
  EXPECT_TRUE(test::same_bits(run_cpu(20000, {.decay = 0.5, .finite = &finite}), averages(20000)));
}

}  // namespace
}  // namespace smpo::kernels
