// A kernel template outside an unnamed namespace: the check of red zones must report its shared array.
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
