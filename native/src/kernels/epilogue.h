// The epilogue of a convolution or a linear layer, in one pass over its result: the layer's bias, a bias per sample
// (the time embedding) and a residual. Its backward sums the gradients of both biases in one pass over d_y.
//
// Shapes: B samples, P pixels or tokens of each, C channels. Tensors are dense and row-major ([B,P,C] is an image in
// channels_last memory) and need no alignment beyond that of their element.
//
//   y[b][p][c] = x[b][p][c] + (bias[c] + sample_bias[b][c]) + residual[b][p][c]
// Backward (d_x and d_residual are d_y itself):
//   d_sample_bias[b][c] = sum over p of d_y[b][p][c];  d_bias[c] += sum over b of these
//
// Every addition of the forward pass rounds once to f32 and y once to its dtype; what is absent is not added. Sums go
// over kPixelsPerChunk pixels in ascending order in f32, then over a sample's chunks and over samples in ascending
// order in f64. Equal inputs give equal bits on every device, for every instruction set and number of threads.
#ifndef SMPO_KERNELS_EPILOGUE_H_
#define SMPO_KERNELS_EPILOGUE_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/types.h"

namespace smpo::kernels {

namespace epilogue_sum {
inline constexpr int64_t kPixelsPerChunk = 64;
constexpr int64_t chunks_of(int64_t pixels) { return (pixels + kPixelsPerChunk - 1) / kPixelsPerChunk; }
}  // namespace epilogue_sum

struct EpilogueArgs {
  int64_t batch = 0;     // B
  int64_t pixels = 0;    // P
  int64_t channels = 0;  // C
  /// Dtype of both biases, the residual and y.
  DType dtype = DType::kF32;
  /// Dtype of x: the same, or f32.
  DType x_dtype = DType::kF32;

  const void* x_BPC = nullptr;
  /// Each may be null.
  const void* bias_C = nullptr;
  const void* sample_bias_BC = nullptr;
  const void* residual_BPC = nullptr;
  /// Out. May alias residual_BPC and, with the same dtype, x_BPC.
  void* y_BPC = nullptr;
};

struct EpilogueBackwardArgs {
  int64_t batch = 0;
  int64_t pixels = 0;
  int64_t channels = 0;
  /// Dtype of d_y and d_sample_bias.
  DType dtype = DType::kF32;

  const void* d_y_BPC = nullptr;
  /// Out; may be null.
  void* d_sample_bias_BC = nullptr;
  /// Added to; may be null.
  float* d_bias_C = nullptr;

  /// epilogue_backward_workspace_bytes(args) bytes, aligned to 4; uninitialized before and after.
  void* workspace = nullptr;
};

/// The sums of each chunk of pixels, [B,chunks,C].
constexpr int64_t epilogue_backward_workspace_bytes(const EpilogueBackwardArgs& args) {
  return args.batch * epilogue_sum::chunks_of(args.pixels) * args.channels * static_cast<int64_t>(sizeof(float));
}

namespace reference {
/// The definition, in f64.
void epilogue(const EpilogueArgs& args);
void epilogue_backward(const EpilogueBackwardArgs& args);
}  // namespace reference

namespace cpu {
void epilogue(const EpilogueArgs& args, InstructionSet set = best_instruction_set());
void epilogue_backward(const EpilogueBackwardArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory. One launch forward, two backward.
void epilogue(const EpilogueArgs& args, Stream stream);
void epilogue_backward(const EpilogueBackwardArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_EPILOGUE_H_
