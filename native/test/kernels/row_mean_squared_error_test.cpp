#include "kernels/row_mean_squared_error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/row_mean_squared_error_case.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/threads.h"

namespace smpo::kernels {
namespace {

using test::RowMeanSquaredErrorCase;

void run_reference(const RowMeanSquaredErrorArgs& args) { reference::row_mean_squared_error(args); }
void run_cpu(const RowMeanSquaredErrorArgs& args) { cpu::row_mean_squared_error(args); }

TEST(RowMeanSquaredErrorReference, IsTheDefinition) {
  RowMeanSquaredErrorCase c(2, 3, DType::kF32, DType::kF32);
  const float predictions[] = {1, 2, 3, 0.5f, 0.25f, -1};
  const float targets[] = {0, 4, 3, 0, 0, 1};
  for (int64_t i = 0; i < 6; ++i) {
    c.prediction.set(i, predictions[i]);
    c.target.set(i, targets[i]);
  }
  EXPECT_EQ(c.run(run_reference), (std::vector<double>{5.0 / 3.0, (0.25 + 0.0625 + 4.0) / 3.0}));
}

TEST(RowMeanSquaredErrorCpu, AgreesWithTheReference) {
  for (const DType prediction : test::kDTypes) {
    for (const DType target : test::kDTypes) {
      for (const int64_t elements : test::kRowSizes) {
        for (const int64_t rows : {1, 3}) {
          SCOPED_TRACE(testing::Message() << rows << " rows of " << elements << ", " << test::name_of(prediction)
                                          << " against " << test::name_of(target));
          RowMeanSquaredErrorCase c(rows, elements, prediction, target);
          const std::vector<double> wanted = c.run(run_reference);
          test::expect_agreement(c.run(run_cpu), wanted);
        }
      }
    }
  }
}

TEST(RowMeanSquaredErrorCpu, SameBitsForEveryInstructionSetAndThreadCount) {
  for (const DType dtype : test::kDTypes) {
    for (const int64_t elements : {int64_t{17}, int64_t{4097}, int64_t{50001}}) {
      RowMeanSquaredErrorCase c(5, elements, dtype, DType::kF32);
      std::vector<double> wanted;
      for (const cpu::InstructionSet set : test::runnable_instruction_sets()) {
        for (const int threads : {1, 2, 3, 7}) {
          const test::ThreadScope scope(threads);
          const std::vector<double> errors =
              c.run([&](const RowMeanSquaredErrorArgs& args) { cpu::row_mean_squared_error(args, set); });
          if (wanted.empty()) wanted = errors;
          EXPECT_EQ(errors, wanted) << cpu::name_of(set) << ", " << threads << " threads";
        }
      }
    }
  }
}

TEST(RowMeanSquaredErrorCpu, KeepsSmallTermsBesideLargeOnes) {
  // 65,535 squares of 1e-4 and one of 100: a running f32 sum would lose most of the small ones.
  const int64_t N = 65536;
  RowMeanSquaredErrorCase c(1, N, DType::kF32, DType::kF32);
  for (int64_t i = 0; i < N; ++i) {
    c.prediction.set(i, i == 0 ? 10.0f : 0.01f);
    c.target.set(i, 0.0f);
  }
  const std::vector<double> wanted = c.run(run_reference);
  test::expect_agreement(c.run(run_cpu), wanted);
}

TEST(RowMeanSquaredErrorCpu, NonFiniteElementsShowInTheirRowAlone) {
  const int64_t N = 5000;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int64_t at : {int64_t{0}, int64_t{2500}, N - 1}) {
      RowMeanSquaredErrorCase c(3, N, DType::kF32, DType::kBF16);
      c.prediction.set(N + at, bad);
      const std::vector<double> errors = c.run(run_cpu);
      EXPECT_TRUE(std::isfinite(errors[0]) && std::isfinite(errors[2]));
      EXPECT_FALSE(std::isfinite(errors[1])) << bad << " at " << at;
    }
  }
}

TEST(RowMeanSquaredErrorCpu, NoRowsIsNothing) {
  RowMeanSquaredErrorArgs args;
  args.elements = 16;
  EXPECT_EQ(row_mean_squared_error_workspace_bytes(args), 0);
  cpu::row_mean_squared_error(args);
}

}  // namespace
}  // namespace smpo::kernels
