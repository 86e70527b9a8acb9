#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/grad_norm.h"

namespace smpo::kernels::cuda {
namespace {

using namespace square_sum;  // NOLINT: the constants of this family

/// One thread per lane of each group of a chunk: a half warp reads 64 contiguous bytes.
constexpr int kGroups = static_cast<int>(kChunk / kGroup);
constexpr int kSumThreads = static_cast<int>(kGroups * kLanes);
constexpr int kDepth = static_cast<int>(kGroup / kLanes);

/// One block per chunk.
__global__ void sum_chunks(const float* gradient, int64_t elements, int64_t chunks, double* sums) {
  __shared__ double group_sums[kGroups];
  const int group = threadIdx.x / static_cast<int>(kLanes);
  const int lane = threadIdx.x % static_cast<int>(kLanes);
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const int64_t first = chunk * kChunk + group * kGroup + lane;
    double sum = 0.0;
#pragma unroll 8
    for (int depth = 0; depth < kDepth; ++depth) {
      const int64_t i = first + depth * kLanes;
      const double g = i < elements ? static_cast<double>(gradient[i]) : 0.0;
      sum += g * g;  // exact product: contraction changes nothing
    }
#pragma unroll
    for (int width = static_cast<int>(kLanes) / 2; width > 0; width /= 2) {
      sum += __shfl_down_sync(kAllLanes, sum, width, static_cast<int>(kLanes));
    }
    if (lane == 0) {
      group_sums[group] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      double total = 0.0;
      for (int g = 0; g < kGroups; ++g) {
        total += group_sums[g];
      }
      sums[chunk] = total;
    }
    __syncthreads();
  }
}

/// One block of kFinalLanes threads.
__global__ void finish(const double* sums, int64_t chunks, double max_norm, GradNormResult* result) {
  __shared__ double lanes[kFinalLanes];
  const int lane = threadIdx.x;
  double sum = 0.0;
  for (int64_t chunk = lane; chunk < chunks; chunk += kFinalLanes) {
    sum += sums[chunk];
  }
  lanes[lane] = sum;
  __syncthreads();
  for (int width = static_cast<int>(kFinalLanes) / 2; width > 0; width /= 2) {
    if (lane < width) {
      lanes[lane] += lanes[lane + width];
    }
    __syncthreads();
  }
  if (lane == 0) {
    *result = grad_norm_result(lanes[0], max_norm);
  }
}

}  // namespace

void grad_norm(const GradNormArgs& args, Stream stream) {
  const int64_t chunks = chunks_of(args.elements);
  double* sums = static_cast<double*>(args.workspace);
  launch(sum_chunks, dim3(blocks_for(chunks, 1)), dim3(kSumThreads), 0, stream, args.gradient, args.elements, chunks,
         sums);
  launch(finish, dim3(1), dim3(static_cast<unsigned>(kFinalLanes)), 0, stream, sums, chunks, args.max_norm,
         args.result);
}

}  // namespace smpo::kernels::cuda
