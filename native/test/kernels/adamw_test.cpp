#include "kernels/adamw.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/adamw_case.h"
#include "support/red_zone.h"
#include "support/samples.h"
#include "support/threads.h"
#include "support/tolerance.h"

namespace smpo::kernels {
namespace {

using cpu::InstructionSet;
using test::AdamWState;

enum class Copy { kNone, kF32, kBF16 };

/// Takes one step on copies of the state's buffers between red zones.
AdamWState run_cpu(const AdamWState& before, AdamWArgs args, Copy copy,
                   InstructionSet set = cpu::best_instruction_set(), test::Flush flush = test::Flush::kEnd) {
  test::RedZone<float> parameter(before.parameter, flush), gradient(before.gradient, flush), m(before.m, flush),
      v(before.v, flush);
  test::RedZone<BFloat16> bf16_copy(copy == Copy::kBF16 ? before.parameter.size() : 0, flush);
  test::RedZone<float> f32_copy(copy == Copy::kF32 ? before.parameter.size() : 0, flush);
  gradient.freeze();
  args.elements = before.elements();
  args.parameter = parameter.data();
  args.gradient = gradient.data();
  args.m = m.data();
  args.v = v.data();
  if (copy != Copy::kNone) {
    args.compute = copy == Copy::kF32 ? static_cast<void*>(f32_copy.data()) : bf16_copy.data();
    args.compute_dtype = copy == Copy::kF32 ? DType::kF32 : DType::kBF16;
  }
  cpu::adamw(args, set);
  EXPECT_TRUE(parameter.intact() && gradient.intact() && m.intact() && v.intact() && bf16_copy.intact() &&
              f32_copy.intact());
  return {.parameter = parameter.vector(),
          .gradient = gradient.vector(),
          .m = m.vector(),
          .v = v.vector(),
          .bf16_copy = bf16_copy.vector(),
          .f32_copy = f32_copy.vector()};
}

void expect_same_bits(const AdamWState& got, const AdamWState& wanted) {
  EXPECT_TRUE(test::same_bits(got.parameter, wanted.parameter));
  EXPECT_TRUE(test::same_bits(got.m, wanted.m));
  EXPECT_TRUE(test::same_bits(got.v, wanted.v));
  EXPECT_TRUE(test::same_bits(got.bf16_copy, wanted.bf16_copy));
  EXPECT_TRUE(test::same_bits(got.f32_copy, wanted.f32_copy));
}

TEST(AdamWReference, FirstStepMovesEachParameterByTheLearningRate) {
  // m_hat = g and v_hat = g^2 at the first step, so the update is lr * sign(g) up to eps.
  AdamWState state{.parameter = {1, 1, 1},
                   .gradient = {3, -0.5f, 0},
                   .m = {0, 0, 0},
                   .v = {0, 0, 0},
                   .bf16_copy = {},
                   .f32_copy = {}};
  AdamWArgs args{.lr = 0.25, .beta1 = 0.9, .beta2 = 0.99, .bias_correction1 = 1 - 0.9, .bias_correction2 = 1 - 0.99};
  test::attach(args, state);
  reference::adamw(args);
  EXPECT_TRUE(test::matches(state.parameter, {0.75, 1.25, 1}, test::Tolerance{.relative = 4e-8}));
}

TEST(AdamWReference, IsWithinTheBoundOfOneRounding) {
  const AdamWState before = test::adamw_state(1000);
  AdamWState after = before;
  AdamWArgs args = test::adamw_settings();
  test::attach(args, after);
  reference::adamw(args);
  test::expect_step(before, after, args, 1);
}

TEST(AdamWCpu, AgreesWithTheDefinition) {
  for (const int64_t elements : test::awkward_sizes()) {
    for (const float scale : {1.0f, 0.3f}) {
      SCOPED_TRACE(testing::Message() << elements << " elements, scale " << scale);
      const AdamWState before = test::adamw_state(elements);
      AdamWArgs args = test::adamw_settings();
      args.grad_scale = &scale;
      test::expect_step(before, run_cpu(before, args, Copy::kNone), args, static_cast<double>(scale));
    }
  }
}

TEST(AdamWCpu, EveryInstructionSetAndAlignmentGivesTheSameBits) {
  for (const int64_t elements : test::awkward_sizes()) {
    const AdamWState before = test::adamw_state(elements);
    for (const Copy copy : {Copy::kNone, Copy::kF32, Copy::kBF16}) {
      const AdamWState wanted = run_cpu(before, test::adamw_settings(), copy, InstructionSet::kBaseline);
      for (const InstructionSet set : test::runnable_instruction_sets()) {
        for (const test::Flush flush : {test::Flush::kStart, test::Flush::kEnd}) {
          SCOPED_TRACE(testing::Message() << elements << " elements, " << name_of(set));
          expect_same_bits(run_cpu(before, test::adamw_settings(), copy, set, flush), wanted);
        }
      }
    }
  }
}

TEST(AdamWCpu, EveryThreadCountGivesTheSameBits) {
  const AdamWState before = test::adamw_state(100003);
  const AdamWState wanted = run_cpu(before, test::adamw_settings(), Copy::kBF16);
  for (const int threads : {1, 2, 3, 8}) {
    const test::ThreadScope scope(threads);
    SCOPED_TRACE(threads);
    expect_same_bits(run_cpu(before, test::adamw_settings(), Copy::kBF16), wanted);
  }
}

TEST(AdamWCpu, CopyIsTheParameterRoundedToNearestEven) {
  const AdamWState before = test::adamw_state(70001);
  const AdamWState bf16 = run_cpu(before, test::adamw_settings(), Copy::kBF16);
  const AdamWState f32 = run_cpu(before, test::adamw_settings(), Copy::kF32);
  EXPECT_TRUE(test::same_bits(f32.f32_copy, f32.parameter));
  ASSERT_EQ(bf16.bf16_copy.size(), bf16.parameter.size());
  for (size_t i = 0; i < bf16.parameter.size(); ++i) {
    ASSERT_EQ(bf16.bf16_copy[i].bits, to_bfloat16(bf16.parameter[i]).bits) << i;
  }
}

TEST(AdamWCpu, WritesNothingWhenTheGradientIsNotFinite) {
  AdamWState before = test::adamw_state(20000);
  before.gradient[3] = std::numeric_limits<float>::infinity();
  const int32_t finite = 0;
  AdamWArgs args = test::adamw_settings();
  args.finite = &finite;
  const AdamWState after = run_cpu(before, args, Copy::kBF16);
  EXPECT_TRUE(test::same_bits(after.parameter, before.parameter));
  EXPECT_TRUE(test::same_bits(after.m, before.m));
  EXPECT_TRUE(test::same_bits(after.v, before.v));
  for (const BFloat16 value : after.bf16_copy) ASSERT_EQ(value.bits, 0xA5A5) << "the copy was written";
}

TEST(AdamWCpu, StepsWhenTheFlagIsSet) {
  const AdamWState before = test::adamw_state(100);
  const int32_t finite = 1;
  AdamWArgs args = test::adamw_settings();
  args.finite = &finite;
  expect_same_bits(run_cpu(before, args, Copy::kBF16), run_cpu(before, test::adamw_settings(), Copy::kBF16));
}

// ---- twenty steps compared with torch.optim.AdamW in float64 (tools/golden/adamw.py)

struct Golden {
  std::string name;
  AdamWArgs settings;
  float grad_scale = 1;
  int64_t elements = 0;
  struct Step {
    int64_t step;
    std::vector<double> parameter, m, v;
  };
  std::vector<Step> steps;
};

std::vector<Golden> read_goldens() {
  std::ifstream file(std::string(SMPO_SOURCE_DIR) + "/native/test/golden/adamw.txt");
  EXPECT_TRUE(file) << "native/test/golden/adamw.txt cannot be read";
  std::vector<Golden> goldens;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    if (!(words >> kind) || kind == "#") continue;
    if (kind == "setting") {
      Golden golden;
      words >> golden.name >> golden.settings.lr >> golden.settings.beta1 >> golden.settings.beta2 >>
          golden.settings.eps >> golden.settings.weight_decay >> golden.grad_scale >> golden.elements;
      goldens.push_back(golden);
      continue;
    }
    int64_t step = 0;
    words >> step;
    Golden& golden = goldens.back();
    if (golden.steps.empty() || golden.steps.back().step != step) golden.steps.push_back({step, {}, {}, {}});
    std::vector<double>& values = kind == "parameter" ? golden.steps.back().parameter
                                  : kind == "m"       ? golden.steps.back().m
                                                      : golden.steps.back().v;
    for (double value; words >> value;) values.push_back(value);
  }
  return goldens;
}

// The inputs of tools/golden/adamw.py: multiples of a power of two, so exact in float.
float golden_parameter(int64_t i) { return static_cast<float>((i * 31 + 7) % 97 - 48) / 32; }
float golden_gradient(int64_t i, int64_t step) {
  return i % 5 == 4 ? 0.0f : static_cast<float>((i * 7919 + step * 104729 + 13) % 2001 - 1000) / 1024;
}

using Kernel = void (*)(const AdamWArgs&);

void expect_golden(Kernel kernel) {
  const std::vector<Golden> goldens = read_goldens();
  ASSERT_EQ(goldens.size(), 5u);
  const double u = test::unit_roundoff(DType::kF32);
  for (const Golden& golden : goldens) {
    const auto n = static_cast<size_t>(golden.elements);
    AdamWState state{.parameter = std::vector<float>(n),
                     .gradient = std::vector<float>(n),
                     .m = std::vector<float>(n),
                     .v = std::vector<float>(n),
                     .bf16_copy = {},
                     .f32_copy = {}};
    for (size_t i = 0; i < n; ++i) state.parameter[i] = golden_parameter(static_cast<int64_t>(i));
    size_t next = 0;
    for (int64_t step = 1; step <= 20; ++step) {
      for (size_t i = 0; i < n; ++i) state.gradient[i] = golden_gradient(static_cast<int64_t>(i), step);
      AdamWArgs args = golden.settings;
      args.grad_scale = &golden.grad_scale;
      args.bias_correction1 = 1 - std::pow(args.beta1, static_cast<double>(step));
      args.bias_correction2 = 1 - std::pow(args.beta2, static_cast<double>(step));
      test::attach(args, state);
      kernel(args);
      if (next < golden.steps.size() && golden.steps[next].step == step) {
        SCOPED_TRACE(golden.name + ", step " + std::to_string(step));
        const Golden::Step& wanted = golden.steps[next++];
        const auto steps = static_cast<double>(step);
        // Rounding errors of each step: for m, 1u of the sum, which is at most (1 - beta1^step) max |g|, and 4u of the
        // increment, at most (1 - beta1) 2 max |g|; for v, 5u v; for the parameter, 3u |p| and those of an update,
        // which is at most 8 lr here.
        const double largest_m = golden.grad_scale * (args.bias_correction1 + 8 * (1 - args.beta1));
        EXPECT_TRUE(test::matches(state.m, wanted.m, {.absolute = u * steps * largest_m}));
        EXPECT_TRUE(test::matches(state.v, wanted.v, {.relative = 5 * u * steps, .absolute = 1e-30}));
        EXPECT_TRUE(
            test::matches(state.parameter, wanted.parameter, {.absolute = u * steps * (3 * 1.5 + 8 * args.lr * 30)}));
      }
    }
    EXPECT_EQ(next, golden.steps.size());
  }
}

TEST(AdamWGolden, ReferenceIsTorch) {
  expect_golden([](const AdamWArgs& args) { reference::adamw(args); });
}

TEST(AdamWGolden, CpuIsTorch) {
  expect_golden([](const AdamWArgs& args) { cpu::adamw(args); });
}

}  // namespace
}  // namespace smpo::kernels
