// Finite differences of a kernel's reference, whose buffers are f32. With a step of 2^-6, rounding of outputs
// contributes about 1e-5 to a slope, and the third derivative about 1e-4.
#ifndef SMPO_TEST_KERNELS_FINITE_DIFFERENCES_H_
#define SMPO_TEST_KERNELS_FINITE_DIFFERENCES_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/tensor.h"
#include "support/tolerance.h"

namespace smpo::test {

inline constexpr Tolerance kFiniteDifferenceTolerance{.relative = 2e-3, .absolute = 2e-3};

/// d loss / d variable[i] for every i; `loss` reads the variable.
inline std::vector<double> finite_differences(Tensor& variable, const std::function<double()>& loss) {
  constexpr float kStep = 0x1p-6f;
  std::vector<double> slopes;
  for (int64_t i = 0; i < variable.count(); ++i) {
    const auto original = static_cast<float>(variable.at(i));
    variable.set(i, original + kStep);
    const double above = loss(), x_above = variable.at(i);
    variable.set(i, original - kStep);
    const double below = loss(), x_below = variable.at(i);
    variable.set(i, original);
    slopes.push_back((above - below) / (x_above - x_below));
  }
  return slopes;
}

/// Adds the rounding of the reference's output to its dtype to the tolerance of the value.
inline Tolerance against_rounded(Tolerance tolerance, kernels::DType stored) {
  tolerance.relative += unit_roundoff(stored);
  return tolerance;
}

inline std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<float> values;
  for (int64_t i = 0; i < tensor.count(); ++i) values.push_back(static_cast<float>(tensor.at(i)));
  return values;
}

inline std::vector<double> doubles_of(const Tensor& tensor) {
  std::vector<double> values;
  for (int64_t i = 0; i < tensor.count(); ++i) values.push_back(tensor.at(i));
  return values;
}

/// Expects the analytic gradient to agree with the slopes, and shows that an error of 5 % is detected.
inline testing::AssertionResult agrees_with_slopes(const Tensor& gradient, const std::vector<double>& slopes) {
  return matches<float>(floats_of(gradient), slopes, kFiniteDifferenceTolerance, 0.05);
}

inline double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.count(); ++i) sum += a.at(i) * b.at(i);
  return sum;
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_FINITE_DIFFERENCES_H_
