// Tensors on the CPU, kernels of the GPU: in a program that links this, the tape and the engine call the emulated CUDA
// kernels through the very calls that a card would see, so that their own tests check how arguments, layouts,
// workspaces and dtypes are handed over. Being here already, this function is not taken from the tape's library.
#include "tape/kernel_call.h"

// LibTorch's own leaks would hide ours, and the kernels' buffers are its tensors.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace smpo::tape {

Kernels kernels_of(const at::Tensor& x) {
  check(x.is_cpu(), "kernels", "", "none for ", x.device());
  return {kernels::cuda::families(), nullptr};
}

}  // namespace smpo::tape
