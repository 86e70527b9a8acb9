// Comparison of a kernel's output with a reference in double. A tolerance is derived from the element type and the
// arithmetic that produced the value, never from what happens to pass. Each comparison also shows that it can fail: it
// repeats itself with a mutated output and requires a rejection.
#ifndef SMPO_TEST_SUPPORT_TOLERANCE_H_
#define SMPO_TEST_SUPPORT_TOLERANCE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "kernels/types.h"

namespace smpo::test {

/// Largest relative error of one rounding: 2^-24 in f32, 2^-8 in bf16.
constexpr double unit_roundoff(kernels::DType dtype) { return dtype == kernels::DType::kBF16 ? 0x1p-8 : 0x1p-24; }

/// A value v passes against w if |v - w| <= absolute + relative * |w|. Non-finite values must match in kind and sign.
struct Tolerance {
  double relative = 0;
  double absolute = 0;

  /// Tolerance of a value that results from `roundings` operations in f32 (each adds one unit roundoff of an
  /// intermediate no larger than `scale`, or than the result if scale is 0) and is then stored as `stored`.
  static Tolerance elementwise(int roundings, double scale = 0, kernels::DType stored = kernels::DType::kF32) {
    const double computed = roundings * unit_roundoff(kernels::DType::kF32);
    const double rounded = stored == kernels::DType::kF32 ? 0 : unit_roundoff(stored);
    return {computed + rounded, computed * scale};
  }

  /// Tolerance of a sum of terms in f32: `depth` additions on the longest path from a term to the result, `roundings`
  /// more for each term; `magnitude` is the sum of the terms' absolute values (Higham, Accuracy and Stability,
  /// section 4.2).
  static Tolerance sum(int64_t depth, int roundings, double magnitude) {
    const double n = static_cast<double>(depth + roundings);
    const double u = unit_roundoff(kernels::DType::kF32);
    return {0, n * u / (1 - n * u) * magnitude};
  }

  bool accepts(double value, double wanted) const {
    if (std::isnan(wanted)) return std::isnan(value);
    if (std::isinf(wanted) || std::isinf(value)) return value == wanted;
    return std::abs(value - wanted) <= absolute + relative * std::abs(wanted);  // false for a NaN value
  }
};

/// Compares element by element; reports the number of failures and the worst one.
template <class T>
testing::AssertionResult is_close(std::span<const T> values, std::span<const double> wanted, Tolerance tolerance) {
  if (values.size() != wanted.size()) {
    return testing::AssertionFailure() << values.size() << " values against " << wanted.size();
  }
  size_t failures = 0;
  size_t worst = 0;
  double worst_excess = -1;
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = kernels::to_float(values[i]);
    if (tolerance.accepts(value, wanted[i])) continue;
    ++failures;
    const double error = std::abs(value - wanted[i]);
    const double excess = std::isfinite(error) ? error / (tolerance.absolute + tolerance.relative * std::abs(wanted[i]))
                                               : std::numeric_limits<double>::infinity();
    if (excess > worst_excess) {
      worst_excess = excess;
      worst = i;
    }
  }
  if (failures == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << failures << " of " << values.size() << " values are wrong; worst at [" << worst
                                     << "]: " << static_cast<double>(kernels::to_float(values[worst])) << ", wanted "
                                     << wanted[worst] << " within " << tolerance.absolute << " + " << tolerance.relative
                                     << " * |wanted| (" << worst_excess << " times that)";
}

/// Shows that `is_close` with this tolerance detects a NaN, and an error of `sensitivity` times the root mean square of
/// the expected values, at the first, a middle and the last element.
template <class T>
testing::AssertionResult rejects_mutations(std::span<const T> values, std::span<const double> wanted,
                                           Tolerance tolerance, double sensitivity) {
  if (values.empty()) return testing::AssertionSuccess();
  double squares = 0;
  size_t finite = 0;
  for (const double w : wanted) {
    if (!std::isfinite(w)) continue;
    squares += w * w;
    ++finite;
  }
  const double scale = finite > 0 && squares > 0 ? std::sqrt(squares / static_cast<double>(finite)) : 1;
  std::vector<T> mutated(values.begin(), values.end());
  for (const size_t i : {size_t{0}, values.size() / 2, values.size() - 1}) {
    if (!std::isfinite(wanted[i])) continue;
    const double value = kernels::to_float(values[i]);
    const float changed = static_cast<float>(value + sensitivity * std::max(scale, std::abs(value)));
    for (const float mutation : {changed, std::numeric_limits<float>::quiet_NaN()}) {
      mutated[i] = kernels::from_float<T>(mutation);
      if (is_close<T>(mutated, wanted, tolerance)) {
        return testing::AssertionFailure()
               << "the comparison accepts " << mutation << " for " << wanted[i] << " at [" << i << "]: its tolerance "
               << tolerance.absolute << " + " << tolerance.relative << " * |wanted| is too loose to mean anything";
      }
    }
    mutated[i] = values[i];
  }
  return testing::AssertionSuccess();
}

/// Both of the above; used by tests. `sensitivity` is the mutation that must be detected, relative to the data: by
/// default 0.1 % for f32 and 2 % for bf16.
template <class T>
testing::AssertionResult matches(std::span<const T> values, std::span<const double> wanted, Tolerance tolerance,
                                 double sensitivity = kernels::kDTypeOf<T> == kernels::DType::kF32 ? 1e-3 : 2e-2) {
  testing::AssertionResult close = is_close<T>(values, wanted, tolerance);
  return close ? rejects_mutations<T>(values, wanted, tolerance, sensitivity) : close;
}

template <class T>
testing::AssertionResult matches(const std::vector<T>& values, const std::vector<double>& wanted, Tolerance tolerance) {
  return matches<T>(std::span<const T>(values), std::span<const double>(wanted), tolerance);
}

/// Whether the bits are equal, element by element: -0 differs from 0, and a NaN equals itself.
template <class T>
testing::AssertionResult same_bits(std::span<const T> values, std::span<const T> wanted) {
  if (values.size() != wanted.size()) {
    return testing::AssertionFailure() << values.size() << " values against " << wanted.size();
  }
  const auto* a = reinterpret_cast<const unsigned char*>(values.data());
  const auto* b = reinterpret_cast<const unsigned char*>(wanted.data());
  for (size_t byte = 0; byte < values.size_bytes(); ++byte) {
    if (a[byte] != b[byte]) {
      const size_t i = byte / sizeof(T);
      return testing::AssertionFailure() << "bits differ first at [" << i
                                         << "]: " << static_cast<double>(kernels::to_float(values[i])) << ", wanted "
                                         << static_cast<double>(kernels::to_float(wanted[i]));
    }
  }
  return testing::AssertionSuccess();
}

template <class T>
testing::AssertionResult same_bits(const std::vector<T>& values, const std::vector<T>& wanted) {
  return same_bits<T>(std::span<const T>(values), std::span<const T>(wanted));
}

}  // namespace smpo::test

#endif  // SMPO_TEST_SUPPORT_TOLERANCE_H_
