// The exception for a failed CUDA call. No CUDA header is needed to catch it.
#ifndef SMPO_KERNELS_CUDA_ERROR_H_
#define SMPO_KERNELS_CUDA_ERROR_H_

#include <stdexcept>
#include <string>

namespace smpo::kernels::cuda {

/// A launch that the CUDA runtime refused, or an earlier asynchronous fault that it reported at this launch. The
/// message names the kernel, the grid, the block and the runtime's message. The layers in between do not catch it;
/// the border's guard maps it to a status, and decides by `code` whether the device is lost.
class Error : public std::runtime_error {
 public:
  Error(int code, const std::string& message) : std::runtime_error(message), code_(code) {}

  /// The cudaError_t.
  int code() const { return code_; }

 private:
  int code_;
};

}  // namespace smpo::kernels::cuda

#endif  // SMPO_KERNELS_CUDA_ERROR_H_
