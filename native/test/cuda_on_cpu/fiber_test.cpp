#include "cuda_on_cpu/fiber.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace smpo::test {
namespace {

using kernels::cuda_on_cpu::Fiber;

struct Counter {
  Fiber* fiber;
  std::vector<int> seen;
};

TEST(Fiber, SuspendsAndResumes) {
  Fiber fiber;
  Counter counter{&fiber, {}};
  fiber.start(
      [](void* argument) {
        Counter& self = *static_cast<Counter*>(argument);
        const double local = 0.5;
        for (int i = 0; i < 3; ++i) {
          self.seen.push_back(static_cast<int>(local * 2 * i));
          self.fiber->suspend();
        }
      },
      &counter);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(fiber.resume());
    EXPECT_EQ(counter.seen.size(), i + 1);
  }
  EXPECT_FALSE(fiber.resume());
  EXPECT_EQ(counter.seen, (std::vector<int>{0, 1, 2}));
}

TEST(Fiber, StartsAgainAfterAnUnfinishedBody) {
  Fiber fiber;
  Counter counter{&fiber, {}};
  const auto body = [](void* argument) {
    Counter& self = *static_cast<Counter*>(argument);
    volatile unsigned char array[256];  // has red zones, which must not affect the next start
    array[0] = 1;
    self.seen.push_back(array[0]);
    self.fiber->suspend();
    self.seen.push_back(2);
  };
  for (int again = 0; again < 10; ++again) {
    counter.seen.clear();
    fiber.start(body, &counter);
    EXPECT_TRUE(fiber.resume());
    EXPECT_EQ(counter.seen, (std::vector<int>{1}));
  }
}

TEST(Fiber, ExceptionsAreCaughtInside) {
  Fiber fiber;
  int caught = 0;
  fiber.start(
      [](void* argument) {
        try {
          throw 42;
        } catch (int value) {
          *static_cast<int*>(argument) = value;
        }
      },
      &caught);
  EXPECT_FALSE(fiber.resume());
  EXPECT_EQ(caught, 42);
}

// Not inlined and not a tail call, so that the stack grows.
__attribute__((noinline)) int deeper(int depth) {  // NOLINT: recursion is the point
  volatile unsigned char frame[1024];
  frame[0] = static_cast<unsigned char>(depth);
  const int below = depth == 0 ? 0 : deeper(depth - 1);
  return below + frame[0];
}

TEST(FiberDeathTest, AStackOverflowFaults) {
  Fiber fiber;
  int depth = 100000;
  fiber.start([](void* argument) { *static_cast<int*>(argument) = deeper(*static_cast<int*>(argument)); }, &depth);
  EXPECT_DEATH(fiber.resume(), "AddressSanitizer: (SEGV|stack-overflow)");
}

}  // namespace
}  // namespace smpo::test
