// State and comparison for the tests of adafactor on CPU and device.
#ifndef SMPO_TEST_KERNELS_ADAFACTOR_CASE_H_
#define SMPO_TEST_KERNELS_ADAFACTOR_CASE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <vector>

#include "kernels/adafactor.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

/// Buffers as vectors. Those that a setting does not use are empty: m, row and column, or v.
struct AdafactorState {
  kernels::AdafactorShape shape;
  std::vector<float> parameter, gradient, m, row, column, v;
  std::vector<kernels::BFloat16> bf16_copy;
  std::vector<float> f32_copy;
};

/// Matrices, filters (I > 1), batches of both, and vectors: single elements, tails, several chunks and blocks of rows.
inline std::vector<kernels::AdafactorShape> adafactor_shapes() {
  return {{.rows = 1, .columns = 1},
          {.rows = 5, .columns = 7},
          {.rows = 1, .columns = 33},
          {.rows = 33, .columns = 1},
          {.rows = 64, .columns = 32},
          {.rows = 65, .columns = 31},
          {.rows = 300, .columns = 129},
          {.outer = 3, .rows = 2, .columns = 5},
          {.outer = 2, .rows = 70, .columns = 9},
          {.outer = 3, .rows = 3, .columns = 2, .inner = 4},
          {.outer = 2, .rows = 3, .columns = 3, .inner = 65},
          {.outer = 2, .rows = 67, .columns = 3, .inner = 2},
          {.outer = 4, .inner = 6},
          {.outer = 5, .inner = 200},
          {.outer = 7, .rows = 3, .columns = 3, .inner = 320},
          {.columns = 0, .factored = false},
          {.columns = 1, .factored = false},
          {.columns = 11, .factored = false},
          {.columns = 16385, .factored = false},
          {.columns = 40000, .factored = false}};
}

inline std::ostream& name(std::ostream& out, const kernels::AdafactorShape& s) {
  return out << '[' << s.outer << ',' << s.rows << ',' << s.columns << ',' << s.inner << ']'
             << (s.factored ? "" : " vector");
}

/// A state from the middle of training, with some zero gradients.
inline AdafactorState adafactor_state(const kernels::AdafactorShape& shape, bool first_moment, uint32_t seed = 1) {
  const int64_t elements = shape.elements();
  const auto squares = [](std::vector<float> values) {
    for (float& value : values) value *= value;
    return values;
  };
  AdafactorState state{.shape = shape,
                       .parameter = normal_floats(elements, seed),
                       .gradient = normal_floats(elements, seed + 1, 0, 0.1f),
                       .m = normal_floats(first_moment ? elements : 0, seed + 2, 0, 0.001f),
                       .row = squares(normal_floats(shape.row_elements(), seed + 3, 0, 0.1f)),
                       .column = squares(normal_floats(shape.column_elements(), seed + 4, 0, 0.1f)),
                       .v = squares(normal_floats(shape.factored ? 0 : elements, seed + 5, 0, 0.1f)),
                       .bf16_copy = {},
                       .f32_copy = {}};
  for (size_t i = 3; i < state.gradient.size(); i += 7) state.gradient[i] = 0;
  return state;
}

/// Step 5 with the defaults of transformers except for the learning rate. `scaled`: the rate is scaled by the
/// parameter, and the update exceeds the clip threshold.
inline kernels::AdafactorArgs adafactor_settings(bool scaled) {
  return {.lr = 1e-2,
          .beta1 = 0.9,
          .beta2 = 1 - std::pow(5, -0.8),
          .eps = 1e-30,
          .parameter_eps = 1e-3,
          .clip_threshold = scaled ? 0.3 : 1.0,
          .weight_decay = scaled ? 0.05 : 0.0,
          .scale_parameter = scaled};
}

/// Points `args` at the buffers themselves: vectors, red zones or device memory.
template <class State>
void attach(kernels::AdafactorArgs& args, State& state, const kernels::AdafactorShape& shape) {
  const auto data = [](auto& buffer) { return buffer.size() == 0 ? nullptr : buffer.data(); };
  args.shape = shape;
  args.parameter = state.parameter.data();
  args.gradient = state.gradient.data();
  args.m = data(state.m);
  args.row = data(state.row);
  args.column = data(state.column);
  args.v = data(state.v);
}

/// Expects `got` to be `before` after one step, within the bounds of adafactor.h, and shows that the bounds detect
/// mutations.
inline void expect_step(const AdafactorState& before, const AdafactorState& got, kernels::AdafactorArgs settings) {
  AdafactorState wanted = before;
  attach(settings, wanted, before.shape);
  kernels::reference::adafactor(settings);
  const double u = unit_roundoff(kernels::DType::kF32);
  const auto check = [&](const char* what, size_t i, double value, double reference, double allowed, double scale) {
    const Tolerance tolerance{.relative = 0, .absolute = allowed};
    ASSERT_TRUE(tolerance.accepts(value, reference)) << what << "[" << i << "]: " << value << ", wanted " << reference;
    ASSERT_FALSE(tolerance.accepts(value + 1e-4 * scale, reference)) << what << "[" << i << "]: too loose a bound";
  };
  // One rounding more than in adafactor.h, for the reference.
  const auto moments = [&](const char* what, const std::vector<float>& values, const std::vector<float>& reference) {
    ASSERT_EQ(values.size(), reference.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const double w = reference[i];
      check(what, i, values[i], w, 5 * u * w, w);
    }
  };
  moments("row", got.row, wanted.row);
  moments("column", got.column, wanted.column);
  moments("v", got.v, wanted.v);
  for (size_t i = 0; i < wanted.parameter.size(); ++i) {
    const double p0 = before.parameter[i];
    double x = std::abs(p0 - static_cast<double>(wanted.parameter[i])) + 0.1 * std::abs(p0);
    if (!wanted.m.empty()) {
      const double m0 = before.m[i];
      const double m = wanted.m[i];
      x = std::abs(m0) + std::abs((m - settings.beta1 * m0) / (1 - settings.beta1));
      check("m", i, got.m[i], m, 27 * u * x, x + 1e-30);
    }
    check("parameter", i, got.parameter[i], wanted.parameter[i], 4 * u * std::abs(p0) + 27 * u * x,
          std::abs(p0) + x + 1e-30);
  }
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_ADAFACTOR_CASE_H_
