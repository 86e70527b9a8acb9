#include "engine/memory/arena_allocator.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/cpu_info.h"
#include "engine/error.h"
#include "engine/memory/cpu_tensors.h"
#include "support/process_memory.h"

namespace smpo::engine {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

ArenaOptions plenty() { return {.pool_bytes = 256 * kMiB, .limit_bytes = 1024 * kMiB}; }

bool aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % ArenaAllocator::kAlignment == 0; }

TEST(ArenaAllocator, BlocksAreAlignedWritableAndApart) {
  ArenaAllocator arena(plenty());
  std::vector<std::pair<unsigned char*, size_t>> blocks;
  for (size_t bytes = 1; bytes <= 9 * kMiB; bytes = bytes * 5 / 3 + 1) {
    auto* data = static_cast<unsigned char*>(arena.allocate(bytes));
    ASSERT_TRUE(aligned(data)) << bytes;
    std::memset(data, static_cast<int>(blocks.size()), bytes);
    blocks.emplace_back(data, bytes);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto [data, bytes] = blocks[i];
    EXPECT_EQ(data[0], i);
    EXPECT_EQ(data[bytes - 1], i);
    EXPECT_EQ(data[bytes / 2], i);
    arena.deallocate(data);
  }
  EXPECT_EQ(arena.statistics().in_use, 0u);
}

TEST(ArenaAllocator, ClassesAreMonotonousAndWasteAnEighthAtMost) {
  size_t previous = 0;
  for (size_t bytes = 1; bytes < 70'000; ++bytes) {
    const size_t block = ArenaAllocator::block_bytes(bytes);
    ASSERT_GE(block, bytes);
    ASSERT_GE(block, previous);
    ASSERT_EQ(block % ArenaAllocator::kAlignment, 0u);
    ASSERT_LE(block, std::max(bytes + bytes / 8, (bytes + 63) / 64 * 64)) << bytes;
    ASSERT_EQ(ArenaAllocator::block_bytes(block), block) << "a class holds its own size";
    previous = block;
  }
  for (int power = 17; power < 47; ++power) {
    const size_t exact = size_t{1} << power;
    EXPECT_EQ(ArenaAllocator::block_bytes(exact), exact) << "powers of two waste nothing";
    EXPECT_EQ(ArenaAllocator::block_bytes(exact + 1), exact + exact / 8);
  }
}

// For every size class: two requests share a block exactly if they have the same block size.
TEST(ArenaAllocator, AFreedBlockServesTheNextRequestOfItsClass) {
  for (const size_t bytes : {size_t{1}, size_t{64}, size_t{500}, size_t{513}, size_t{4097}, size_t{300'000},
                             static_cast<size_t>(5 * kMiB) + 12}) {
    ArenaAllocator arena(plenty());
    void* first = arena.allocate(bytes);
    arena.deallocate(first);
    void* again = arena.allocate(ArenaAllocator::block_bytes(bytes));
    EXPECT_EQ(again, first) << bytes;
    void* larger = arena.allocate(ArenaAllocator::block_bytes(bytes) + 1);
    EXPECT_NE(larger, first);
    arena.deallocate(again);
    arena.deallocate(larger);
    EXPECT_EQ(arena.statistics().reused, 1u);
  }
}

TEST(ArenaAllocator, NothingIsAsked) {
  ArenaAllocator arena(plenty());
  EXPECT_EQ(arena.allocate(0), nullptr);
  arena.deallocate(nullptr);
  EXPECT_EQ(arena.statistics().created, 0u);
}

TEST(ArenaAllocator, CountsInUsePeakAndPooled) {
  ArenaAllocator arena(plenty());
  void* a = arena.allocate(kMiB);
  void* b = arena.allocate(2 * kMiB);
  EXPECT_EQ(arena.statistics().in_use, 3 * kMiB);
  arena.deallocate(a);
  EXPECT_EQ(arena.statistics().in_use, 2 * kMiB);
  EXPECT_EQ(arena.statistics().pooled, kMiB);
  EXPECT_EQ(arena.statistics().peak, 3 * kMiB);
  a = arena.allocate(kMiB);
  EXPECT_EQ(arena.statistics().pooled, 0u);
  EXPECT_EQ(arena.statistics().reused, 1u);
  EXPECT_EQ(arena.statistics().created, 2u);
  EXPECT_EQ(arena.statistics().peak, 3 * kMiB);
  arena.deallocate(a);
  arena.deallocate(b);
}

TEST(ArenaAllocator, AFullPoolFreesTheLeastRecentlyUsedBlock) {
  ArenaAllocator arena({.pool_bytes = 4 * kMiB, .limit_bytes = 1024 * kMiB});
  void* a = arena.allocate(kMiB);
  void* b = arena.allocate(2 * kMiB);
  void* c = arena.allocate(3 * kMiB);
  arena.deallocate(a);
  arena.deallocate(b);
  EXPECT_EQ(arena.statistics().pooled, 3 * kMiB);
  arena.deallocate(c);  // 6 MiB would exceed the pool: a and b are freed
  EXPECT_EQ(arena.statistics().pooled, 3 * kMiB);
  EXPECT_EQ(arena.allocate(3 * kMiB), c);
  arena.deallocate(c);
  void* d = arena.allocate(5 * kMiB);
  arena.deallocate(d);  // larger than the pool: freed at once, and nothing is evicted for it
  EXPECT_EQ(arena.statistics().pooled, 3 * kMiB);
}

TEST(ArenaAllocator, ThePoolStaysWithinItsBoundWhenShapesVary) {
  constexpr uint64_t kBound = 8 * kMiB;
  ArenaAllocator arena({.pool_bytes = kBound, .limit_bytes = 1024 * kMiB});
  std::mt19937_64 random(1);
  std::vector<void*> live;
  for (int i = 0; i < 20'000; ++i) {
    live.push_back(arena.allocate(1 + random() % (kMiB / 2)));
    if (live.size() > 20) {
      std::swap(live[random() % live.size()], live.back());
      arena.deallocate(live.back());
      live.pop_back();
    }
    ASSERT_LE(arena.statistics().pooled, kBound);
  }
  for (void* data : live) arena.deallocate(data);
}

TEST(ArenaAllocator, MemoryThatOnePhaseFreedIsNotResidentInTheNext) {
  ArenaAllocator arena({.pool_bytes = 256 * kMiB, .limit_bytes = 1024 * kMiB, .slack_bytes = kMiB});
  // Alternates two phases that use equally much memory and have no size in common.
  const auto phase = [&arena](size_t bytes) {
    std::vector<void*> live(64 * kMiB / bytes);
    for (void*& data : live) {
      data = arena.allocate(bytes);
      const ArenaStatistics now = arena.statistics();
      EXPECT_LE(now.in_use + now.pooled, now.peak + now.peak / 128 + kMiB);
    }
    for (void* data : live) arena.deallocate(data);
  };
  for (int i = 0; i < 3; ++i) {
    phase(kMiB);
    phase(2 * kMiB);
  }
  EXPECT_EQ(arena.statistics().peak, 64 * kMiB);
  EXPECT_LE(arena.statistics().pooled, 69 * kMiB);
  // With a larger slack the pool would hold both.
  ArenaAllocator generous({.pool_bytes = 256 * kMiB, .limit_bytes = 1024 * kMiB, .slack_bytes = 256 * kMiB});
  std::vector<void*> live;
  for (const size_t bytes : {kMiB, 2 * kMiB}) {
    for (size_t i = 0; i < 64 * kMiB / bytes; ++i) live.push_back(generous.allocate(bytes));
    for (void* data : live) generous.deallocate(data);
    live.clear();
  }
  EXPECT_EQ(generous.statistics().pooled, 128 * kMiB);
}

TEST(ArenaAllocator, TrimGivesTheOldestBack) {
  ArenaAllocator arena(plenty());
  void* a = arena.allocate(kMiB);
  void* b = arena.allocate(2 * kMiB);
  arena.deallocate(a);
  arena.deallocate(b);
  EXPECT_EQ(arena.trim(2 * kMiB), kMiB);
  EXPECT_EQ(arena.statistics().pooled, 2 * kMiB);
  EXPECT_EQ(arena.trim(), 2 * kMiB);
  EXPECT_EQ(arena.trim(), 0u);
  EXPECT_EQ(arena.statistics().pooled, 0u);
}

TEST(ArenaAllocator, TrimReachesTheOperatingSystem) {
  ArenaAllocator arena(plenty());
  constexpr uint64_t kBytes = 64 * kMiB;
  void* data = arena.allocate(kBytes);
  std::memset(data, 1, kBytes);
  arena.deallocate(data);
  const int64_t before = test::resident_bytes();
  arena.trim();
  const int64_t given_back = before - test::resident_bytes();
  // AddressSanitizer's shadow of the block (an eighth) is resident with it; a quarter covers that and noise.
  EXPECT_GT(given_back, static_cast<int64_t>(kBytes - kBytes / 4));
}

TEST(ArenaAllocator, TheLimitIsOutOfMemoryAfterThePoolIsFreed) {
  ArenaAllocator arena({.pool_bytes = 8 * kMiB, .limit_bytes = 8 * kMiB});
  void* a = arena.allocate(5 * kMiB);
  try {
    arena.allocate(4 * kMiB);
    FAIL() << "9 MiB of 8";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SMPO_OUT_OF_MEMORY);
    EXPECT_STREQ(error.what(), "host memory: 4194304 bytes asked for, 5242880 in use, the limit is 8388608");
  }
  EXPECT_EQ(arena.statistics().in_use, 5 * kMiB) << "a refused request counts nothing";
  arena.deallocate(a);
  EXPECT_EQ(arena.statistics().pooled, 5 * kMiB);
  void* b = arena.allocate(8 * kMiB);
  EXPECT_EQ(arena.statistics().pooled, 0u);
  arena.deallocate(b);
}

TEST(ArenaAllocator, ARefusalOfTheSystemIsOutOfMemory) {
  ArenaAllocator arena({.pool_bytes = 8 * kMiB, .limit_bytes = UINT64_MAX});
  for (const size_t bytes : {size_t{1} << 47, (size_t{1} << 47) + 1, SIZE_MAX}) {
    try {
      arena.allocate(bytes);
      FAIL() << bytes;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), SMPO_OUT_OF_MEMORY) << error.what();
    }
    EXPECT_EQ(arena.statistics().in_use, 0u);
  }
}

TEST(ArenaAllocator, ManyThreadsNeverShareABlock) {
  ArenaAllocator arena({.pool_bytes = 16 * kMiB, .limit_bytes = 1024 * kMiB});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&arena, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      struct Mine {
        unsigned char* data;
        size_t bytes;
        unsigned char mark;
      };
      std::vector<Mine> mine;
      for (int i = 0; i < 20'000; ++i) {
        const size_t bytes = 1 + random() % (i % 50 == 0 ? kMiB : 8192);
        const auto mark = static_cast<unsigned char>(random());
        auto* data = static_cast<unsigned char*>(arena.allocate(bytes));
        data[0] = mark;
        data[bytes - 1] = mark;
        mine.push_back({data, bytes, mark});
        if (mine.size() > 16) {
          std::swap(mine[random() % mine.size()], mine.back());
          const Mine last = mine.back();
          ASSERT_EQ(last.data[0], last.mark);
          ASSERT_EQ(last.data[last.bytes - 1], last.mark);
          arena.deallocate(last.data);
          mine.pop_back();
        }
        if (t == 0 && i % 1000 == 0) arena.trim();
      }
      for (const Mine& block : mine) arena.deallocate(block.data);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(arena.statistics().in_use, 0u);
  EXPECT_EQ(arena.statistics().reused + arena.statistics().created, 80'000u);
}

using ArenaAllocatorDeathTest = ::testing::Test;

TEST(ArenaAllocator, ADoubleFreeIsReportedAndNoBlockIsAllocatedTwice) {
  ArenaAllocator arena(plenty());
  void* data = arena.allocate(100);
  arena.deallocate(data);
  ::testing::internal::CaptureStderr();
  arena.deallocate(data);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("freed twice"), std::string::npos);
  void* first = arena.allocate(100);
  void* second = arena.allocate(100);
  EXPECT_NE(first, second);
  arena.deallocate(first);
  arena.deallocate(second);
  EXPECT_EQ(arena.statistics().in_use, 0u);
}

TEST(ArenaAllocatorDeathTest, AddressSanitizerSeesFreedBlocksAndBothEnds) {
#ifndef SMPO_SANITIZE
  GTEST_SKIP() << "needs a build with -DSMPO_SANITIZE=ON";
#else
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  ArenaAllocator arena(plenty());
  for (const size_t bytes : {size_t{100}, static_cast<size_t>(kMiB) + 3}) {
    auto* volatile data = static_cast<volatile char*>(arena.allocate(bytes));
    data[bytes - 1] = 1;
    EXPECT_DEATH(data[bytes] = 1, "use-after-poison") << "one past the end";
    EXPECT_DEATH(data[-1] = 1, "use-after-poison") << "one before the start";
    arena.deallocate(const_cast<char*>(data));
    EXPECT_DEATH(data[0] = 1, "use-after-poison") << "after the block was freed";
    data = static_cast<volatile char*>(arena.allocate(bytes));
    data[0] = 1;
    arena.deallocate(const_cast<char*>(data));
  }
#endif
}

// What the process holds beside the arena is not free, and a sixteenth stays free for what it will ask for next.
TEST(ArenaAllocator, TheRestOfTheProcessLowersTheLimit) {
  static uint64_t process = 0;
  ArenaAllocator arena(
      {.pool_bytes = 0, .limit_bytes = 192 * kMiB, .memory_bytes = 256 * kMiB, .process_bytes = []() noexcept {
         return process;
       }});
  process = 176 * kMiB;
  void* first = arena.allocate(64 * kMiB);  // 256 - 176 - 16
  process = 100 * kMiB;                     // 36 beside the first block: 204 would be free, the limit is lower
  void* second = arena.allocate(128 * kMiB);
  arena.deallocate(second);
  process = 177 * kMiB + 64 * kMiB;
  EXPECT_THROW(arena.allocate(kMiB), Error);
  arena.deallocate(arena.allocate(1000));  // Small blocks are not worth a look at the process.
  arena.deallocate(first);
}

TEST(CpuTensors, LibTorchTakesItsMemoryFromTheArena) {
  ArenaAllocator& arena = cpu_tensors();
  const uint64_t before = arena.statistics().in_use;
  {
    const at::Tensor tensor = at::empty({1024, 1024});
    EXPECT_EQ(arena.statistics().in_use, before + 4 * kMiB);
    EXPECT_TRUE(aligned(tensor.const_data_ptr()));
  }
  EXPECT_EQ(arena.statistics().in_use, before);
}

TEST(CpuTensors, TheLimitLeavesTheRestOfTheProcessItsShare) {
  EXPECT_EQ(tensor_limit(512 * kMiB), 384 * kMiB);
  EXPECT_EQ(tensor_limit(2048 * kMiB), 1536 * kMiB);
  EXPECT_EQ(tensor_limit(4096 * kMiB), 3072 * kMiB);
  EXPECT_EQ(tensor_limit(24576 * kMiB), 23552 * kMiB);
  // A request beyond the limit is refused although the machine's memory would hold it.
  const uint64_t memory = CpuInfo::of_this_process().total_memory;
  try {
    cpu_tensors().allocate(tensor_limit(memory) + 64);
    ADD_FAILURE() << "the request was served";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SMPO_OUT_OF_MEMORY);
    EXPECT_NE(std::string(error.what()).find("the limit is "), std::string::npos) << error.what();
  }
}

TEST(CpuTensors, RawAllocateAndDeallocateWork) {
  cpu_tensors();
  c10::Allocator* allocator = c10::GetCPUAllocator();
  void* data = allocator->raw_allocate(1000);
  std::memset(data, 1, 1000);
  allocator->raw_deallocate(data);
  EXPECT_EQ(allocator->raw_allocate(0), nullptr);
  allocator->raw_deallocate(nullptr);
}

// oneDNN allocates its scratch memory with raw_allocate, so a block must be freeable by its address alone.
TEST(CpuTensors, AConvolutionRuns) {
  cpu_tensors();
  const at::Tensor input = at::ones({1, 64, 16, 16});
  const at::Tensor weight = at::ones({32, 64, 3, 3});
  const at::Tensor output = at::conv2d(input, weight);
  EXPECT_EQ(output.sizes(), at::IntArrayRef({1, 32, 14, 14}));
  EXPECT_EQ(output.min().item<float>(), 576.0f);
  EXPECT_EQ(output.max().item<float>(), 576.0f);
}

}  // namespace
}  // namespace smpo::engine
