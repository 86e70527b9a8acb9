// The only function here: a test program that runs the CUDA kernels on the CPU brings its own (test/cuda_on_cpu).
#include "tape/kernel_call.h"

#ifdef SMPO_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

namespace smpo::tape {

Kernels kernels_of(const at::Tensor& x) {
#ifdef SMPO_CUDA
  if (x.is_cuda()) {
    return {kernels::cuda::families(), c10::cuda::getCurrentCUDAStream(x.device().index()).stream()};
  }
#endif
  check(x.is_cpu(), "kernels", "", "none for ", x.device());
  return {kernels::cpu::families(), nullptr};
}

}  // namespace smpo::tape
