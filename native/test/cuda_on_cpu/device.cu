#include "cuda_on_cpu/device_test.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace smpo::test {
namespace {

using kernels::BFloat16;
using namespace smpo::kernels::cuda;

template <class T>
__global__ void all_block_sums_kernel(const T* x, T* sums) {
  __shared__ T scratch[kWarp];
  const int t = thread_index();
  const T first = block_sum(x[t], scratch);
  const T again = block_sum(x[t], scratch);  // the scratch may be used again at once
  sums[t] = first == again ? first : T{-1};
}

__global__ void all_warp_maxima_kernel(const float* x, float* largest) {
  largest[threadIdx.x] = warp_max(x[threadIdx.x]);
}

__global__ void round_trip_kernel(const float* x, BFloat16* y, float* back, int count) {
  const int vectors = is_aligned16(x) && is_aligned16(y) && is_aligned16(back) ? count / 8 : 0;
  for (int64_t i = grid_index(); i < vectors; i += grid_stride()) {
    float values[8];
    load16(x + i * 8, values);
    load16(x + i * 8 + 4, values + 4);
    store16(y + i * 8, values);
    load16(y + i * 8, values);
    store16(back + i * 8, values);
    store16(back + i * 8 + 4, values + 4);
  }
  for (int64_t i = vectors * 8 + grid_index(); i < count; i += grid_stride()) {
    y[i] = kernels::to_bfloat16(x[i]);
    back[i] = kernels::to_float(y[i]);
  }
}

}  // namespace

template <class T>
void all_block_sums(const T* x, T* sums, int threads) {
  launch(all_block_sums_kernel<T>, 1, static_cast<unsigned>(threads), 0, nullptr, x, sums);
}
template void all_block_sums<float>(const float*, float*, int);
template void all_block_sums<double>(const double*, double*, int);

void all_warp_maxima(const float* x, float* largest, int threads) {
  launch(all_warp_maxima_kernel, 1, static_cast<unsigned>(threads), 0, nullptr, x, largest);
}

void round_trip(const float* x, BFloat16* y, float* back, int count) {
  launch(round_trip_kernel, 1, 64, 0, nullptr, x, y, back, count);
}

}  // namespace smpo::test
