#include "kernels/cpu/dispatch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::kernels::cpu {
namespace {

// sqrt(a) * a + a would round differently for some values if it were contracted into a fused operation.
struct RootTimes {
  SMPO_INNER_LOOP void run(float* out, const float* a, int64_t count) {
    for (int64_t i = 0; i < count; ++i) out[i] = std::sqrt(a[i]) * a[i] + a[i];
  }
};

TEST(Dispatch, EveryInstructionSetGivesTheSameBits) {
  std::vector<float> input = test::normal_floats(4099, 1);
  for (float& value : input) value = std::abs(value);
  std::vector<float> wanted(input.size());
  for (size_t i = 0; i < input.size(); ++i) wanted[i] = std::sqrt(input[i]) * input[i] + input[i];
  for (const InstructionSet set : test::runnable_instruction_sets()) {
    std::vector<float> out(input.size());
    run_for<RootTimes>(set, out.data(), static_cast<const float*>(input.data()), static_cast<int64_t>(input.size()));
    EXPECT_TRUE(test::same_bits(out, wanted)) << name_of(set);
  }
}

TEST(Dispatch, DividesUp) {
  EXPECT_EQ(divide_up(0, 4), 0);
  EXPECT_EQ(divide_up(1, 4), 1);
  EXPECT_EQ(divide_up(4, 4), 1);
  EXPECT_EQ(divide_up(5, 4), 2);
}

}  // namespace
}  // namespace smpo::kernels::cpu
