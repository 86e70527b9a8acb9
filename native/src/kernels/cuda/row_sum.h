// Sums over one chunk of a row on the device, in the order that row_mean_squared_error.h fixes: the bits of the CPU's.
#ifndef SMPO_KERNELS_CUDA_ROW_SUM_H_
#define SMPO_KERNELS_CUDA_ROW_SUM_H_

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/rounding.h"
#include "kernels/row_mean_squared_error.h"
#include "kernels/types.h"

namespace smpo::kernels::cuda {

/// One thread per lane of each group of a chunk.
inline constexpr int kRowSumThreads = static_cast<int>(row_sum::kChunk / row_sum::kDepth);
inline constexpr int kRowSumGroups = static_cast<int>(row_sum::kChunk / row_sum::kGroup);

/// Element of the chunk that is number `depth` of this thread's lane in its group.
__device__ __forceinline__ int64_t row_sum_element(int depth) {
  const int64_t group = thread_index() / row_sum::kLanes;
  const int64_t lane = thread_index() % row_sum::kLanes;
  return group * row_sum::kGroup + depth * row_sum::kLanes + lane;
}

/// a - b of this thread's elements; zero from `count` on.
template <class A, class B>
__device__ __forceinline__ void load_differences(const A* a, const B* b, int64_t count, float* differences) {
#pragma unroll
  for (int depth = 0; depth < row_sum::kDepth; ++depth) {
    const int64_t i = row_sum_element(depth);
    differences[depth] = i < count ? rounded::subtract(to_float(a[i]), to_float(b[i])) : 0.0f;
  }
}

/// The balanced tree over a lane's kDepth values in its group, which it overwrites.
__device__ __forceinline__ float sum_tree(float* sums) {
#pragma unroll
  for (int width = 1; width < row_sum::kDepth; width *= 2) {
#pragma unroll
    for (int depth = 0; depth < row_sum::kDepth; depth += 2 * width) {
      sums[depth] = rounded::add(sums[depth], sums[depth + width]);
    }
  }
  return sums[0];
}

/// The balanced tree over a lane's products in its group. Never contracted: the CPU's is not.
__device__ __forceinline__ float product_tree(const float* a, const float* b) {
  float sums[row_sum::kDepth];
#pragma unroll
  for (int depth = 0; depth < row_sum::kDepth; ++depth) {
    sums[depth] = rounded::multiply(a[depth], b[depth]);
  }
  return sum_tree(sums);
}

/// Sum over the chunk from each thread's tree: groups in ascending order in each lane, then a tree over the lanes.
/// Every thread of the block calls it; thread 0 has the result. `scratch`: kRowSumThreads doubles of shared memory,
/// which may be used again at once.
__device__ __forceinline__ double chunk_sum(float tree, double* scratch) {
  scratch[thread_index()] = static_cast<double>(tree);
  __syncthreads();
  double sum = 0.0;
  if (thread_index() < row_sum::kLanes) {
    for (int group = 0; group < kRowSumGroups; ++group) {
      sum += scratch[group * row_sum::kLanes + thread_index()];
    }
  }
  __syncthreads();
  if (thread_index() < kWarp) {
#pragma unroll
    for (int width = static_cast<int>(row_sum::kLanes) / 2; width > 0; width /= 2) {
      sum += __shfl_down_sync(kAllLanes, sum, width);
    }
  }
  return sum;
}

/// Mean of a row from the sums of its chunks.
__device__ __forceinline__ double mean_of(const double* chunk_sums, int64_t elements) {
  const int64_t chunks = row_sum::chunks_of(elements);
  double sum = 0.0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    sum += chunk_sums[chunk];
  }
  return sum / static_cast<double>(elements);
}

/// Calls `f` with a null pointer of the type that `dtype` names.
template <class F>
void with_dtype(DType dtype, F f) {
  if (dtype == DType::kF32) {
    f(static_cast<float*>(nullptr));
  } else {
    f(static_cast<BFloat16*>(nullptr));
  }
}

}  // namespace smpo::kernels::cuda

#endif  // SMPO_KERNELS_CUDA_ROW_SUM_H_
