#include <cxxabi.h>

#include <cstdlib>
#include <string>

#include "kernels/cuda/launch.h"

namespace smpo::kernels::cuda::internal {
namespace {

// A kernel may use this much dynamic shared memory unasked. Its static arrays count too, but ours stay below 16 KB, and
// asking costs under a microsecond: so it is asked from here on, which leaves them that room.
constexpr size_t kUnaskedSharedBytes = 32 * 1024;

std::string name_of(const void* kernel) {
  const char* mangled = nullptr;
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess || mangled == nullptr) {
    static_cast<void>(cudaGetLastError());
    return "kernel";
  }
  int status = 0;
  char* demangled = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = status == 0 ? demangled : mangled;
  std::free(demangled);
  return name;
}

std::string text_of(dim3 size) {
  return std::to_string(size.x) + "x" + std::to_string(size.y) + "x" + std::to_string(size.z);
}

[[noreturn]] void fail(cudaError_t code, const void* kernel, dim3 grid, dim3 block, size_t shared_bytes) {
  throw Error(static_cast<int>(code), name_of(kernel) + ": grid " + text_of(grid) + ", block " + text_of(block) + ", " +
                                          std::to_string(shared_bytes) + " bytes of shared memory: " +
                                          cudaGetErrorName(code) + ": " + cudaGetErrorString(code));
}

}  // namespace

void launch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, void** arguments) {
  cudaError_t code = cudaSuccess;
  if (shared_bytes > kUnaskedSharedBytes) {
    code = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  }
  if (code == cudaSuccess) {
    code = cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream);
  }
  // Takes the error off the thread too, so that the next, innocent call does not report it again.
  const cudaError_t last = cudaGetLastError();
  if (code == cudaSuccess) {
    code = last;
  }
  if (code != cudaSuccess) {
    fail(code, kernel, grid, block, shared_bytes);
  }
}

}  // namespace smpo::kernels::cuda::internal
