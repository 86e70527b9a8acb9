// Kernels with one bug each, which the emulator must detect. The bug is in the line marked BUG.
#ifndef SMPO_TEST_CUDA_ON_CPU_PLANTED_BUGS_H_
#define SMPO_TEST_CUDA_ON_CPU_PLANTED_BUGS_H_

#include <cstdint>

namespace smpo::test {

enum class Bug {
  kNone,
  kWriteOnePast,
  kReadOnePast,
  kMisalignedVector,
  kStaticSharedOnePast,
  kTemplateSharedOnePast,
  kDynamicSharedOnePast,
  kDynamicSharedOneBefore,
  kIndexOverflow,
  kMissingBarrier,
  kMissingSecondBarrier,
  kMissingSyncwarp,
  kShuffleWidth,
  kShuffleOddWidth,
  kShuffleUnequalWidths,
  kBarrierInDivergentCode,
  kTwoBarriersMeet,
  kExitBeforeBarrier,
  kMaskWithoutCaller,
  kMaskNamesExitedLane,
  kMaskNamesMissingLane,
  kMaskNamesLaneAtBarrier,
  kUnequalMasks,
  kReadOutsideMask,
  kDifferentIntrinsicsMeet,
};

/// y[i] = x[i], 16 bytes at a time where possible, in blocks of 64 threads.
void copy(const float* x, float* y, int count, Bug bug);

/// y = x with each run of `threads` values reversed (count is a multiple of it), through shared memory.
void reverse_runs(const float* x, float* y, int count, int threads, Bug bug);

/// y[i] = x[i] smoothed twice: each pass averages a value with its right neighbour, in a block of 64, in shared memory.
void smooth_twice(const float* x, float* y, Bug bug);

/// sums[w] = sum of x over warp w, by shuffles; count is a multiple of 32.
void warp_sums(const float* x, float* sums, int count, Bug bug);

/// One block of `threads` threads that synchronize, or fail to.
void meet(int threads, Bug bug);

}  // namespace smpo::test

#endif  // SMPO_TEST_CUDA_ON_CPU_PLANTED_BUGS_H_
