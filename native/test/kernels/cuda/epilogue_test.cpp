#include "kernels/epilogue.h"

#include <gtest/gtest.h>

#include "cuda_on_cpu/every_schedule.h"
#include "kernels/cuda/staging.h"
#include "kernels/epilogue_case.h"

namespace smpo::kernels {
namespace {

using test::EpilogueCase;

void run_on_device(const EpilogueArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  EpilogueArgs args = host;
  const int64_t count = host.batch * host.pixels * host.channels;
  args.x_BPC = staging.in(host.x_BPC, count, size_of(host.x_dtype));
  args.bias_C = staging.in(host.bias_C, host.channels, size_of(host.dtype));
  args.sample_bias_BC = staging.in(host.sample_bias_BC, host.batch * host.channels, size_of(host.dtype));
  args.residual_BPC = staging.in(host.residual_BPC, count, size_of(host.dtype));
  args.y_BPC = staging.out(host.y_BPC, count, size_of(host.dtype));
  cuda::epilogue(args, nullptr);
  staging.download();
}

void run_on_device(const EpilogueBackwardArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  EpilogueBackwardArgs args = host;
  args.d_y_BPC = staging.in(host.d_y_BPC, host.batch * host.pixels * host.channels, size_of(host.dtype));
  args.d_sample_bias_BC = staging.out(host.d_sample_bias_BC, host.batch * host.channels, size_of(host.dtype));
  args.d_bias_C = staging.out(host.d_bias_C, host.channels);
  test::DeviceBuffer<unsigned char> workspace(static_cast<size_t>(epilogue_backward_workspace_bytes(host)));
  args.workspace = workspace.data();
  cuda::epilogue_backward(args, nullptr);
  staging.download();
}

void expect_same_bits(const EpilogueCase& got, const EpilogueCase& wanted) {
  EXPECT_EQ(got.y.bits(), wanted.y.bits());
  EXPECT_EQ(got.d_sample_bias.bits(), wanted.d_sample_bias.bits());
  EXPECT_EQ(got.d_bias.bits(), wanted.d_bias.bits());
}

TEST(EpilogueCuda, SameBitsAsTheCpu) {
  SMPO_NEEDS_DEVICE();
  for (const auto& [dtype, x_dtype] :
       {std::pair{DType::kF32, DType::kF32}, {DType::kBF16, DType::kBF16}, {DType::kBF16, DType::kF32}}) {
    for (const int64_t channels : {1, 7, 8, 33, 64}) {
      for (const int64_t pixels : {1, 64, 67, 129}) {
        for (const auto parts : test::every_epilogue()) {
          if (channels == 33 && !parts.bias) continue;
          SCOPED_TRACE(testing::Message() << pixels << " pixels of " << channels << ", " << test::name_of(dtype)
                                          << " of " << test::name_of(x_dtype) << ", bias " << parts.bias
                                          << ", sample bias " << parts.sample_bias << ", residual " << parts.residual);
          EpilogueCase on_cpu(2, pixels, channels, dtype, x_dtype, parts);
          on_cpu.run([](auto& args) { cpu::epilogue(args); }, [](auto& args) { cpu::epilogue_backward(args); });
          for (const size_t misalign : {size_t{0}, size_t{1}}) {
            EpilogueCase got(2, pixels, channels, dtype, x_dtype, parts);
            const auto run = [&](const auto& args) { run_on_device(args, misalign); };
            got.run(run, run);
            expect_same_bits(got, on_cpu);
          }
        }
      }
    }
  }
}

/// More samples than warps in a block, and more channels than lanes.
TEST(EpilogueCuda, NoOrderOfThreadsMatters) {
  SMPO_NEEDS_DEVICE();
  const auto run = [](const auto& args) { run_on_device(args, 0); };
  EpilogueCase wanted(19, 70, 37, DType::kBF16, DType::kF32);
  wanted.run([](auto& args) { cpu::epilogue(args); }, [](auto& args) { cpu::epilogue_backward(args); });
  test::for_every_schedule([&] {
    EpilogueCase got(19, 70, 37, DType::kBF16, DType::kF32);
    got.run(run, run);
    expect_same_bits(got, wanted);
  });
}

TEST(EpilogueCuda, NothingIsNothing) {
  SMPO_NEEDS_DEVICE();
  cuda::epilogue({.batch = 0, .pixels = 4, .channels = 8}, nullptr);
  cuda::epilogue_backward({.batch = 0, .pixels = 4, .channels = 8}, nullptr);
}

}  // namespace
}  // namespace smpo::kernels
