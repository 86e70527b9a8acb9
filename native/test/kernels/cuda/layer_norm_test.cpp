#include "kernels/layer_norm.h"

#include <gtest/gtest.h>

#include "cuda_on_cpu/every_schedule.h"
#include "kernels/cuda/staging.h"
#include "kernels/layer_norm_case.h"

namespace smpo::kernels {
namespace {

using test::LayerNormCase;

void run_on_device(const LayerNormArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  LayerNormArgs args = host;
  const int64_t count = host.rows * host.channels;
  args.x_RC = staging.in(host.x_RC, count, size_of(host.dtype));
  args.residual_RC = staging.in(host.residual_RC, count, size_of(host.dtype));
  args.weight_C = staging.in(host.weight_C, host.channels, size_of(host.parameter_dtype));
  args.bias_C = staging.in(host.bias_C, host.channels, size_of(host.parameter_dtype));
  args.sum_RC = staging.out(host.sum_RC, count, size_of(host.dtype));
  args.y_RC = staging.out(host.y_RC, count, size_of(host.dtype));
  args.mean_R = staging.out(host.mean_R, host.rows);
  args.rstd_R = staging.out(host.rstd_R, host.rows);
  cuda::layer_norm(args, nullptr);
  staging.download();
}

void run_on_device(const LayerNormBackwardArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  LayerNormBackwardArgs args = host;
  const int64_t count = host.rows * host.channels;
  args.d_y_RC = staging.in(host.d_y_RC, count, size_of(host.dtype));
  args.s_RC = staging.in(host.s_RC, count, size_of(host.dtype));
  args.mean_R = staging.in(host.mean_R, host.rows);
  args.rstd_R = staging.in(host.rstd_R, host.rows);
  args.weight_C = staging.in(host.weight_C, host.channels, size_of(host.parameter_dtype));
  args.d_sum_RC = staging.in(host.d_sum_RC, count, size_of(host.dtype));
  args.d_s_RC = staging.out(host.d_s_RC, count, size_of(host.dtype));
  args.d_weight_C = staging.out(host.d_weight_C, host.channels);
  args.d_bias_C = staging.out(host.d_bias_C, host.channels);
  test::DeviceBuffer<unsigned char> workspace(static_cast<size_t>(layer_norm_backward_workspace_bytes(host)));
  args.workspace = workspace.data();
  cuda::layer_norm_backward(args, nullptr);
  staging.download();
}

TEST(LayerNormCuda, AgreesWithTheReference) {
  SMPO_NEEDS_DEVICE();
  for (const DType dtype : test::kDTypes) {
    for (const int64_t channels : {5, 31, 32, 77, 320}) {
      for (const int64_t rows : {1, 5, 33, 67}) {
        for (const bool with_residual : {false, true}) {
          SCOPED_TRACE(testing::Message() << rows << " rows of " << channels << ", " << test::name_of(dtype)
                                          << (with_residual ? ", residual" : ""));
          LayerNormCase wanted(rows, channels, dtype, dtype, with_residual);
          wanted.run(reference::layer_norm, reference::layer_norm_backward);
          for (const size_t misalign : {size_t{0}, size_t{1}}) {
            LayerNormCase got(rows, channels, dtype, dtype, with_residual);
            const auto run = [&](const auto& args) { run_on_device(args, misalign); };
            got.run(run, run);
            test::expect_layer_norm_agreement(got, wanted);
          }
        }
      }
    }
  }
}

TEST(LayerNormCuda, NoOrderOfThreadsMatters) {
  SMPO_NEEDS_DEVICE();
  const auto run = [](const auto& args) { run_on_device(args, 0); };
  LayerNormCase wanted(37, 45, DType::kF32, DType::kBF16, true);
  wanted.run(run, run);
  test::for_every_schedule([&] {
    LayerNormCase got(37, 45, DType::kF32, DType::kBF16, true);
    got.run(run, run);
    EXPECT_EQ(got.y.bits(), wanted.y.bits());
    EXPECT_EQ(got.d_s.bits(), wanted.d_s.bits());
    EXPECT_EQ(got.d_weight.bits(), wanted.d_weight.bits());
    EXPECT_EQ(got.d_bias.bits(), wanted.d_bias.bits());
  });
}

}  // namespace
}  // namespace smpo::kernels
