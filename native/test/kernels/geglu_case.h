// Inputs, outputs and comparison for the tests of geglu on CPU and device. Shapes: R rows, C channels.
#ifndef SMPO_TEST_KERNELS_GEGLU_CASE_H_
#define SMPO_TEST_KERNELS_GEGLU_CASE_H_

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "kernels/finite_differences.h"
#include "kernels/geglu.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

using kernels::DType;

struct GegluCase {
  GegluCase(int64_t rows, int64_t channels, DType dtype)
      : x(dtype, normal_floats(rows * 2 * channels, 1, 0, 1.5f)),
        d_y(dtype, normal_floats(rows * channels, 2)),
        y(dtype, rows * channels),
        d_x(dtype, rows * 2 * channels),
        forward{.rows = rows, .channels = channels, .dtype = dtype, .x_R2C = x.data(), .y_RC = y.data()},
        backward{.rows = rows,
                 .channels = channels,
                 .dtype = dtype,
                 .d_y_RC = d_y.data(),
                 .x_R2C = x.data(),
                 .d_x_R2C = d_x.data()} {}

  template <class Forward, class Backward>
  void run(Forward&& run_forward, Backward&& run_backward) {
    x.freeze();
    d_y.freeze();
    run_forward(forward);
    run_backward(backward);
    x.make_writable();
    d_y.make_writable();
    EXPECT_TRUE(x.intact() && d_y.intact() && y.intact() && d_x.intact());
  }

  Tensor x, d_y, y, d_x;
  kernels::GegluArgs forward;
  kernels::GegluBackwardArgs backward;
};

/// Tolerance; the largest product of factors in these data is about 5 * 5 * 5.
inline void expect_geglu_agreement(const Tensor& got, const Tensor& wanted) {
  const Tolerance tolerance =
      against_rounded(Tolerance::elementwise(kernels::kGegluRoundings, 64, got.dtype()), got.dtype());
  const std::vector<float> values = floats_of(got);
  EXPECT_TRUE(is_close<float>(values, doubles_of(wanted), tolerance));
  EXPECT_TRUE(
      rejects_mutations<float>(values, doubles_of(wanted), tolerance, got.dtype() == DType::kF32 ? 1e-3 : 0.05));
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_GEGLU_CASE_H_
