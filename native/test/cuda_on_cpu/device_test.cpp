// The helpers of kernels/cuda/device.h: sums in a fixed order, 16-byte accesses, bf16.
#include "cuda_on_cpu/device_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cuda_on_cpu/device_buffer.h"
#include "cuda_on_cpu/every_schedule.h"
#include "kernels/cuda/launch.h"
#include "kernels/types.h"

namespace smpo::test {
namespace {

using kernels::BFloat16;

/// The order of summation that device.h specifies: by halves within a warp, then likewise over the warps' sums.
template <class T>
T tree_sum(std::vector<T> values) {
  values.resize(32);
  for (size_t half = 16; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) {
      values[i] += values[i + half];
    }
  }
  return values[0];
}

template <class T>
void expect_fixed_order() {
  for (const int threads : {32, 64, 480, 1024}) {
    std::vector<T> x(static_cast<size_t>(threads));
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = std::sin(static_cast<T>(i + 1)) * std::exp(static_cast<T>(i % 23));
    }
    std::vector<T> warps;
    for (auto first = x.begin(); first != x.end(); first += 32) {
      warps.push_back(tree_sum(std::vector<T>(first, first + 32)));
    }
    const T expected = tree_sum(warps);
    for_every_schedule([&] {
      const DeviceBuffer<T> x_device(x);
      DeviceBuffer<T> sums(x.size());
      all_block_sums(x_device.data(), sums.data(), threads);
      EXPECT_EQ(sums.download(), std::vector<T>(x.size(), expected)) << threads << " threads";
    });
  }
}

TEST(CudaDevice, BlockSumOfFloats) {
  SMPO_NEEDS_DEVICE();
  expect_fixed_order<float>();
}

TEST(CudaDevice, BlockSumOfDoubles) {
  SMPO_NEEDS_DEVICE();
  expect_fixed_order<double>();
}

TEST(CudaDevice, WarpMaximum) {
  SMPO_NEEDS_DEVICE();
  std::vector<float> x(96);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = -1.0f - static_cast<float>(i * 37 % 96);
  }
  for_every_schedule([&] {
    const DeviceBuffer<float> x_device(x);
    DeviceBuffer<float> largest(x.size());
    all_warp_maxima(x_device.data(), largest.data(), 96);
    const std::vector<float> result = largest.download();
    for (size_t i = 0; i < x.size(); ++i) {
      const auto first = x.begin() + static_cast<ptrdiff_t>(i / 32 * 32);
      EXPECT_EQ(result[i], *std::max_element(first, first + 32));
    }
  });
}

TEST(CudaDevice, BFloat16RoundTripWithTails) {
  SMPO_NEEDS_DEVICE();
  std::vector<float> x;
  for (int i = 0; i < 301; ++i) {
    x.push_back(std::sin(static_cast<float>(i)) * std::exp(static_cast<float>(i % 60 - 30)));
  }
  x[3] = 1.00390625f;  // halfway between two bf16: rounds to even
  x[4] = 1.01171875f;
  x[5] = 3.4e38f;  // rounds to infinity
  x[6] = -0.0f;
  for (const size_t misalign : {size_t{0}, size_t{1}}) {
    for (const size_t count : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{9}, x.size()}) {
      const DeviceBuffer<float> x_device(std::vector<float>(x.begin(), x.begin() + static_cast<ptrdiff_t>(count)),
                                         misalign);
      DeviceBuffer<BFloat16> y(count);
      DeviceBuffer<float> back(count);
      round_trip(x_device.data(), y.data(), back.data(), static_cast<int>(count));
      const std::vector<BFloat16> y_host = y.download();
      const std::vector<float> back_host = back.download();
      for (size_t i = 0; i < count; ++i) {
        EXPECT_EQ(y_host[i].bits, kernels::to_bfloat16(x[i]).bits);
        EXPECT_EQ(back_host[i], kernels::to_float(kernels::to_bfloat16(x[i])));
      }
    }
  }
}

TEST(CudaDevice, BlocksForCoversAndCaps) {
  using kernels::cuda::blocks_for;
  EXPECT_EQ(blocks_for(0, 256), 0u);
  EXPECT_EQ(blocks_for(1, 256), 1u);
  EXPECT_EQ(blocks_for(256, 256), 1u);
  EXPECT_EQ(blocks_for(257, 256), 2u);
  EXPECT_EQ(blocks_for(257, 64, 4), 2u);
  EXPECT_EQ(blocks_for(int64_t{1} << 40, 256), 65536u);
  EXPECT_EQ(blocks_for(int64_t{1} << 40, 256, 1, 528), 528u);
  EXPECT_EQ(blocks_for(INT64_MAX, 256), 65536u);
}

}  // namespace
}  // namespace smpo::test
