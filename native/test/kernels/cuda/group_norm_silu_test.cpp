#include "kernels/group_norm_silu.h"

#include <gtest/gtest.h>

#include "cuda_on_cpu/every_schedule.h"
#include "kernels/cuda/staging.h"
#include "kernels/group_norm_silu_case.h"

namespace smpo::kernels {
namespace {

using test::GroupNormSiluCase;
using test::GroupNormSize;

void run_on_device(const GroupNormSiluArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  GroupNormSiluArgs args = host;
  const int64_t count = host.batch * host.pixels * host.channels;
  args.x_BPC = staging.in(host.x_BPC, count, size_of(host.dtype));
  args.weight_C = staging.in(host.weight_C, host.channels, size_of(host.parameter_dtype));
  args.bias_C = staging.in(host.bias_C, host.channels, size_of(host.parameter_dtype));
  args.y_BPC = staging.out(host.y_BPC, count, size_of(host.dtype));
  args.mean_BG = staging.out(host.mean_BG, host.batch * host.groups);
  args.rstd_BG = staging.out(host.rstd_BG, host.batch * host.groups);
  test::DeviceBuffer<unsigned char> workspace(static_cast<size_t>(group_norm_silu_workspace_bytes(host)));
  args.workspace = workspace.data();
  cuda::group_norm_silu(args, nullptr);
  staging.download();
}

void run_on_device(const GroupNormSiluBackwardArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  GroupNormSiluBackwardArgs args = host;
  const int64_t count = host.batch * host.pixels * host.channels;
  args.d_y_BPC = staging.in(host.d_y_BPC, count, size_of(host.dtype));
  args.x_BPC = staging.in(host.x_BPC, count, size_of(host.dtype));
  args.weight_C = staging.in(host.weight_C, host.channels, size_of(host.parameter_dtype));
  args.bias_C = staging.in(host.bias_C, host.channels, size_of(host.parameter_dtype));
  args.mean_BG = staging.in(host.mean_BG, host.batch * host.groups);
  args.rstd_BG = staging.in(host.rstd_BG, host.batch * host.groups);
  args.d_x_BPC = staging.out(host.d_x_BPC, count, size_of(host.dtype));
  args.d_weight_C = staging.out(host.d_weight_C, host.channels);
  args.d_bias_C = staging.out(host.d_bias_C, host.channels);
  test::DeviceBuffer<unsigned char> workspace(static_cast<size_t>(group_norm_silu_backward_workspace_bytes(host)));
  args.workspace = workspace.data();
  cuda::group_norm_silu_backward(args, nullptr);
  staging.download();
}

TEST(GroupNormSiluCuda, AgreesWithTheReference) {
  SMPO_NEEDS_DEVICE();
  for (const DType dtype : test::kDTypes) {
    for (const GroupNormSize& size : test::kGroupNormSizes) {
      for (const bool silu : {false, true}) {
        SCOPED_TRACE(testing::Message() << size.batch << "x" << size.pixels << "x" << size.channels << " in "
                                        << size.groups << ", " << test::name_of(dtype) << (silu ? ", silu" : ""));
        GroupNormSiluCase wanted(size, silu, dtype, dtype);
        wanted.run(reference::group_norm_silu, reference::group_norm_silu_backward);
        for (const size_t misalign : {size_t{0}, size_t{1}}) {
          GroupNormSiluCase got(size, silu, dtype, dtype);
          const auto run = [&](const auto& args) { run_on_device(args, misalign); };
          got.run(run, run);
          test::expect_group_norm_agreement(got, wanted);
        }
      }
    }
  }
}

TEST(GroupNormSiluCuda, NoOrderOfThreadsMatters) {
  SMPO_NEEDS_DEVICE();
  const GroupNormSize size{2, 37, 20, 4};
  const auto run = [](const auto& args) { run_on_device(args, 0); };
  GroupNormSiluCase wanted(size, true, DType::kF32, DType::kBF16);
  wanted.run(run, run);
  test::for_every_schedule([&] {
    GroupNormSiluCase got(size, true, DType::kF32, DType::kBF16);
    got.run(run, run);
    EXPECT_EQ(got.y.bits(), wanted.y.bits());
    EXPECT_EQ(got.d_x.bits(), wanted.d_x.bits());
    EXPECT_EQ(got.d_weight.bits(), wanted.d_weight.bits());
    EXPECT_EQ(got.d_bias.bits(), wanted.d_bias.bits());
  });
}

}  // namespace
}  // namespace smpo::kernels
