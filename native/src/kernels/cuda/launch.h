// The one way to start a kernel. Nothing else in the project names <<<>>> or cudaLaunchKernel, so the same .cu files
// can be built with SMPO_CUDA_ON_CPU=1 and run on the CPU, threads as fibers (test/support/cuda_on_cpu).
#ifndef SMPO_KERNELS_CUDA_LAUNCH_H_
#define SMPO_KERNELS_CUDA_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include "kernels/cuda/error.h"
#include "kernels/cuda/stream.h"
#if defined(SMPO_CUDA_ON_CPU)
#include "cuda_on_cpu/emulator.h"
#endif

namespace smpo::kernels::cuda {

#if !defined(SMPO_CUDA_ON_CPU)
namespace internal {

/// `arguments[i]` points at the value of the kernel's i-th parameter.
void launch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, void** arguments);

}  // namespace internal
#endif

/// Queues `kernel` on `stream` and returns at once. Each argument is converted to the type of its parameter.
///
/// `shared_bytes` of dynamic shared memory are there for SMPO_DYNAMIC_SHARED; above 48 KB the kernel's limit is raised
/// first. A grid without blocks (an empty tensor) launches nothing. Throws `Error` when the runtime refuses the launch
/// or reports an earlier fault; a fault of this very kernel is seen by a later call.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "the kernel takes another number of arguments");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
    return;
  }
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
#if defined(SMPO_CUDA_ON_CPU)
  static_cast<void>(stream);
  cuda_on_cpu::run(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes,
                   [&] { std::apply(kernel, values); });
#else
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {static_cast<void*>(&value)..., nullptr};
        internal::launch(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream, pointers);
      },
      values);
#endif
}

/// Blocks of `threads` threads that cover `count` elements, `per_thread` each, but no more than `most`: the kernel
/// strides over the rest (see grid_stride).
inline unsigned blocks_for(int64_t count, int threads, int per_thread = 1, unsigned most = 1u << 16) {
  const int64_t per_block = static_cast<int64_t>(threads) * per_thread;
  const int64_t blocks = count / per_block + (count % per_block != 0 ? 1 : 0);
  return blocks < static_cast<int64_t>(most) ? static_cast<unsigned>(blocks) : most;
}

}  // namespace smpo::kernels::cuda

#endif  // SMPO_KERNELS_CUDA_LAUNCH_H_
