// A kernel template outside of an unnamed namespace: the red zones' check must complain about its shared array.
#include "kernels/cuda/device.h"

namespace smpo::test {

template <int kThreads>
__global__ void named_kernel(float* y) {
  __shared__ float tile[kThreads];  // BUG
  tile[threadIdx.x] = y[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}

template __global__ void named_kernel<64>(float*);

}  // namespace smpo::test
