// Comparison of tensors by relative L2 error, which also shows that it can fail.
#ifndef SMPO_TEST_TAPE_COMPARE_H_
#define SMPO_TEST_TAPE_COMPARE_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace smpo::tape::test {

/// Half the distance from 1 to the next number: the relative error of one rounding.
inline double rounding_error(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return 0x1p-8;
    case at::kDouble:
      return 0x1p-53;
    default:
      return 0x1p-24;
  }
}

/// |value - wanted| / |wanted| in f64; where wanted is all zeros, |value|. NaN counts as infinite.
inline double relative_error(const at::Tensor& value, const at::Tensor& wanted) {
  const at::Tensor w = wanted.detach().to(at::kDouble);
  const double norm = w.norm().item<double>();
  const double error = (value.detach().to(at::kDouble) - w).norm().item<double>() / (norm > 0 ? norm : 1.0);
  return std::isnan(error) ? INFINITY : error;
}

/// Passes within `tolerance`, provided that the comparison rejects the value with a NaN and with its largest element
/// changed by five tolerances of the whole norm.
inline testing::AssertionResult matches(const at::Tensor& value, const at::Tensor& wanted, double tolerance) {
  if (value.sizes() != wanted.sizes()) {
    return testing::AssertionFailure() << "shape " << value.sizes() << ", wanted " << wanted.sizes();
  }
  const double error = relative_error(value, wanted);
  if (!(error <= tolerance)) {
    return testing::AssertionFailure() << "relative error " << error << ", tolerance " << tolerance;
  }
  const double norm = wanted.detach().to(at::kDouble).norm().item<double>();
  at::Tensor mutated = value.detach().to(at::kDouble).contiguous().clone();
  at::Tensor flat = mutated.view({-1});
  const int64_t largest = flat.abs().argmax().item<int64_t>();
  const double original = flat[largest].item<double>();
  for (const double mutation : {original + 5 * tolerance * (norm > 0 ? norm : 1.0), double(NAN)}) {
    flat[largest] = mutation;
    if (relative_error(mutated, wanted) <= tolerance) {
      return testing::AssertionFailure() << "the comparison accepts " << mutation << " for " << original;
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace smpo::tape::test

#endif  // SMPO_TEST_TAPE_COMPARE_H_
