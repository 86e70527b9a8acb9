#include "kernels/grad_norm.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <vector>

#include "cuda_on_cpu/device_buffer.h"
#include "cuda_on_cpu/every_schedule.h"
#include "support/samples.h"

namespace smpo::kernels {
namespace {

GradNormResult run_cpu(const std::vector<float>& gradient, double max_norm) {
  const auto elements = static_cast<int64_t>(gradient.size());
  std::vector<double> workspace(gradient.size() / square_sum::kChunk + 1);
  GradNormResult result{};
  cpu::grad_norm({.gradient = gradient.data(),
                  .elements = elements,
                  .max_norm = max_norm,
                  .result = &result,
                  .workspace = workspace.data()});
  return result;
}

GradNormResult run_cuda(const std::vector<float>& gradient, double max_norm, size_t misalign = 0) {
  const auto elements = static_cast<int64_t>(gradient.size());
  const test::DeviceBuffer<float> device_gradient(gradient, misalign);
  test::DeviceBuffer<double> workspace(static_cast<size_t>(grad_norm_workspace_bytes(elements)) / sizeof(double));
  test::DeviceBuffer<GradNormResult> result(1);
  cuda::grad_norm({.gradient = device_gradient.data(),
                   .elements = elements,
                   .max_norm = max_norm,
                   .result = result.data(),
                   .workspace = workspace.data()},
                  nullptr);
  return result.download()[0];
}

void expect_same_bits(const GradNormResult& got, const GradNormResult& wanted) {
  EXPECT_EQ(std::bit_cast<uint64_t>(got.norm), std::bit_cast<uint64_t>(wanted.norm));
  EXPECT_EQ(std::bit_cast<uint32_t>(got.clip_coefficient), std::bit_cast<uint32_t>(wanted.clip_coefficient));
  EXPECT_EQ(got.finite, wanted.finite);
}

TEST(GradNormCuda, SameBitsAsTheCpu) {
  SMPO_NEEDS_DEVICE();
  for (const int64_t elements : {int64_t{0}, int64_t{1}, int64_t{15}, int64_t{1023}, int64_t{1025},
                                 square_sum::kChunk - 1, square_sum::kChunk, 3 * square_sum::kChunk + 17}) {
    const std::vector<float> gradient = test::normal_floats(elements, 8);
    const GradNormResult wanted = run_cpu(gradient, 0.5);
    for (const size_t misalign : {size_t{0}, size_t{1}}) {
      test::for_every_schedule([&] {
        SCOPED_TRACE(testing::Message() << elements << " elements, misaligned by " << misalign);
        expect_same_bits(run_cuda(gradient, 0.5, misalign), wanted);
      });
    }
  }
}

TEST(GradNormCuda, MoreChunksThanFinalLanes) {
  SMPO_NEEDS_DEVICE();
  const std::vector<float> gradient = test::normal_floats((square_sum::kFinalLanes + 2) * square_sum::kChunk + 5, 9);
  expect_same_bits(run_cuda(gradient, 1), run_cpu(gradient, 1));
}

TEST(GradNormCuda, OneBadElementAnywhereIsSeen) {
  SMPO_NEEDS_DEVICE();
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t at : {size_t{0}, size_t{16384}, size_t{20000}}) {
      std::vector<float> gradient(20001, 0.1f);
      gradient[at] = bad;
      const GradNormResult result = run_cuda(gradient, 1);
      EXPECT_EQ(result.finite, 0);
      EXPECT_EQ(result.clip_coefficient, 0.0f);
    }
  }
}

}  // namespace
}  // namespace smpo::kernels
