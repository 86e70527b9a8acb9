// Inputs, outputs and comparison for the tests of group_norm_silu on CPU and device.
// Shapes: B samples, P pixels, C channels, G groups.
#ifndef SMPO_TEST_KERNELS_GROUP_NORM_SILU_CASE_H_
#define SMPO_TEST_KERNELS_GROUP_NORM_SILU_CASE_H_

#include <gtest/gtest.h>

#include <vector>

#include "kernels/finite_differences.h"
#include "kernels/group_norm_silu.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

using kernels::DType;

struct GroupNormSize {
  int64_t batch, pixels, channels, groups;
};

/// Groups of one channel and of all channels; numbers of channels around a tile and of pixels around a chunk.
inline const std::vector<GroupNormSize> kGroupNormSizes = {{1, 2, 3, 1},     {2, 1, 12, 3},    {1, 31, 5, 5},
                                                           {3, 33, 6, 2},    {2, 64, 64, 32},  {1, 65, 65, 5},
                                                           {2, 35, 320, 32}, {1, 257, 96, 32}, {1, 40, 130, 10}};

struct GroupNormSiluCase {
  GroupNormSiluCase(GroupNormSize size, bool silu, DType dtype, DType parameter_dtype, float mean = 0.3f)
      : count(size.batch * size.pixels * size.channels),
        x(dtype, normal_floats(count, 1, mean, 1)),
        weight(parameter_dtype, normal_floats(size.channels, 2, 1, 0.3f)),
        bias(parameter_dtype, normal_floats(size.channels, 3, 0, 0.3f)),
        d_y(dtype, normal_floats(count, 4)),
        y(dtype, count),
        mean_BG(DType::kF32, size.batch * size.groups),
        rstd_BG(DType::kF32, size.batch * size.groups),
        d_x(dtype, count),
        d_weight(DType::kF32, normal_floats(size.channels, 5)),
        d_bias(DType::kF32, normal_floats(size.channels, 6)) {
    forward = {.batch = size.batch,
               .pixels = size.pixels,
               .channels = size.channels,
               .groups = size.groups,
               .eps = 1e-5,
               .silu = silu,
               .dtype = dtype,
               .parameter_dtype = parameter_dtype,
               .x_BPC = x.data(),
               .weight_C = weight.data(),
               .bias_C = bias.data(),
               .y_BPC = y.data(),
               .mean_BG = mean_BG.floats(),
               .rstd_BG = rstd_BG.floats()};
    backward = {.batch = size.batch,
                .pixels = size.pixels,
                .channels = size.channels,
                .groups = size.groups,
                .silu = silu,
                .dtype = dtype,
                .parameter_dtype = parameter_dtype,
                .d_y_BPC = d_y.data(),
                .x_BPC = x.data(),
                .weight_C = weight.data(),
                .bias_C = bias.data(),
                .mean_BG = mean_BG.floats(),
                .rstd_BG = rstd_BG.floats(),
                .d_x_BPC = d_x.data(),
                .d_weight_C = d_weight.floats(),
                .d_bias_C = d_bias.floats()};
  }

  template <class Forward, class Backward>
  void run(Forward&& run_forward, Backward&& run_backward) {
    RedZone<double> workspace(bytes_to_doubles(kernels::group_norm_silu_workspace_bytes(forward)));
    RedZone<double> workspace_backward(bytes_to_doubles(kernels::group_norm_silu_backward_workspace_bytes(backward)));
    forward.workspace = workspace.data();
    backward.workspace = workspace_backward.data();
    for (Tensor* input : {&x, &weight, &bias, &d_y}) input->freeze();
    run_forward(forward);
    run_backward(backward);
    for (Tensor* input : {&x, &weight, &bias, &d_y}) input->make_writable();
    for (const Tensor* output : {&y, &mean_BG, &rstd_BG, &d_x, &d_weight, &d_bias}) EXPECT_TRUE(output->intact());
    EXPECT_TRUE(workspace.intact() && workspace_backward.intact());
  }

  static size_t bytes_to_doubles(int64_t bytes) { return static_cast<size_t>((bytes + 7) / 8); }

  int64_t count;
  Tensor x, weight, bias, d_y;
  Tensor y, mean_BG, rstd_BG, d_x, d_weight, d_bias;
  kernels::GroupNormSiluArgs forward;
  kernels::GroupNormSiluBackwardArgs backward;
};

/// Tolerances: values of magnitude 8 after about 30 roundings (statistics, the logistic function, products); the
/// magnitude of sums over samples and pixels is about their number.
inline void expect_group_norm_agreement(const GroupNormSiluCase& got, const GroupNormSiluCase& wanted) {
  const DType dtype = got.x.dtype();
  const double noticed = dtype == DType::kF32 ? 1e-3 : 0.05;
  const auto compare = [&](const Tensor& a, const Tensor& b, Tolerance tolerance, double sensitivity) {
    const std::vector<float> values = floats_of(a);
    EXPECT_TRUE(is_close<float>(values, doubles_of(b), tolerance));
    EXPECT_TRUE(rejects_mutations<float>(values, doubles_of(b), tolerance, sensitivity));
  };
  compare(got.y, wanted.y, against_rounded(Tolerance::elementwise(30, 8, dtype), dtype), noticed);
  compare(got.d_x, wanted.d_x, against_rounded(Tolerance::elementwise(60, 8, dtype), dtype), noticed);
  compare(got.mean_BG, wanted.mean_BG, Tolerance::elementwise(30, 1), 1e-3);
  compare(got.rstd_BG, wanted.rstd_BG, Tolerance::elementwise(30, 4), 1e-3);
  const Tolerance sums = Tolerance::sum(32, 20, 4 + static_cast<double>(got.forward.batch * got.forward.pixels));
  compare(got.d_weight, wanted.d_weight, sums, 1e-2);
  compare(got.d_bias, wanted.d_bias, sums, 1e-2);
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_GROUP_NORM_SILU_CASE_H_
