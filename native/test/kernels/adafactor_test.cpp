#include "kernels/adafactor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/adafactor_case.h"
#include "support/red_zone.h"
#include "support/samples.h"
#include "support/threads.h"
#include "support/tolerance.h"

namespace smpo::kernels {
namespace {

using cpu::InstructionSet;
using test::AdafactorState;

enum class Copy { kNone, kF32, kBF16 };

/// A state whose buffers lie between red zones.
struct Zoned {
  Zoned(const AdafactorState& s, Copy copy, test::Flush flush)
      : parameter(s.parameter, flush),
        gradient(s.gradient, flush),
        m(s.m, flush),
        row(s.row, flush),
        column(s.column, flush),
        v(s.v, flush),
        bf16_copy(copy == Copy::kBF16 ? s.parameter.size() : 0, flush),
        f32_copy(copy == Copy::kF32 ? s.parameter.size() : 0, flush) {}

  bool intact() const {
    return parameter.intact() && gradient.intact() && m.intact() && row.intact() && column.intact() && v.intact() &&
           bf16_copy.intact() && f32_copy.intact();
  }

  test::RedZone<float> parameter, gradient, m, row, column, v;
  test::RedZone<BFloat16> bf16_copy;
  test::RedZone<float> f32_copy;
};

AdafactorState run_cpu(const AdafactorState& before, AdafactorArgs args, Copy copy,
                       InstructionSet set = cpu::best_instruction_set(), test::Flush flush = test::Flush::kStart) {
  Zoned zoned(before, copy, flush);
  zoned.gradient.freeze();
  test::attach(args, zoned, before.shape);
  // The workspace is always aligned, because it holds doubles.
  test::RedZone<unsigned char> workspace(static_cast<size_t>(adafactor_workspace_bytes(before.shape)),
                                         test::Flush::kStart);
  args.workspace = workspace.data();
  if (copy != Copy::kNone) {
    args.compute =
        copy == Copy::kF32 ? static_cast<void*>(zoned.f32_copy.data()) : static_cast<void*>(zoned.bf16_copy.data());
    args.compute_dtype = copy == Copy::kF32 ? DType::kF32 : DType::kBF16;
  }
  cpu::adafactor(args, set);
  EXPECT_TRUE(zoned.intact() && workspace.intact());
  return {.shape = before.shape,
          .parameter = zoned.parameter.vector(),
          .gradient = zoned.gradient.vector(),
          .m = zoned.m.vector(),
          .row = zoned.row.vector(),
          .column = zoned.column.vector(),
          .v = zoned.v.vector(),
          .bf16_copy = zoned.bf16_copy.vector(),
          .f32_copy = zoned.f32_copy.vector()};
}

void expect_same_bits(const AdafactorState& got, const AdafactorState& wanted) {
  EXPECT_TRUE(test::same_bits(got.parameter, wanted.parameter));
  EXPECT_TRUE(test::same_bits(got.m, wanted.m));
  EXPECT_TRUE(test::same_bits(got.row, wanted.row));
  EXPECT_TRUE(test::same_bits(got.column, wanted.column));
  EXPECT_TRUE(test::same_bits(got.v, wanted.v));
  EXPECT_TRUE(test::same_bits(got.bf16_copy, wanted.bf16_copy));
  EXPECT_TRUE(test::same_bits(got.f32_copy, wanted.f32_copy));
}

TEST(AdafactorReference, FirstStepOfAVectorMovesEachElementByTheLearningRate) {
  // v = g^2 with beta2 = 0, so the update is the sign of g, whose root mean square is 1 and is not clipped.
  AdafactorState state{.shape = {.columns = 4, .factored = false},
                       .parameter = {1, 1, 1, 1},
                       .gradient = {3, -0.5f, 2, -7},
                       .m = {},
                       .row = {},
                       .column = {},
                       .v = {0, 0, 0, 0},
                       .bf16_copy = {},
                       .f32_copy = {}};
  AdafactorArgs args{.lr = 0.25};
  test::attach(args, state, state.shape);
  reference::adafactor(args);
  EXPECT_TRUE(test::matches(state.parameter, {0.75, 1.25, 0.75, 1.25}, test::Tolerance{.relative = 1e-7}));
}

TEST(AdafactorReference, AMatrixOfRankOneIsFactoredExactly) {
  // With g = a b^T the factors yield 1 / |g| for every element, so the update again consists of signs.
  AdafactorState state{.shape = {.rows = 2, .columns = 3},
                       .parameter = std::vector<float>(6, 1),
                       .gradient = {1, -2, 4, 3, -6, 12},
                       .m = {},
                       .row = {0, 0},
                       .column = {0, 0, 0},
                       .v = {},
                       .bf16_copy = {},
                       .f32_copy = {}};
  AdafactorArgs args{.lr = 0.25};
  test::attach(args, state, state.shape);
  reference::adafactor(args);
  EXPECT_TRUE(test::matches(state.parameter, {0.75, 1.25, 0.75, 0.75, 1.25, 0.75}, test::Tolerance{.relative = 1e-7}));
  EXPECT_TRUE(test::matches(state.row, {21.0 / 3, 189.0 / 3}, test::Tolerance{.relative = 1e-7}));
  EXPECT_TRUE(test::matches(state.column, {5, 20, 80}, test::Tolerance{.relative = 1e-7}));
}

TEST(AdafactorCpu, AgreesWithTheReference) {
  for (const AdafactorShape& shape : test::adafactor_shapes()) {
    for (const bool first_moment : {false, true}) {
      for (const bool scaled : {false, true}) {
        for (const float scale : {1.0f, 0.3f}) {
          std::ostringstream title;
          test::name(title, shape) << (first_moment ? " m" : "") << (scaled ? " scaled " : " ") << scale;
          SCOPED_TRACE(title.str());
          const AdafactorState before = test::adafactor_state(shape, first_moment);
          AdafactorArgs args = test::adafactor_settings(scaled);
          args.grad_scale = &scale;
          test::expect_step(before, run_cpu(before, args, Copy::kNone), args);
        }
      }
    }
  }
}

TEST(AdafactorCpu, EveryInstructionSetAndAlignmentGivesTheSameBits) {
  for (const AdafactorShape& shape : test::adafactor_shapes()) {
    const AdafactorState before = test::adafactor_state(shape, shape.inner == 1);
    for (const Copy copy : {Copy::kNone, Copy::kF32, Copy::kBF16}) {
      const AdafactorArgs args = test::adafactor_settings(true);
      const AdafactorState wanted = run_cpu(before, args, copy, InstructionSet::kBaseline);
      for (const InstructionSet set : test::runnable_instruction_sets()) {
        for (const test::Flush flush : {test::Flush::kStart, test::Flush::kEnd}) {
          std::ostringstream title;
          test::name(title, shape) << ' ' << name_of(set);
          SCOPED_TRACE(title.str());
          expect_same_bits(run_cpu(before, args, copy, set, flush), wanted);
        }
      }
    }
  }
}

TEST(AdafactorCpu, EveryThreadCountGivesTheSameBits) {
  for (const AdafactorShape& shape : {AdafactorShape{.rows = 500, .columns = 300},
                                      {.outer = 40, .rows = 3, .columns = 3, .inner = 100},
                                      {.columns = 100003, .factored = false}}) {
    const AdafactorState before = test::adafactor_state(shape, true);
    const AdafactorState wanted = run_cpu(before, test::adafactor_settings(true), Copy::kBF16);
    for (const int threads : {1, 2, 3, 8}) {
      const test::ThreadScope scope(threads);
      SCOPED_TRACE(threads);
      expect_same_bits(run_cpu(before, test::adafactor_settings(true), Copy::kBF16), wanted);
    }
  }
}

TEST(AdafactorCpu, CopyIsTheParameterRoundedToNearestEven) {
  const AdafactorState before = test::adafactor_state({.rows = 150, .columns = 131}, false);
  const AdafactorState bf16 = run_cpu(before, test::adafactor_settings(false), Copy::kBF16);
  const AdafactorState f32 = run_cpu(before, test::adafactor_settings(false), Copy::kF32);
  EXPECT_TRUE(test::same_bits(f32.f32_copy, f32.parameter));
  ASSERT_EQ(bf16.bf16_copy.size(), bf16.parameter.size());
  for (size_t i = 0; i < bf16.parameter.size(); ++i) {
    ASSERT_EQ(bf16.bf16_copy[i].bits, to_bfloat16(bf16.parameter[i]).bits) << i;
  }
}

TEST(AdafactorCpu, WritesNothingWhenTheGradientIsNotFinite) {
  for (const AdafactorShape& shape : {AdafactorShape{.rows = 70, .columns = 9}, {.columns = 11, .factored = false}}) {
    AdafactorState before = test::adafactor_state(shape, true);
    before.gradient[3] = std::numeric_limits<float>::infinity();
    const int32_t finite = 0;
    AdafactorArgs args = test::adafactor_settings(true);
    args.finite = &finite;
    AdafactorState after = run_cpu(before, args, Copy::kBF16);
    for (const BFloat16 value : after.bf16_copy) ASSERT_EQ(value.bits, 0xA5A5) << "the copy was written";
    after.bf16_copy.clear();
    expect_same_bits(after, before);
  }
}

// ---- ten steps compared with transformers' Adafactor in float64 (tools/golden/adafactor.py)

struct Golden {
  std::string name;
  AdafactorArgs settings;
  double decay_rate = 0;
  bool relative_step = false;
  bool warmup_init = false;
  struct Parameter {
    std::string kind;
    std::vector<int64_t> shape;
    std::map<int64_t, std::map<std::string, std::vector<double>>> steps;
  };
  std::vector<Parameter> parameters;
};

std::vector<Golden> read_goldens() {
  std::ifstream file(std::string(SMPO_SOURCE_DIR) + "/native/test/golden/adafactor.txt");
  EXPECT_TRUE(file) << "native/test/golden/adafactor.txt cannot be read";
  std::vector<Golden> goldens;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    if (!(words >> kind) || kind == "#") continue;
    if (kind == "setting") {
      Golden golden;
      AdafactorArgs& s = golden.settings;
      words >> golden.name >> s.lr >> s.beta1 >> s.eps >> s.parameter_eps >> s.clip_threshold >> golden.decay_rate >>
          s.weight_decay >> s.scale_parameter >> golden.relative_step >> golden.warmup_init;
      goldens.push_back(golden);
    } else if (kind == "tensor") {
      Golden::Parameter parameter;
      words >> parameter.kind;
      for (int64_t size; words >> size;) parameter.shape.push_back(size);
      goldens.back().parameters.push_back(parameter);
    } else {
      int64_t step = 0;
      words >> step;
      auto& values = goldens.back().parameters.back().steps[step][kind];
      for (double value; words >> value;) values.push_back(value);
    }
  }
  return goldens;
}

// The inputs of tools/golden/adafactor.py, by row-major index: multiples of a power of two, so exact in float.
float golden_parameter(int64_t i) { return static_cast<float>((i * 31 + 7) % 97 - 48) / 32; }
float golden_gradient(int64_t i, int64_t step) {
  return i % 5 == 4 ? 0.0f : static_cast<float>((i * 7919 + step * 104729 + 13) % 2001 - 1000) / 1024;
}

AdafactorShape shape_of(const std::vector<int64_t>& sizes) {
  if (sizes.size() == 1) return {.columns = sizes[0], .factored = false};
  if (sizes.size() == 2) return {.rows = sizes[0], .columns = sizes[1]};
  return {.outer = sizes[0], .rows = sizes[2], .columns = sizes[3], .inner = sizes[1]};
}

/// Converts from [O,length,I], the memory layout, to [O,I,length], the checkpoint's layout.
std::vector<float> checkpoint_order(const std::vector<float>& values, int64_t outer, int64_t length, int64_t inner) {
  std::vector<float> ordered(values.size());
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t k = 0; k < length; ++k) {
      for (int64_t i = 0; i < inner; ++i) {
        ordered[static_cast<size_t>((o * inner + i) * length + k)] =
            values[static_cast<size_t>((o * length + k) * inner + i)];
      }
    }
  }
  return ordered;
}

using Kernel = void (*)(const AdafactorArgs&);

void expect_golden(Kernel kernel) {
  const std::vector<Golden> goldens = read_goldens();
  ASSERT_EQ(goldens.size(), 4u);
  const double u = test::unit_roundoff(DType::kF32);
  for (const Golden& golden : goldens) {
    ASSERT_EQ(golden.parameters.size(), 4u);
    for (const Golden::Parameter& parameter : golden.parameters) {
      const AdafactorShape shape = shape_of(parameter.shape);
      const int64_t matrix = shape.rows * shape.columns;
      const auto n = static_cast<size_t>(shape.elements());
      // Position of row-major element i.
      const auto place = [&](int64_t i) {
        if (!shape.factored) return static_cast<size_t>(i);
        const int64_t batch = i / matrix;
        return static_cast<size_t>((batch / shape.inner * matrix + i % matrix) * shape.inner + batch % shape.inner);
      };
      AdafactorState state{.shape = shape,
                           .parameter = std::vector<float>(n),
                           .gradient = std::vector<float>(n),
                           .m = std::vector<float>(golden.settings.beta1 > 0 ? n : 0),
                           .row = std::vector<float>(static_cast<size_t>(shape.row_elements())),
                           .column = std::vector<float>(static_cast<size_t>(shape.column_elements())),
                           .v = std::vector<float>(shape.factored ? 0 : n),
                           .bf16_copy = {},
                           .f32_copy = {}};
      std::vector<double> workspace(static_cast<size_t>(adafactor_workspace_bytes(shape)) / 8 + 1);
      for (int64_t i = 0; i < shape.elements(); ++i) state.parameter[place(i)] = golden_parameter(i);
      for (int64_t step = 1; step <= 10; ++step) {
        for (int64_t i = 0; i < shape.elements(); ++i) state.gradient[place(i)] = golden_gradient(i, step);
        AdafactorArgs args = golden.settings;
        const auto number = static_cast<double>(step);
        args.beta2 = 1 - std::pow(number, golden.decay_rate);
        if (golden.relative_step) args.lr = std::min(golden.warmup_init ? 1e-6 * number : 1e-2, 1 / std::sqrt(number));
        args.workspace = workspace.data();
        test::attach(args, state, shape);
        kernel(args);
        const auto wanted = parameter.steps.find(step);
        if (wanted == parameter.steps.end()) continue;
        SCOPED_TRACE(golden.name + ", " + parameter.kind + ", step " + std::to_string(step));
        const auto check = [&](const char* what, const std::vector<float>& got, test::Tolerance tolerance) {
          ASSERT_TRUE(wanted->second.contains(what)) << what;
          EXPECT_TRUE(test::matches(got, wanted->second.at(what), tolerance)) << what;
        };
        // Each step adds the errors of adafactor.h: 4u of a second moment; for the parameter 3u |p| and 24u of an
        // update, which is at most 8 lr' here. lr' is at most 3 lr, since the parameters' rms is below 1 and
        // parameter_eps at most 3. Values in the file have eleven digits.
        const test::Tolerance moment{.relative = 4 * u * number + 1e-10};
        const double largest = 8 * 3 * args.lr;
        const test::Tolerance weight{.absolute = u * number * (3 * 1.6 + 30 * largest)};
        size_t checked = 1;
        check("parameter", checkpoint_order(state.parameter, shape.outer, matrix, shape.inner), weight);
        if (shape.factored) {
          check("exp_avg_sq_row", checkpoint_order(state.row, shape.outer, shape.rows, shape.inner), moment);
          check("exp_avg_sq_col", checkpoint_order(state.column, shape.outer, shape.columns, shape.inner), moment);
          checked += 2;
        } else {
          check("exp_avg_sq", state.v, moment);
          ++checked;
        }
        if (!state.m.empty()) {
          // A step's errors decay with beta1: those of x, which is at most 3 lr here, and three roundings of m <= x.
          const double fading = 26 + 3 / (1 - args.beta1);
          check("exp_avg", checkpoint_order(state.m, shape.outer, matrix, shape.inner),
                {.absolute = fading * u * 3 * args.lr});
          ++checked;
        }
        EXPECT_EQ(checked, wanted->second.size()) << "a kind of value was not compared";
      }
    }
  }
}

TEST(AdafactorGolden, ReferenceIsTransformers) {
  expect_golden([](const AdafactorArgs& args) { reference::adafactor(args); });
}

TEST(AdafactorGolden, CpuIsTransformers) {
  expect_golden([](const AdafactorArgs& args) { cpu::adafactor(args); });
}

}  // namespace
}  // namespace smpo::kernels
