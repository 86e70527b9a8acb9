#include "cuda_on_cpu/samples.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace smpo::test {
namespace {

using namespace smpo::kernels::cuda;

__global__ void block_sums_kernel(const float* x, int64_t count, float* sums) {
  __shared__ float scratch[kWarp];
  float sum = 0.0f;
  for (int64_t i = grid_index(); i < count; i += grid_stride()) {
    sum += x[i];
  }
  sum = block_sum(sum, scratch);
  if (thread_index() == 0) {
    sums[blockIdx.x] = sum;
  }
}

__global__ void sum_by_last_block_kernel(const float* x, int64_t count, float* partial, float* total, unsigned* done) {
  __shared__ float scratch[kWarp];
  __shared__ bool last;
  float sum = 0.0f;
  for (int64_t i = grid_index(); i < count; i += grid_stride()) {
    sum += x[i];
  }
  sum = block_sum(sum, scratch);
  if (thread_index() == 0) {
    partial[blockIdx.x] = sum;
    __threadfence();
    last = atomicInc(done, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) {
    return;
  }
  __threadfence();
  sum = 0.0f;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) {
    sum += __ldcg(&partial[i]);
  }
  sum = block_sum(sum, scratch);
  if (thread_index() == 0) {
    *total = sum;
  }
}

__global__ void transpose_kernel(const float* x, float* y, int rows, int columns) {
  __shared__ float tile[32][33];
  const int column = static_cast<int>(blockIdx.x * 32 + threadIdx.x);
  for (unsigned j = threadIdx.y; j < 32; j += 8) {
    const int row = static_cast<int>(blockIdx.y * 32 + j);
    if (row < rows && column < columns) {
      tile[j][threadIdx.x] = x[static_cast<int64_t>(row) * columns + column];
    }
  }
  __syncthreads();
  const int out_column = static_cast<int>(blockIdx.y * 32 + threadIdx.x);
  for (unsigned j = threadIdx.y; j < 32; j += 8) {
    const int out_row = static_cast<int>(blockIdx.x * 32 + j);
    if (out_row < columns && out_column < rows) {
      y[static_cast<int64_t>(out_row) * rows + out_column] = tile[threadIdx.x][j];
    }
  }
}

__global__ void histogram_kernel(const unsigned char* x, int64_t count, unsigned* counts) {
  __shared__ unsigned local[256];
  for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) {
    local[i] = 0;
  }
  __syncthreads();
  for (int64_t i = grid_index(); i < count; i += grid_stride()) {
    atomicAdd(&local[x[i]], 1u);
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) {
    if (local[i] != 0) {
      atomicAdd(&counts[i], local[i]);
    }
  }
}

__global__ void warp_scan_kernel(const int* x, int* y) {
  const int64_t i = grid_index();
  const unsigned lane = threadIdx.x % 32;
  int sum = x[i];
  for (unsigned delta = 1; delta < 32; delta *= 2) {
    const int below = __shfl_up_sync(kAllLanes, sum, delta);
    if (lane >= delta) {
      sum += below;
    }
  }
  y[i] = sum;
}

__global__ void warp_votes_kernel(const int* x, int* equal, unsigned* votes) {
  const int64_t i = grid_index();
  equal[i] = __popc(__match_any_sync(kAllLanes, x[i]));
  const int any = __any_sync(kAllLanes, x[i] != 0);
  const int all = __all_sync(kAllLanes, x[i] != 0);
  const unsigned ballot = __ballot_sync(kAllLanes, x[i] != 0);
  if (threadIdx.x % 32 == 0) {
    votes[i / 32 * 3] = static_cast<unsigned>(any);
    votes[i / 32 * 3 + 1] = static_cast<unsigned>(all);
    votes[i / 32 * 3 + 2] = ballot;
  }
}

__global__ void counting_barriers_kernel(const int* x, int* out) {
  const int odd = __syncthreads_count(x[threadIdx.x] % 2 != 0);
  const int positive = __syncthreads_and(x[threadIdx.x] > 0);
  const int zero = __syncthreads_or(x[threadIdx.x] == 0);
  if (threadIdx.x == 0) {
    out[0] = odd;
    out[1] = positive;
    out[2] = zero;
  }
}

__global__ void reverse_kernel(const float* x, float* y, int count) {
  SMPO_DYNAMIC_SHARED(float, tile);
  for (int i = thread_index(); i < count; i += thread_count()) {
    tile[i] = x[i];
  }
  __syncthreads();
  for (int i = thread_index(); i < count; i += thread_count()) {
    y[i] = tile[count - 1 - i];
  }
}

__global__ void number_threads_kernel(int* index) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int i = static_cast<int>(block) * thread_count() + thread_index();
  index[i] = i;
}

__global__ void count_under_lock_kernel(unsigned* lock, int* out) {
  while (atomicCAS(lock, 0u, 1u) != 0u) {
    __nanosleep(32);
  }
  *out += 1;
  __threadfence();
  atomicExch(lock, 0u);
}

__global__ void read_unwritten_shared_kernel(float* fixed, float* dynamic) {
  __shared__ float values[64];
  SMPO_DYNAMIC_SHARED(float, more);
  const unsigned i = threadIdx.x;
  fixed[i] = values[i];
  dynamic[i] = more[i];
  __syncthreads();
  values[i] = more[i] = 1.0f;  // the next block must not read this
}

}  // namespace

void block_sums(const float* x, int64_t count, float* sums, int blocks, int threads) {
  launch(block_sums_kernel, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, nullptr, x, count, sums);
}

void sum_by_last_block(const float* x, int64_t count, float* partial, float* total, unsigned* done, int blocks) {
  launch(sum_by_last_block_kernel, static_cast<unsigned>(blocks), 64, 0, nullptr, x, count, partial, total, done);
}

void transpose(const float* x, float* y, int rows, int columns) {
  const dim3 grid(blocks_for(columns, 32), blocks_for(rows, 32));
  launch(transpose_kernel, grid, dim3(32, 8), 0, nullptr, x, y, rows, columns);
}

void histogram(const unsigned char* x, int64_t count, unsigned* counts, int blocks, int threads) {
  launch(histogram_kernel, static_cast<unsigned>(blocks), static_cast<unsigned>(threads), 0, nullptr, x, count, counts);
}

void warp_scan(const int* x, int* y, int count) {
  launch(warp_scan_kernel, static_cast<unsigned>(count) / 64, 64, 0, nullptr, x, y);
}

void warp_votes(const int* x, int* equal, unsigned* votes, int count) {
  launch(warp_votes_kernel, static_cast<unsigned>(count) / 64, 64, 0, nullptr, x, equal, votes);
}

void counting_barriers(const int* x, int* out, int threads) {
  launch(counting_barriers_kernel, 1, static_cast<unsigned>(threads), 0, nullptr, x, out);
}

void reverse_in_dynamic_shared(const float* x, float* y, int count) {
  launch(reverse_kernel, 1, 1024, static_cast<size_t>(count) * sizeof(float), nullptr, x, y, count);
}

void number_threads(int* index, dim3 grid, dim3 block) {
  launch(number_threads_kernel, grid, block, 0, nullptr, index);
}

void count_under_lock(unsigned* lock, int* out, int threads) {
  launch(count_under_lock_kernel, 1, static_cast<unsigned>(threads), 0, nullptr, lock, out);
}

void read_unwritten_shared(float* fixed, float* dynamic, int threads) {
  const unsigned size = static_cast<unsigned>(threads);
  launch(read_unwritten_shared_kernel, 1, size, size * sizeof(float), nullptr, fixed, dynamic);
}

}  // namespace smpo::test
