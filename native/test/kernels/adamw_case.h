// State, run and comparison for the tests of adamw on CPU and device.
#ifndef SMPO_TEST_KERNELS_ADAMW_CASE_H_
#define SMPO_TEST_KERNELS_ADAMW_CASE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/adamw.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

/// Buffers as vectors; `compute` is empty without a compute copy.
struct AdamWState {
  std::vector<float> parameter, gradient, m, v;
  std::vector<kernels::BFloat16> bf16_copy;
  std::vector<float> f32_copy;

  int64_t elements() const { return static_cast<int64_t>(parameter.size()); }
};

/// A state from the middle of training: moments of both signs, some zero gradients and second moments.
inline AdamWState adamw_state(int64_t elements, uint32_t seed = 1) {
  AdamWState state{.parameter = normal_floats(elements, seed),
                   .gradient = normal_floats(elements, seed + 1, 0, 0.1f),
                   .m = normal_floats(elements, seed + 2, 0, 0.05f),
                   .v = normal_floats(elements, seed + 3, 0, 0.1f),
                   .bf16_copy = {},
                   .f32_copy = {}};
  for (float& value : state.v) value *= value;
  for (size_t i = 0; i < state.v.size(); i += 7) state.gradient[i] = 0;
  for (size_t i = 0; i < state.v.size(); i += 49) state.v[i] = 0;
  return state;
}

inline kernels::AdamWArgs adamw_settings() {
  return {.lr = 1e-3,
          .beta1 = 0.9,
          .beta2 = 0.999,
          .eps = 1e-8,
          .weight_decay = 0.01,
          .bias_correction1 = 1 - std::pow(0.9, 5),
          .bias_correction2 = 1 - std::pow(0.999, 5)};
}

/// Points `args` at the state's own vectors.
inline void attach(kernels::AdamWArgs& args, AdamWState& state) {
  args.elements = state.elements();
  args.parameter = state.parameter.data();
  args.gradient = state.gradient.data();
  args.m = state.m.data();
  args.v = state.v.data();
}

/// Expects `got` to be `before` after one step, within the bounds of adamw.h, and shows that the bounds detect
/// mutations.
inline void expect_step(const AdamWState& before, const AdamWState& got, const kernels::AdamWArgs& settings,
                        double grad_scale) {
  const double u = unit_roundoff(kernels::DType::kF32);
  const auto& s = settings;
  for (size_t i = 0; i < before.parameter.size(); ++i) {
    const double g = grad_scale * static_cast<double>(before.gradient[i]);
    const double m0 = before.m[i];
    const double p0 = before.parameter[i];
    const double m = m0 + (1 - s.beta1) * (g - m0);
    const double v = s.beta2 * static_cast<double>(before.v[i]) + (1 - s.beta2) * g * g;
    const double denominator = std::sqrt(v / s.bias_correction2) + s.eps;
    const double slope = s.lr / s.bias_correction1 / denominator;
    const double p = p0 * (1 - s.lr * s.weight_decay) - slope * m;
    const double m_error = 5 * u * (std::abs(m0) + std::abs(g));
    const auto check = [&](const char* what, double value, double wanted, const Tolerance& tolerance, double scale) {
      ASSERT_TRUE(tolerance.accepts(value, wanted)) << what << "[" << i << "]: " << value << ", wanted " << wanted;
      ASSERT_FALSE(tolerance.accepts(value + 1e-5 * scale, wanted)) << what << "[" << i << "]: the bound is too loose";
    };
    check("m", got.m[i], m, {.absolute = m_error}, std::abs(m0) + std::abs(g));
    // The last bit of a denormal exceeds any relative bound.
    check("v", got.v[i], v, {.relative = 5 * u, .absolute = 0x1p-149}, std::max(v, 1e-30));
    check("parameter", got.parameter[i], p,
          {.absolute = 3 * u * std::abs(p0) + 12 * u * std::abs(slope * m) + slope * m_error},
          std::abs(p0) + slope * (std::abs(m0) + std::abs(g)) + 1e-30);
  }
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_ADAMW_CASE_H_
