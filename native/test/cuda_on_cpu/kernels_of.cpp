// GPU kernels for CPU tensors: in a program that links this file, the tape and the engine call the emulated CUDA
// kernels through the same calls as on a GPU, so that their tests check arguments, layouts, workspaces and dtypes. The
// linker prefers this definition to that in the tape's library.
#include "tape/kernel_call.h"

// Leaks in LibTorch would hide ours, and the kernels' buffers are its tensors.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace smpo::tape {

Kernels kernels_of(const at::Tensor& x) {
  check(x.is_cpu(), "kernels", "", "none for ", x.device());
  return {kernels::cuda::families(), nullptr};
}

}  // namespace smpo::tape
