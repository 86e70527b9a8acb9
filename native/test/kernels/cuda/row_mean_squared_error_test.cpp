#include "kernels/row_mean_squared_error.h"

#include <gtest/gtest.h>

#include <vector>

#include "cuda_on_cpu/every_schedule.h"
#include "kernels/cuda/staging.h"
#include "kernels/row_mean_squared_error_case.h"
#include "kernels/tensor.h"

namespace smpo::kernels {
namespace {

using test::RowMeanSquaredErrorCase;

void run_on_device(const RowMeanSquaredErrorArgs& host, size_t misalign) {
  test::Staging staging(misalign);
  RowMeanSquaredErrorArgs args = host;
  const int64_t count = host.rows * host.elements;
  args.prediction_RN = staging.in(host.prediction_RN, count, size_of(host.prediction_dtype));
  args.target_RN = staging.in(host.target_RN, count, size_of(host.target_dtype));
  args.error_R = staging.out(host.error_R, host.rows);
  args.workspace = staging.out(host.workspace, row_mean_squared_error_workspace_bytes(host) / 8, 8);
  cuda::row_mean_squared_error(args, nullptr);
  staging.download();
}

TEST(RowMeanSquaredErrorCuda, SameBitsAsTheCpuAndCloseToTheReference) {
  SMPO_NEEDS_DEVICE();
  for (const DType prediction : test::kDTypes) {
    for (const DType target : test::kDTypes) {
      for (const int64_t elements : test::kRowSizes) {
        if (elements > 16384) continue;  // longer rows differ only in their number of chunks
        SCOPED_TRACE(testing::Message() << elements << " elements, " << test::name_of(prediction) << " against "
                                        << test::name_of(target));
        RowMeanSquaredErrorCase c(3, elements, prediction, target);
        const std::vector<double> wanted =
            c.run([](const RowMeanSquaredErrorArgs& args) { reference::row_mean_squared_error(args); });
        const std::vector<double> on_cpu =
            c.run([](const RowMeanSquaredErrorArgs& args) { cpu::row_mean_squared_error(args); });
        for (const size_t misalign : {size_t{0}, size_t{1}}) {
          const std::vector<double> errors =
              c.run([&](const RowMeanSquaredErrorArgs& args) { run_on_device(args, misalign); });
          EXPECT_EQ(errors, on_cpu);
          test::expect_agreement(errors, wanted);
        }
      }
    }
  }
}

TEST(RowMeanSquaredErrorCuda, NoOrderOfThreadsMatters) {
  SMPO_NEEDS_DEVICE();
  for (const int64_t elements : {1, 129, 4097, 9000}) {
    RowMeanSquaredErrorCase c(2, elements, DType::kF32, DType::kBF16);
    const std::vector<double> wanted =
        c.run([](const RowMeanSquaredErrorArgs& args) { cpu::row_mean_squared_error(args); });
    test::for_every_schedule([&] {
      EXPECT_EQ(c.run([](const RowMeanSquaredErrorArgs& args) { run_on_device(args, 0); }), wanted) << elements;
    });
  }
}

TEST(RowMeanSquaredErrorCuda, NoRowsIsNothing) {
  SMPO_NEEDS_DEVICE();
  RowMeanSquaredErrorArgs args;
  args.elements = 16;
  cuda::row_mean_squared_error(args, nullptr);
}

}  // namespace
}  // namespace smpo::kernels
