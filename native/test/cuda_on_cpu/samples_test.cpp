// Correct kernels give right results in every order of threads and blocks.
#include "cuda_on_cpu/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "cuda_on_cpu/device_buffer.h"
#include "cuda_on_cpu/every_schedule.h"

namespace smpo::test {
namespace {

template <class T>
std::vector<T> whole_numbers(size_t count, int modulus) {
  std::vector<T> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = static_cast<T>(static_cast<int>(i * 7919 + 13) % modulus);
  }
  return values;
}

TEST(CudaSamples, BlockSums) {
  SMPO_NEEDS_DEVICE();
  for (const int threads : {32, 64, 96, 1024}) {
    for (const int64_t count : {0, 1, 31, 33, 1000, 4099}) {
      SCOPED_TRACE(testing::Message() << threads << " threads, " << count << " values");
      const std::vector<float> x = whole_numbers<float>(static_cast<size_t>(count), 17);
      for_every_schedule([&] {
        const DeviceBuffer<float> x_device(x);
        DeviceBuffer<float> sums(3);
        block_sums(x_device.data(), count, sums.data(), 3, threads);
        const std::vector<float> result = sums.download();
        EXPECT_EQ(std::accumulate(result.begin(), result.end(), 0.0f), std::accumulate(x.begin(), x.end(), 0.0f));
      });
    }
  }
}

TEST(CudaSamples, SumByLastBlock) {
  SMPO_NEEDS_DEVICE();
  const std::vector<float> x = whole_numbers<float>(5000, 11);
  for_every_schedule([&] {
    const DeviceBuffer<float> x_device(x);
    DeviceBuffer<float> partial(7);
    DeviceBuffer<float> total(1);
    DeviceBuffer<unsigned> done(std::vector<unsigned>{0});
    for (int again = 0; again < 2; ++again) {
      sum_by_last_block(x_device.data(), 5000, partial.data(), total.data(), done.data(), 7);
      EXPECT_EQ(total.download()[0], std::accumulate(x.begin(), x.end(), 0.0f));
      EXPECT_EQ(done.download()[0], 0u);
    }
  });
}

TEST(CudaSamples, Transpose) {
  SMPO_NEEDS_DEVICE();
  for (const auto& [rows, columns] : {std::pair{1, 1}, {32, 32}, {33, 65}, {70, 3}}) {
    const std::vector<float> x = whole_numbers<float>(static_cast<size_t>(rows * columns), 100003);
    for_every_schedule([&, rows = rows, columns = columns] {
      const DeviceBuffer<float> x_device(x);
      DeviceBuffer<float> y(x.size());
      transpose(x_device.data(), y.data(), rows, columns);
      const std::vector<float> result = y.download();
      for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < columns; ++c) {
          ASSERT_EQ(result[static_cast<size_t>(c * rows + r)], x[static_cast<size_t>(r * columns + c)]);
        }
      }
    });
  }
}

TEST(CudaSamples, Histogram) {
  SMPO_NEEDS_DEVICE();
  const std::vector<unsigned char> x = whole_numbers<unsigned char>(3001, 200);
  std::vector<unsigned> expected(256);
  for (const unsigned char value : x) {
    ++expected[value];
  }
  for_every_schedule([&] {
    const DeviceBuffer<unsigned char> x_device(x);
    DeviceBuffer<unsigned> counts(std::vector<unsigned>(256));
    histogram(x_device.data(), 3001, counts.data(), 3, 96);
    EXPECT_EQ(counts.download(), expected);
  });
}

TEST(CudaSamples, WarpScan) {
  SMPO_NEEDS_DEVICE();
  const std::vector<int> x = whole_numbers<int>(256, 1000);
  std::vector<int> expected(x);
  for (size_t i = 0; i < x.size(); ++i) {
    expected[i] += i % 32 == 0 ? 0 : expected[i - 1];
  }
  for_every_schedule([&] {
    const DeviceBuffer<int> x_device(x);
    DeviceBuffer<int> y(x.size());
    warp_scan(x_device.data(), y.data(), 256);
    EXPECT_EQ(y.download(), expected);
  });
}

TEST(CudaSamples, WarpVotes) {
  SMPO_NEEDS_DEVICE();
  std::vector<int> x = whole_numbers<int>(128, 5);
  std::fill(x.begin(), x.begin() + 32, 0);
  std::fill(x.begin() + 32, x.begin() + 64, 3);
  for_every_schedule([&] {
    const DeviceBuffer<int> x_device(x);
    DeviceBuffer<int> equal(x.size());
    DeviceBuffer<unsigned> votes(4 * 3);
    warp_votes(x_device.data(), equal.data(), votes.data(), 128);
    const std::vector<int> equal_host = equal.download();
    const std::vector<unsigned> votes_host = votes.download();
    for (size_t warp = 0; warp < 4; ++warp) {
      unsigned ballot = 0;
      for (size_t lane = 0; lane < 32; ++lane) {
        const auto first = x.begin() + static_cast<ptrdiff_t>(warp * 32);
        const int value = x[warp * 32 + lane];
        EXPECT_EQ(equal_host[warp * 32 + lane], std::count(first, first + 32, value));
        ballot |= value != 0 ? 1u << lane : 0u;
      }
      EXPECT_EQ(votes_host[warp * 3], ballot != 0 ? 1u : 0u);
      EXPECT_EQ(votes_host[warp * 3 + 1], ballot == 0xffffffffu ? 1u : 0u);
      EXPECT_EQ(votes_host[warp * 3 + 2], ballot);
    }
  });
}

TEST(CudaSamples, CountingBarriers) {
  SMPO_NEEDS_DEVICE();
  for_every_schedule([&] {
    const DeviceBuffer<int> x(std::vector<int>{1, 2, 3, 4, 5, 7, 0});
    DeviceBuffer<int> out(3);
    counting_barriers(x.data(), out.data(), 7);
    EXPECT_EQ(out.download(), (std::vector<int>{4, 0, 1}));
  });
}

TEST(CudaSamples, DynamicSharedAboveTheDefaultLimit) {
  SMPO_NEEDS_DEVICE();
  const int count = 20011;  // 80 KB
  const std::vector<float> x = whole_numbers<float>(count, 100003);
  for_every_schedule([&] {
    const DeviceBuffer<float> x_device(x);
    DeviceBuffer<float> y(x.size());
    reverse_in_dynamic_shared(x_device.data(), y.data(), count);
    EXPECT_EQ(y.download(), std::vector<float>(x.rbegin(), x.rend()));
  });
}

TEST(CudaSamples, ThreeDimensionalGridAndBlock) {
  SMPO_NEEDS_DEVICE();
  std::vector<int> expected(5 * 3 * 2 * 7 * 3 * 3);
  std::iota(expected.begin(), expected.end(), 0);
  for_every_schedule([&] {
    DeviceBuffer<int> index(expected.size());
    number_threads(index.data(), dim3(5, 3, 2), dim3(7, 3, 3));
    EXPECT_EQ(index.download(), expected);
  });
}

TEST(CudaSamples, SpinLockMakesProgress) {
  SMPO_NEEDS_DEVICE();
  for_every_schedule([&] {
    DeviceBuffer<unsigned> lock(std::vector<unsigned>{0});
    DeviceBuffer<int> out(std::vector<int>{0});
    count_under_lock(lock.data(), out.data(), 96);
    EXPECT_EQ(out.download()[0], 96);
  });
}

#if defined(SMPO_CUDA_ON_CPU)
TEST(CudaSamples, UnwrittenSharedMemoryIsNaNInEveryBlock) {
  for (int again = 0; again < 2; ++again) {
    DeviceBuffer<float> fixed(64);
    DeviceBuffer<float> dynamic(64);
    read_unwritten_shared(fixed.data(), dynamic.data(), 64);
    for (const float value : fixed.download()) {
      EXPECT_TRUE(std::isnan(value));
    }
    for (const float value : dynamic.download()) {
      EXPECT_TRUE(std::isnan(value));
    }
  }
}
#endif

TEST(CudaSamples, AnEmptyGridLaunchesNothing) { number_threads(nullptr, dim3(0), dim3(32)); }

TEST(CudaSamples, LaunchesFromSeveralHostThreads) {
  SMPO_NEEDS_DEVICE();
  const std::vector<float> x = whole_numbers<float>(2000, 17);
  std::vector<float> totals(4);
  std::vector<std::string> problems(totals.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < totals.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        const DeviceBuffer<float> x_device(x);
        for (int again = 0; again < 5; ++again) {
          DeviceBuffer<float> sums(3);
          block_sums(x_device.data(), 2000, sums.data(), 3, 256);
          const std::vector<float> result = sums.download();
          totals[i] = std::accumulate(result.begin(), result.end(), 0.0f);
        }
      } catch (const std::exception& exception) {
        problems[i] = exception.what();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(problems, std::vector<std::string>(4));
  EXPECT_EQ(totals, std::vector<float>(4, std::accumulate(x.begin(), x.end(), 0.0f)));
}

}  // namespace
}  // namespace smpo::test
