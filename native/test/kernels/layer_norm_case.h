// Inputs, outputs and comparison for the tests of layer_norm on CPU and device. Shapes: R rows, C channels.
#ifndef SMPO_TEST_KERNELS_LAYER_NORM_CASE_H_
#define SMPO_TEST_KERNELS_LAYER_NORM_CASE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/finite_differences.h"
#include "kernels/layer_norm.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

using kernels::DType;

struct LayerNormCase {
  LayerNormCase(int64_t rows, int64_t channels, DType dtype, DType parameter_dtype, bool with_residual,
                float mean = 0.3f)
      : x(dtype, normal_floats(rows * channels, 1, mean, 1)),
        residual(dtype, normal_floats(rows * channels, 2)),
        weight(parameter_dtype, normal_floats(channels, 3, 1, 0.3f)),
        bias(parameter_dtype, normal_floats(channels, 4, 0, 0.3f)),
        d_y(dtype, normal_floats(rows * channels, 5)),
        d_sum(dtype, normal_floats(rows * channels, 6)),
        sum(dtype, rows * channels),
        y(dtype, rows * channels),
        mean_R(DType::kF32, rows),
        rstd_R(DType::kF32, rows),
        d_s(dtype, rows * channels),
        d_weight(DType::kF32, normal_floats(channels, 7)),
        d_bias(DType::kF32, normal_floats(channels, 8)) {
    forward = {.rows = rows,
               .channels = channels,
               .eps = 1e-5,
               .dtype = dtype,
               .parameter_dtype = parameter_dtype,
               .x_RC = x.data(),
               .residual_RC = with_residual ? residual.data() : nullptr,
               .weight_C = weight.data(),
               .bias_C = bias.data(),
               .sum_RC = sum.data(),
               .y_RC = y.data(),
               .mean_R = mean_R.floats(),
               .rstd_R = rstd_R.floats()};
    backward = {.rows = rows,
                .channels = channels,
                .dtype = dtype,
                .parameter_dtype = parameter_dtype,
                .d_y_RC = d_y.data(),
                .s_RC = with_residual ? sum.data() : x.data(),
                .mean_R = mean_R.floats(),
                .rstd_R = rstd_R.floats(),
                .weight_C = weight.data(),
                .d_sum_RC = with_residual ? d_sum.data() : nullptr,
                .d_s_RC = d_s.data(),
                .d_weight_C = d_weight.floats(),
                .d_bias_C = d_bias.floats()};
  }

  template <class Forward, class Backward>
  void run(Forward&& run_forward, Backward&& run_backward) {
    RedZone<unsigned char> workspace(static_cast<size_t>(kernels::layer_norm_backward_workspace_bytes(backward)));
    backward.workspace = workspace.data();
    for (Tensor* input : {&x, &residual, &weight, &bias, &d_y, &d_sum}) input->freeze();
    run_forward(forward);
    run_backward(backward);
    for (Tensor* input : {&x, &residual, &weight, &bias, &d_y, &d_sum}) input->make_writable();
    for (const Tensor* output : {&sum, &y, &mean_R, &rstd_R, &d_s, &d_weight, &d_bias}) EXPECT_TRUE(output->intact());
    EXPECT_TRUE(workspace.intact());
  }

  Tensor x, residual, weight, bias, d_y, d_sum;
  Tensor sum, y, mean_R, rstd_R, d_s, d_weight, d_bias;
  kernels::LayerNormArgs forward;
  kernels::LayerNormBackwardArgs backward;
};

/// Tolerances: values of magnitude 8 (rows of few channels normalize to at most sqrt(C)) after about 20 roundings and a
/// sum of its depth; column sums over R rows have magnitude R.
inline void expect_layer_norm_agreement(const LayerNormCase& got, const LayerNormCase& wanted) {
  const DType dtype = got.x.dtype();
  const int roundings = 20 + static_cast<int>(got.forward.channels / 64);
  const double noticed = dtype == DType::kF32 ? 1e-3 : 0.05;
  const auto compare = [&](const Tensor& a, const Tensor& b, Tolerance tolerance, double sensitivity) {
    const std::vector<float> values = floats_of(a);
    EXPECT_TRUE(is_close<float>(values, doubles_of(b), tolerance));
    EXPECT_TRUE(rejects_mutations<float>(values, doubles_of(b), tolerance, sensitivity));
  };
  compare(got.y, wanted.y, against_rounded(Tolerance::elementwise(roundings, 8, dtype), dtype), noticed);
  compare(got.d_s, wanted.d_s, against_rounded(Tolerance::elementwise(2 * roundings, 8, dtype), dtype), noticed);
  compare(got.mean_R, wanted.mean_R, Tolerance::elementwise(roundings, 2), 1e-3);
  compare(got.rstd_R, wanted.rstd_R, Tolerance::elementwise(roundings, 8), 1e-3);
  const auto rows = static_cast<double>(got.forward.rows);
  const Tolerance sums = Tolerance::sum(32, roundings, 4 + rows);
  compare(got.d_weight, wanted.d_weight, sums, 1e-2);
  compare(got.d_bias, wanted.d_bias, sums, 1e-2);
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_LAYER_NORM_CASE_H_
