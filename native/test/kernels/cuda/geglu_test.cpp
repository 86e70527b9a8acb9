#include "kernels/geglu.h"

#include <gtest/gtest.h>

#include "cuda_on_cpu/every_schedule.h"
#include "kernels/cuda/staging.h"
#include "kernels/geglu_case.h"

namespace smpo::kernels {
namespace {

using test::GegluCase;

void run_on_device(const GegluArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  GegluArgs args = host;
  const int64_t count = host.rows * host.channels;
  args.x_R2C = staging.in(host.x_R2C, 2 * count, size_of(host.dtype));
  args.y_RC = staging.out(host.y_RC, count, size_of(host.dtype));
  cuda::geglu(args, nullptr);
  staging.download();
}

void run_on_device(const GegluBackwardArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  GegluBackwardArgs args = host;
  const int64_t count = host.rows * host.channels;
  args.d_y_RC = staging.in(host.d_y_RC, count, size_of(host.dtype));
  args.x_R2C = staging.in(host.x_R2C, 2 * count, size_of(host.dtype));
  args.d_x_R2C = staging.out(host.d_x_R2C, 2 * count, size_of(host.dtype));
  cuda::geglu_backward(args, nullptr);
  staging.download();
}

TEST(GegluCuda, SameBitsAsTheCpu) {
  SMPO_NEEDS_DEVICE();
  for (const DType dtype : test::kDTypes) {
    for (const int64_t channels : {1, 7, 8, 33, 320, 641}) {
      GegluCase on_cpu(3, channels, dtype);
      on_cpu.run([](auto& args) { cpu::geglu(args); }, [](auto& args) { cpu::geglu_backward(args); });
      for (const size_t misalign : {size_t{0}, size_t{1}}) {
        GegluCase got(3, channels, dtype);
        const auto run = [&](const auto& args) { run_on_device(args, misalign); };
        got.run(run, run);
        EXPECT_EQ(got.y.bits(), on_cpu.y.bits()) << channels << " channels, " << test::name_of(dtype);
        EXPECT_EQ(got.d_x.bits(), on_cpu.d_x.bits()) << channels << " channels, " << test::name_of(dtype);
      }
    }
  }
}

TEST(GegluCuda, NoRowsIsNothing) {
  SMPO_NEEDS_DEVICE();
  cuda::geglu({.rows = 0, .channels = 8}, nullptr);
  cuda::geglu_backward({.rows = 0, .channels = 8}, nullptr);
}

}  // namespace
}  // namespace smpo::kernels
