// Kernels that call the helpers of kernels/cuda/device.h.
#ifndef SMPO_TEST_CUDA_ON_CPU_DEVICE_TEST_H_
#define SMPO_TEST_CUDA_ON_CPU_DEVICE_TEST_H_

#include "kernels/types.h"

namespace smpo::test {

/// sums[t] = result of block_sum for thread t over one block of x; T float or double.
template <class T>
void all_block_sums(const T* x, T* sums, int threads);

/// largest[t] = result of warp_max for thread t, within its warp.
void all_warp_maxima(const float* x, float* largest, int threads);

/// y = x in bf16, and back = y in float, 8 at a time where the pointers allow it, else one at a time; one block.
void round_trip(const float* x, kernels::BFloat16* y, float* back, int count);

}  // namespace smpo::test

#endif  // SMPO_TEST_CUDA_ON_CPU_DEVICE_TEST_H_
