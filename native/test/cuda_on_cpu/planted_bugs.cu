#include "cuda_on_cpu/planted_bugs.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace smpo::test {
namespace {

using namespace smpo::kernels::cuda;

__global__ void copy_kernel(const float* x, float* y, int count, Bug bug) {
  int last = count;
  if (bug == Bug::kWriteOnePast) {
    last = count + 1;  // BUG: <= in place of <
  }
  const int vectors = count / 4;
  for (int64_t i = grid_index(); i < vectors; i += grid_stride()) {
    const int64_t from = bug == Bug::kMisalignedVector ? i * 4 + 1 : i * 4;  // BUG: not a multiple of 16 bytes
    store16(y + i * 4, load16(x + from));
  }
  for (int64_t i = vectors * 4 + grid_index(); i < last; i += grid_stride()) {
    y[i] = bug == Bug::kReadOnePast ? x[i + 1] : bug == Bug::kWriteOnePast ? 0.0f : x[i];  // BUG: the neighbour
  }
  if (bug == Bug::kIndexOverflow) {
    int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) + 1;
    for (int i = 0; i < 5; ++i) {
      index *= 40000;  // BUG: 32 bits
    }
    y[index % count] = 0.0f;
  }
}

template <int kThreads>
__global__ void reverse_runs_kernel(const float* x, float* y, Bug bug) {
  __shared__ float run[kThreads];
  const int64_t i = grid_index();
  const int t = static_cast<int>(threadIdx.x);
  const int last = bug == Bug::kTemplateSharedOnePast ? kThreads : kThreads - 1;  // BUG: one too many
  float* const shared = run;
  shared[t] = x[i];
  if (bug != Bug::kMissingBarrier) {  // BUG
    __syncthreads();
  }
  y[i] = shared[last - t];
}

__global__ void reverse_runs_64_kernel(const float* x, float* y, int one_past) {
  __shared__ float before[64];
  __shared__ float run[64];
  const int64_t i = grid_index();
  float* const shared = run;
  before[threadIdx.x] = 0.0f;
  shared[threadIdx.x + static_cast<unsigned>(one_past)] = x[i];  // BUG with one_past = 1
  __syncthreads();
  y[i] = shared[63 - threadIdx.x] + before[threadIdx.x];
}

__global__ void reverse_runs_dynamic_kernel(const float* x, float* y, int shift) {
  SMPO_DYNAMIC_SHARED(float, run);
  const int64_t i = grid_index();
  const int t = static_cast<int>(threadIdx.x);
  run[t] = x[i];
  __syncthreads();
  y[i] = run[static_cast<int>(blockDim.x) - 1 - t + shift];  // BUG with shift = 1 or -1
}

__global__ void smooth_twice_kernel(const float* x, float* y, Bug bug) {
  __shared__ float values[65];
  const unsigned t = threadIdx.x;
  values[t] = x[t];
  if (t == 0) {
    values[64] = 0.0f;
  }
  for (int pass = 0; pass < 2; ++pass) {
    __syncthreads();
    const float mean = 0.5f * (values[t] + values[t + 1]);
    if (bug != Bug::kMissingSecondBarrier) {  // BUG: a neighbour may still read this value
      __syncthreads();
    }
    values[t] = mean;
  }
  y[t] = values[t];
}

__global__ void warp_sums_kernel(const float* x, float* sums, Bug bug) {
  const int64_t i = grid_index();
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (bug == Bug::kMissingSyncwarp) {
    __shared__ float values[32];
    values[lane] = x[i];
    for (int half = 16; half > 0; half /= 2) {
      if (lane < half) {
        values[lane] += values[lane + half];  // BUG: not ordered with the neighbours' writes
      }
    }
    if (lane == 0) {
      sums[i / 32] = values[0];
    }
    return;
  }
  int width = 32;
  if (bug == Bug::kShuffleWidth) {
    width = 16;  // BUG: half a warp
  } else if (bug == Bug::kShuffleOddWidth) {
    width = 24;  // BUG: not a power of two
  } else if (bug == Bug::kShuffleUnequalWidths) {
    width = lane < 16 ? 32 : 16;  // BUG
  }
  float sum = x[i];
  for (unsigned delta = 16; delta > 0; delta /= 2) {
    sum += __shfl_down_sync(kAllLanes, sum, delta, width);
  }
  if (lane == 0) {
    sums[i / 32] = sum;
  }
}

__global__ void meet_kernel(Bug bug) {
  const int t = static_cast<int>(threadIdx.x);
  switch (bug) {
    case Bug::kBarrierInDivergentCode:
      if (t < 40) {
        __syncthreads();  // BUG: 40 of 64 threads
      }
      break;
    case Bug::kTwoBarriersMeet:
      if (t % 2 == 0) {
        __syncthreads();  // BUG: the odd threads wait at a different barrier
      } else {
        __syncthreads();
      }
      break;
    case Bug::kExitBeforeBarrier:
      if (t >= 50) {
        return;  // BUG: the tail must stay for the barrier
      }
      __syncthreads();
      break;
    case Bug::kMaskWithoutCaller:
      static_cast<void>(__shfl_sync(0x0000ffffu, t, 0));  // BUG: lanes 16 to 31 also call it
      break;
    case Bug::kMaskNamesExitedLane:
      if (t % 32 == 5) {
        return;
      }
      __syncwarp();
      static_cast<void>(__ballot_sync(kAllLanes, 1));  // BUG: lane 5 has exited
      break;
    case Bug::kMaskNamesMissingLane:
      static_cast<void>(__shfl_xor_sync(kAllLanes, t, 1));  // BUG when the block's last warp is incomplete
      break;
    case Bug::kMaskNamesLaneAtBarrier:
      if (t != 7) {
        static_cast<void>(__any_sync(kAllLanes, 1));  // BUG: lane 7 waits at the barrier
      }
      __syncthreads();
      break;
    case Bug::kUnequalMasks:
      static_cast<void>(__all_sync(t % 32 < 16 ? kAllLanes : 0xffff0000u, 1));  // BUG
      break;
    case Bug::kReadOutsideMask:
      if (t % 32 < 8) {
        static_cast<void>(__shfl_down_sync(0xffu, t, 4));  // BUG: lane 4 reads lane 8
      }
      break;
    case Bug::kDifferentIntrinsicsMeet:
      if (t % 2 == 0) {
        __syncwarp();  // BUG
      } else {
        static_cast<void>(__any_sync(kAllLanes, 1));
      }
      break;
    default:
      __syncthreads();
      __syncwarp();
      break;
  }
}

}  // namespace

void copy(const float* x, float* y, int count, Bug bug) { launch(copy_kernel, 2, 64, 0, nullptr, x, y, count, bug); }

void reverse_runs(const float* x, float* y, int count, int threads, Bug bug) {
  const unsigned block = static_cast<unsigned>(threads);
  const unsigned grid = static_cast<unsigned>(count) / block;
  switch (bug) {
    case Bug::kStaticSharedOnePast:
      return launch(reverse_runs_64_kernel, grid, block, 0, nullptr, x, y, 1);
    case Bug::kDynamicSharedOnePast:
      return launch(reverse_runs_dynamic_kernel, grid, block, block * sizeof(float), nullptr, x, y, 1);
    case Bug::kDynamicSharedOneBefore:
      return launch(reverse_runs_dynamic_kernel, grid, block, block * sizeof(float), nullptr, x, y, -1);
    default:
      break;
  }
  if (threads == 64) {
    launch(reverse_runs_kernel<64>, grid, block, 0, nullptr, x, y, bug);
  } else {
    launch(reverse_runs_kernel<96>, grid, block, 0, nullptr, x, y, bug);
  }
}

void smooth_twice(const float* x, float* y, Bug bug) { launch(smooth_twice_kernel, 1, 64, 0, nullptr, x, y, bug); }

void warp_sums(const float* x, float* sums, int count, Bug bug) {
  launch(warp_sums_kernel, static_cast<unsigned>(count) / 32, 32, 0, nullptr, x, sums, bug);
}

void meet(int threads, Bug bug) { launch(meet_kernel, 2, static_cast<unsigned>(threads), 0, nullptr, bug); }

}  // namespace smpo::test
