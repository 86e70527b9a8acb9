// Each planted bug is detected, and the same kernel without the bug passes.
#include "cuda_on_cpu/planted_bugs.h"

#include <gtest/gtest.h>
#include <regex.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda_on_cpu/device_buffer.h"
#include "cuda_on_cpu/emulator.h"
#include "cuda_on_cpu/every_schedule.h"
#include "cuda_on_cpu/samples.h"
#include "kernels/cuda/error.h"

namespace smpo::test {
namespace {

using kernels::cuda_on_cpu::all_schedules;
using kernels::cuda_on_cpu::Fault;
using kernels::cuda_on_cpu::Schedule;
using kernels::cuda_on_cpu::WithSchedule;

std::vector<float> ramp(int count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    values[static_cast<size_t>(i)] = static_cast<float>(i + 1);
  }
  return values;
}

std::vector<float> run_copy(int count, Bug bug) {
  const DeviceBuffer<float> x(ramp(count));
  DeviceBuffer<float> y(x.size());
  copy(x.data(), y.data(), count, bug);
  return y.download();
}

std::vector<float> run_reverse(int threads, Bug bug) {
  const DeviceBuffer<float> x(ramp(2 * threads));
  DeviceBuffer<float> y(x.size());
  reverse_runs(x.data(), y.data(), 2 * threads, threads, bug);
  return y.download();
}

std::vector<float> run_smooth(Bug bug) {
  const DeviceBuffer<float> x(ramp(64));
  DeviceBuffer<float> y(64);
  smooth_twice(x.data(), y.data(), bug);
  return y.download();
}

std::vector<float> run_warp_sums(Bug bug) {
  const DeviceBuffer<float> x(ramp(128));
  DeviceBuffer<float> sums(4);
  warp_sums(x.data(), sums.data(), 128, bug);
  return sums.download();
}

/// Whether the extended regular expression occurs in the message.
bool finds(const std::string& message, const std::string& expression) {
  regex_t compiled;
  if (regcomp(&compiled, expression.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
    throw std::invalid_argument(expression);
  }
  const bool found = regexec(&compiled, message.c_str(), 0, nullptr, 0) == 0;
  regfree(&compiled);
  return found;
}

/// Number of schedules in which the result is right. NaN differs from itself, so uninitialised values count as wrong.
int right_schedules(const std::vector<float>& expected, const std::function<std::vector<float>()>& kernel) {
  int right = 0;
  for (const Schedule& schedule : all_schedules()) {
    const WithSchedule with(schedule);
    right += kernel() == expected ? 1 : 0;
  }
  return right;
}

/// Expects a Fault in every schedule and returns the last message.
std::string fault_of(const std::function<void()>& kernel) {
  std::string message;
  for (const Schedule& schedule : all_schedules()) {
    const WithSchedule with(schedule);
    try {
      kernel();
      ADD_FAILURE() << "no fault in schedule " << kernels::cuda_on_cpu::name_of(schedule);
    } catch (const Fault& fault) {
      message = fault.what();
    }
  }
  return message;
}

const int kSchedules = static_cast<int>(all_schedules().size());

std::vector<float> reversed_runs(int threads) {
  std::vector<float> values = ramp(2 * threads);
  std::reverse(values.begin(), values.begin() + threads);
  std::reverse(values.begin() + threads, values.end());
  return values;
}

std::vector<float> smoothed() {
  std::vector<float> values = ramp(64);
  values.push_back(0.0f);
  for (int pass = 0; pass < 2; ++pass) {
    for (size_t i = 0; i < 64; ++i) {
      values[i] = 0.5f * (values[i] + values[i + 1]);
    }
  }
  values.pop_back();
  return values;
}

std::vector<float> warp_sums_expected() {
  std::vector<float> sums(4);
  for (int i = 0; i < 128; ++i) {
    sums[static_cast<size_t>(i / 32)] += static_cast<float>(i + 1);
  }
  return sums;
}

// ---- memory

TEST(PlantedBugs, NoneIsSeenInTheCorrectKernels) {
  for_every_schedule([] {
    for (const int count : {0, 1, 4, 7, 1003}) {
      EXPECT_EQ(run_copy(count, Bug::kNone), ramp(count));
    }
    EXPECT_EQ(run_reverse(64, Bug::kNone), reversed_runs(64));
    EXPECT_EQ(run_reverse(96, Bug::kNone), reversed_runs(96));
    EXPECT_EQ(run_smooth(Bug::kNone), smoothed());
    EXPECT_EQ(run_warp_sums(Bug::kNone), warp_sums_expected());
    meet(64, Bug::kNone);
  });
}

TEST(PlantedBugsDeathTest, WriteOnePastABuffer) {
  EXPECT_DEATH(run_copy(10, Bug::kWriteOnePast), "heap-buffer-overflow(.|\n)*WRITE of size 4(.|\n)*copy_kernel");
}

TEST(PlantedBugsDeathTest, ReadOnePastABuffer) {
  EXPECT_DEATH(run_copy(10, Bug::kReadOnePast), "heap-buffer-overflow(.|\n)*READ of size 4(.|\n)*copy_kernel");
}

TEST(PlantedBugsDeathTest, MisalignedVectorAccess) {
  EXPECT_DEATH(run_copy(16, Bug::kMisalignedVector), "misaligned address");
}

TEST(PlantedBugsDeathTest, IndexOverflow) {
  EXPECT_DEATH(run_copy(16, Bug::kIndexOverflow), "signed integer overflow");
}

TEST(PlantedBugsDeathTest, StaticSharedArrayOnePast) {
  EXPECT_DEATH(run_reverse(64, Bug::kStaticSharedOnePast), "global-buffer-overflow(.|\n)*reverse_runs_64_kernel");
}

TEST(PlantedBugsDeathTest, StaticSharedArrayOfATemplateOnePast) {
  EXPECT_DEATH(run_reverse(96, Bug::kTemplateSharedOnePast), "global-buffer-overflow(.|\n)*reverse_runs_kernel");
}

TEST(PlantedBugsDeathTest, DynamicSharedArrayOnePast) {
  EXPECT_DEATH(run_reverse(64, Bug::kDynamicSharedOnePast), "use-after-poison(.|\n)*reverse_runs_dynamic_kernel");
}

TEST(PlantedBugsDeathTest, DynamicSharedArrayOneBefore) {
  EXPECT_DEATH(run_reverse(64, Bug::kDynamicSharedOneBefore), "use-after-poison(.|\n)*reverse_runs_dynamic_kernel");
}

// ---- order

TEST(PlantedBugs, MissingBarrier) {
  EXPECT_LT(right_schedules(reversed_runs(64), [] { return run_reverse(64, Bug::kMissingBarrier); }), kSchedules);
}

TEST(PlantedBugs, MissingSecondBarrier) {
  EXPECT_LT(right_schedules(smoothed(), [] { return run_smooth(Bug::kMissingSecondBarrier); }), kSchedules);
}

TEST(PlantedBugs, MissingSyncwarp) {
  EXPECT_LT(right_schedules(warp_sums_expected(), [] { return run_warp_sums(Bug::kMissingSyncwarp); }), kSchedules);
}

TEST(PlantedBugs, ShuffleWidth) {
  EXPECT_EQ(right_schedules(warp_sums_expected(), [] { return run_warp_sums(Bug::kShuffleWidth); }), 0);
}

TEST(PlantedBugs, RandomSchedulesDiffer) {
  std::vector<std::vector<float>> results;
  for (const Schedule& schedule : all_schedules()) {
    const WithSchedule with(schedule);
    std::vector<float> result = run_smooth(Bug::kMissingSecondBarrier);
    for (const std::vector<float>& other : results) {
      EXPECT_NE(result, other);
    }
    results.push_back(std::move(result));
    EXPECT_EQ(run_smooth(Bug::kMissingSecondBarrier), results.back()) << "a schedule repeats";
  }
}

// ---- barriers

TEST(PlantedBugs, BarrierInDivergentCode) {
  EXPECT_PRED2(finds, fault_of([] { meet(64, Bug::kBarrierInDivergentCode); }),
               ("meet_kernel.*block \\([01],0,0\\): a barrier that not all threads reach: threads 0-39 wait in "
                "__syncthreads at planted_bugs.cu:[0-9]+; threads 40-63 have exited"));
}

TEST(PlantedBugs, TwoBarriersMeet) {
  EXPECT_PRED2(finds, fault_of([] { meet(64, Bug::kTwoBarriersMeet); }),
               ("a barrier in divergent code: __syncthreads at planted_bugs.cu:[0-9]+ meets __syncthreads at "
                "planted_bugs.cu:[0-9]+"));
}

TEST(PlantedBugs, ExitBeforeABarrier) {
  EXPECT_PRED2(finds, fault_of([] { meet(64, Bug::kExitBeforeBarrier); }),
               ("threads 0-49 wait in __syncthreads at .*; threads 50-63 have exited"));
}

// ---- warps

TEST(PlantedBugs, ShuffleOddWidth) {
  EXPECT_PRED2(finds, fault_of([] { run_warp_sums(Bug::kShuffleOddWidth); }), ("width 24 is not a power of two"));
}

TEST(PlantedBugs, ShuffleUnequalWidths) {
  EXPECT_PRED2(finds, fault_of([] { run_warp_sums(Bug::kShuffleUnequalWidths); }),
               ("width (16|32): lane [0-9]+ is in __shfl_down_sync .* width (16|32)"));
}

TEST(PlantedBugs, MaskWithoutCaller) {
  EXPECT_PRED2(finds, fault_of([] { meet(64, Bug::kMaskWithoutCaller); }),
               ("__shfl_sync at planted_bugs.cu:[0-9]+: mask 0x0000ffff does not name the calling lane"));
}

TEST(PlantedBugs, MaskNamesExitedLane) {
  EXPECT_PRED2(finds, fault_of([] { meet(64, Bug::kMaskNamesExitedLane); }),
               ("names lane 5, which has exited|never meets: .*threads 5 have exited|"
                "threads 5, 37 have exited|threads 37 have exited"));
}

TEST(PlantedBugs, MaskNamesMissingLane) {
  EXPECT_PRED2(finds, fault_of([] { meet(40, Bug::kMaskNamesMissingLane); }),
               ("mask 0xffffffff names lane 8 of a warp with 8 lanes"));
}

TEST(PlantedBugs, MaskNamesLaneAtBarrier) {
  EXPECT_PRED2(finds, fault_of([] { meet(32, Bug::kMaskNamesLaneAtBarrier); }),
               ("threads 0-6, 8-31 wait in __any_sync with mask 0xffffffff at .*; threads 7 wait in "
                "__syncthreads"));
}

TEST(PlantedBugs, UnequalMasks) {
  EXPECT_PRED2(finds, fault_of([] { meet(32, Bug::kUnequalMasks); }), ("is in __all_sync at"));
}

TEST(PlantedBugs, ReadOutsideMask) {
  EXPECT_PRED2(finds, fault_of([] { meet(32, Bug::kReadOutsideMask); }),
               ("lane 4 reads lane 8, which mask 0x000000ff does not name"));
}

TEST(PlantedBugs, DifferentIntrinsicsMeet) {
  EXPECT_PRED2(finds, fault_of([] { meet(32, Bug::kDifferentIntrinsicsMeet); }), ("is in __"));
}

// ---- launches

TEST(PlantedBugs, LaunchesThatAGpuRefuses) {
  EXPECT_THROW(meet(1025, Bug::kNone), kernels::cuda::Error);
  EXPECT_THROW(meet(0, Bug::kNone), kernels::cuda::Error);
  EXPECT_THROW(number_threads(nullptr, dim3(1, 65536), dim3(32)), kernels::cuda::Error);
  EXPECT_THROW(number_threads(nullptr, dim3(1), dim3(1, 1, 65)), kernels::cuda::Error);
  EXPECT_THROW(reverse_in_dynamic_shared(nullptr, nullptr, 163 * 256 + 1), kernels::cuda::Error);
  try {
    meet(1025, Bug::kNone);
  } catch (const kernels::cuda::Error& error) {
    EXPECT_EQ(error.code(), 9);  // cudaErrorInvalidConfiguration
    EXPECT_PRED2(finds, error.what(), ("meet_kernel.*block \\(1025,1,1\\)"));
  }
}

TEST(PlantedBugs, AFaultLeavesTheEmulatorUsable) {
  for (int again = 0; again < 3; ++again) {
    EXPECT_THROW(meet(1024, Bug::kBarrierInDivergentCode), Fault);
    EXPECT_EQ(run_reverse(96, Bug::kNone), reversed_runs(96));
  }
}

}  // namespace
}  // namespace smpo::test
