// Inputs, outputs and comparison for the tests of row_mean_squared_error on CPU and device.
// Shapes: R rows, N elements.
#ifndef SMPO_TEST_KERNELS_ROW_MEAN_SQUARED_ERROR_CASE_H_
#define SMPO_TEST_KERNELS_ROW_MEAN_SQUARED_ERROR_CASE_H_

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "kernels/row_mean_squared_error.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

using kernels::DType;
using kernels::kRowErrorTolerance;
using kernels::RowMeanSquaredErrorArgs;

/// Inputs, and outputs of one implementation, all between guard pages.
struct RowMeanSquaredErrorCase {
  RowMeanSquaredErrorCase(int64_t rows, int64_t elements, DType prediction_dtype, DType target_dtype, uint32_t seed = 1)
      : prediction(prediction_dtype, normal_floats(rows * elements, seed)),
        target(target_dtype, rows * elements),
        errors(static_cast<size_t>(rows)) {
    const std::vector<float> noise = normal_floats(rows * elements, seed + 1, 0.05f, 0.3f);
    for (int64_t i = 0; i < rows * elements; ++i) {
      target.set(i, static_cast<float>(prediction.at(i)) + noise[static_cast<size_t>(i)]);
    }
    args = {.rows = rows,
            .elements = elements,
            .prediction_RN = prediction.data(),
            .prediction_dtype = prediction_dtype,
            .target_RN = target.data(),
            .target_dtype = target_dtype,
            .error_R = errors.data()};
  }

  std::vector<double> run(const std::function<void(const RowMeanSquaredErrorArgs&)>& kernel) {
    RedZone<unsigned char> workspace(static_cast<size_t>(row_mean_squared_error_workspace_bytes(args)));
    args.workspace = workspace.data();
    prediction.freeze();
    target.freeze();
    kernel(args);
    prediction.make_writable();
    target.make_writable();
    EXPECT_TRUE(prediction.intact() && target.intact() && errors.intact() && workspace.intact());
    return errors.vector();
  }

  Tensor prediction;
  Tensor target;
  RedZone<double> errors;
  RowMeanSquaredErrorArgs args;
};

inline void expect_agreement(const std::vector<double>& errors, const std::vector<double>& wanted) {
  const Tolerance tolerance{.relative = kRowErrorTolerance};
  for (size_t r = 0; r < wanted.size(); ++r) {
    EXPECT_TRUE(tolerance.accepts(errors[r], wanted[r]))
        << "row " << r << ": " << errors[r] << ", wanted " << wanted[r];
    EXPECT_FALSE(tolerance.accepts(errors[r] * (1.0 + 1e-6), wanted[r]))
        << "the comparison must notice one part in 1e6";
  }
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_ROW_MEAN_SQUARED_ERROR_CASE_H_
