// Group norm of images in NHWC layout, with or without SiLU, and its backward.
//
// Shapes: B samples, P pixels, C channels in G groups of D = C / G neighbouring channels. Tensors are dense and
// row-major and need no alignment beyond that of their element.
//
//   mean, var of each group    over its D channels and P pixels, var biased; rstd = 1 / sqrt(var + eps)
//   z = (x - mean) rstd weight + bias
//   y = z s(z) with s the logistic function, or z
// Backward, with h = (x - mean) rstd, d_z = d_y (s + z s (1 - s)) or d_y, g = d_z weight, means over a group:
//   d_x = rstd (g - mean(g) - h mean(g h))
//   d_weight += sum over samples and pixels of d_z h;  d_bias += sum of d_z
// The forward pass keeps x and two numbers per group, nothing else: backward computes z again.
//
// Order: sums of each channel over kPixelsPerChunk pixels in f32 (the variance around the chunk's own mean, so that a
// large mean costs no digits), all else over chunks and channels in ascending order in f64. Equal inputs give equal
// bits for every instruction set and number of threads.
#ifndef SMPO_KERNELS_GROUP_NORM_SILU_H_
#define SMPO_KERNELS_GROUP_NORM_SILU_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/types.h"

namespace smpo::kernels {

namespace group_norm_sum {
inline constexpr int64_t kPixelsPerChunk = 32;
constexpr int64_t chunks_of(int64_t pixels) { return (pixels + kPixelsPerChunk - 1) / kPixelsPerChunk; }
}  // namespace group_norm_sum

struct GroupNormSiluArgs {
  int64_t batch = 0;     // B
  int64_t pixels = 0;    // P >= 1
  int64_t channels = 0;  // C
  int64_t groups = 1;    // G, a divisor of C
  double eps = 1e-5;
  bool silu = true;
  /// Dtype of x and y.
  DType dtype = DType::kF32;
  /// Dtype of weight and bias.
  DType parameter_dtype = DType::kF32;

  const void* x_BPC = nullptr;
  const void* weight_C = nullptr;
  const void* bias_C = nullptr;

  /// Out. May alias x_BPC.
  void* y_BPC = nullptr;
  /// Out, for backward.
  float* mean_BG = nullptr;
  float* rstd_BG = nullptr;

  /// group_norm_silu_workspace_bytes(args) bytes, aligned to 8; uninitialized before and after.
  void* workspace = nullptr;
};

struct GroupNormSiluBackwardArgs {
  int64_t batch = 0;
  int64_t pixels = 0;
  int64_t channels = 0;
  int64_t groups = 1;
  bool silu = true;
  DType dtype = DType::kF32;
  DType parameter_dtype = DType::kF32;

  const void* d_y_BPC = nullptr;
  const void* x_BPC = nullptr;
  const void* weight_C = nullptr;
  const void* bias_C = nullptr;
  const float* mean_BG = nullptr;
  const float* rstd_BG = nullptr;

  /// Out; may be null, may alias d_y_BPC.
  void* d_x_BPC = nullptr;
  /// Added to; each may be null.
  float* d_weight_C = nullptr;
  float* d_bias_C = nullptr;

  /// group_norm_silu_backward_workspace_bytes(args) bytes, aligned to 8; uninitialized before and after.
  void* workspace = nullptr;
};

/// Two sums per channel and chunk, and three coefficients per channel.
constexpr int64_t group_norm_silu_workspace_bytes(const GroupNormSiluArgs& args) {
  return args.batch * (2 * group_norm_sum::chunks_of(args.pixels) + 3) * args.channels *
         static_cast<int64_t>(sizeof(float));
}

/// Two f64 sums per channel, two f32 sums per channel and chunk, six coefficients per channel; and d_z in f32, where
/// d_x is wanted and cannot hold it.
constexpr int64_t group_norm_silu_backward_workspace_bytes(const GroupNormSiluBackwardArgs& args) {
  const bool needs_d_z = args.d_x_BPC != nullptr && args.dtype != DType::kF32;
  return args.batch * args.channels *
         (2 * static_cast<int64_t>(sizeof(double)) +
          (2 * group_norm_sum::chunks_of(args.pixels) + 6 + (needs_d_z ? args.pixels : 0)) *
              static_cast<int64_t>(sizeof(float)));
}

namespace reference {
/// The definition, in f64.
void group_norm_silu(const GroupNormSiluArgs& args);
void group_norm_silu_backward(const GroupNormSiluBackwardArgs& args);
}  // namespace reference

namespace cpu {
void group_norm_silu(const GroupNormSiluArgs& args, InstructionSet set = best_instruction_set());
void group_norm_silu_backward(const GroupNormSiluBackwardArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory.
void group_norm_silu(const GroupNormSiluArgs& args, Stream stream);
void group_norm_silu_backward(const GroupNormSiluBackwardArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_GROUP_NORM_SILU_H_
