// Inputs, outputs and comparison for the tests of epilogue on CPU and device. Shapes: B samples, P pixels, C
// channels.
#ifndef SMPO_TEST_KERNELS_EPILOGUE_CASE_H_
#define SMPO_TEST_KERNELS_EPILOGUE_CASE_H_

#include <gtest/gtest.h>

#include <vector>

#include "kernels/epilogue.h"
#include "kernels/finite_differences.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

using kernels::DType;

/// Which of the three terms are added.
struct EpilogueParts {
  bool bias = true, sample_bias = true, residual = true;
};

inline std::vector<EpilogueParts> every_epilogue() {
  std::vector<EpilogueParts> all;
  for (int bits = 0; bits < 8; ++bits) all.push_back({(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0});
  return all;
}

struct EpilogueCase {
  EpilogueCase(int64_t batch, int64_t pixels, int64_t channels, DType dtype, DType x_dtype, EpilogueParts parts = {})
      : x(x_dtype, normal_floats(batch * pixels * channels, 1)),
        bias(dtype, normal_floats(channels, 2)),
        sample_bias(dtype, normal_floats(batch * channels, 3)),
        residual(dtype, normal_floats(batch * pixels * channels, 4)),
        d_y(dtype, normal_floats(batch * pixels * channels, 5)),
        y(dtype, batch * pixels * channels),
        d_sample_bias(dtype, batch * channels),
        d_bias(DType::kF32, normal_floats(channels, 6)),
        forward{.batch = batch,
                .pixels = pixels,
                .channels = channels,
                .dtype = dtype,
                .x_dtype = x_dtype,
                .x_BPC = x.data(),
                .bias_C = parts.bias ? bias.data() : nullptr,
                .sample_bias_BC = parts.sample_bias ? sample_bias.data() : nullptr,
                .residual_BPC = parts.residual ? residual.data() : nullptr,
                .y_BPC = y.data()},
        backward{.batch = batch,
                 .pixels = pixels,
                 .channels = channels,
                 .dtype = dtype,
                 .d_y_BPC = d_y.data(),
                 .d_sample_bias_BC = d_sample_bias.data(),
                 .d_bias_C = d_bias.floats()} {}

  template <class Forward, class Backward>
  void run(Forward&& run_forward, Backward&& run_backward) {
    RedZone<unsigned char> workspace(static_cast<size_t>(kernels::epilogue_backward_workspace_bytes(backward)));
    backward.workspace = workspace.data();
    for (Tensor* input : {&x, &bias, &sample_bias, &residual, &d_y}) input->freeze();
    run_forward(forward);
    run_backward(backward);
    for (Tensor* input : {&x, &bias, &sample_bias, &residual, &d_y}) input->make_writable();
    for (const Tensor* output : {&y, &d_sample_bias, &d_bias}) EXPECT_TRUE(output->intact());
    EXPECT_TRUE(workspace.intact());
  }

  Tensor x, bias, sample_bias, residual, d_y;
  Tensor y, d_sample_bias, d_bias;
  kernels::EpilogueArgs forward;
  kernels::EpilogueBackwardArgs backward;
};

/// Tolerances: three additions of numbers of magnitude 5; sums of B P terms of magnitude 1, with at most 63 additions
/// in f32.
inline void expect_epilogue_agreement(const EpilogueCase& got, const EpilogueCase& wanted) {
  const auto compare = [](const Tensor& a, const Tensor& b, Tolerance tolerance) {
    const std::vector<float> values = floats_of(a);
    EXPECT_TRUE(is_close<float>(values, doubles_of(b), tolerance));
    const double noticed = a.dtype() == DType::kF32 ? 1e-3 : 0.05;
    EXPECT_TRUE(rejects_mutations<float>(values, doubles_of(b), tolerance, noticed));
  };
  const DType dtype = got.y.dtype();
  compare(got.y, wanted.y, against_rounded(Tolerance::elementwise(3, 10, dtype), dtype));
  const auto pixels = static_cast<double>(got.forward.pixels);
  const auto summed = [](double terms) { return Tolerance::sum(kernels::epilogue_sum::kPixelsPerChunk, 2, 4 + terms); };
  Tolerance of_samples = against_rounded(Tolerance::elementwise(1, 0, dtype), dtype);
  of_samples.absolute += summed(pixels).absolute;
  compare(got.d_sample_bias, wanted.d_sample_bias, of_samples);
  compare(got.d_bias, wanted.d_bias, summed(pixels * static_cast<double>(got.forward.batch)));
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_EPILOGUE_CASE_H_
