// Layer norm over the last dimension, with an optional sum before it, and its backward.
//
// Shapes: R rows, C channels. Tensors are dense and row-major and need no alignment beyond that of their element.
//
//   s = x                      or x + residual, rounded to the dtype (and written, if there is a residual)
//   mean, var                  of the row s, var biased; rstd = 1 / sqrt(var + eps)
//   y = (s - mean) rstd weight + bias
// Backward, with h = (s - mean) rstd and g = d_y weight:
//   d_s = rstd (g - mean(g) - h mean(g h)) + d_sum          (d_sum: gradient of s from its other uses; may be null)
//   d_weight += sum over rows of d_y h;  d_bias += sum over rows of d_y
//
// Variance is two-pass, in f32 with a fixed number of lanes; column sums go over kRowsPerChunk rows in f32, then over
// chunks in ascending order in f64. Equal inputs give equal bits for every instruction set and number of threads.
#ifndef SMPO_KERNELS_LAYER_NORM_H_
#define SMPO_KERNELS_LAYER_NORM_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/types.h"

namespace smpo::kernels {

namespace layer_norm_sum {
inline constexpr int64_t kRowsPerChunk = 32;
constexpr int64_t chunks_of(int64_t rows) { return (rows + kRowsPerChunk - 1) / kRowsPerChunk; }
}  // namespace layer_norm_sum

struct LayerNormArgs {
  int64_t rows = 0;      // R
  int64_t channels = 0;  // C >= 1
  double eps = 1e-5;
  /// Dtype of x, residual, sum and y.
  DType dtype = DType::kF32;
  /// Dtype of weight and bias.
  DType parameter_dtype = DType::kF32;

  const void* x_RC = nullptr;
  /// May be null.
  const void* residual_RC = nullptr;
  const void* weight_C = nullptr;
  /// May be null: zeros.
  const void* bias_C = nullptr;

  /// Out, where there is a residual; may alias x_RC or residual_RC.
  void* sum_RC = nullptr;
  /// Out.
  void* y_RC = nullptr;
  /// Out, for backward.
  float* mean_R = nullptr;
  float* rstd_R = nullptr;
};

struct LayerNormBackwardArgs {
  int64_t rows = 0;
  int64_t channels = 0;
  DType dtype = DType::kF32;
  DType parameter_dtype = DType::kF32;

  const void* d_y_RC = nullptr;
  /// Input of the norm in the forward pass: x, or the sum.
  const void* s_RC = nullptr;
  const float* mean_R = nullptr;
  const float* rstd_R = nullptr;
  const void* weight_C = nullptr;
  /// May be null.
  const void* d_sum_RC = nullptr;

  /// Out; may be null, may alias d_y_RC or d_sum_RC.
  void* d_s_RC = nullptr;
  /// Added to; each may be null.
  float* d_weight_C = nullptr;
  float* d_bias_C = nullptr;

  /// layer_norm_backward_workspace_bytes(args) bytes, aligned to 8; uninitialized before and after.
  void* workspace = nullptr;
};

/// Column sums of each chunk of rows: of d_y h and of d_y.
constexpr int64_t layer_norm_backward_workspace_bytes(const LayerNormBackwardArgs& args) {
  return layer_norm_sum::chunks_of(args.rows) * 2 * args.channels * static_cast<int64_t>(sizeof(float));
}

namespace reference {
/// The definition, in f64 (s is rounded to its dtype as stated).
void layer_norm(const LayerNormArgs& args);
void layer_norm_backward(const LayerNormBackwardArgs& args);
}  // namespace reference

namespace cpu {
void layer_norm(const LayerNormArgs& args, InstructionSet set = best_instruction_set());
void layer_norm_backward(const LayerNormBackwardArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory.
void layer_norm(const LayerNormArgs& args, Stream stream);
void layer_norm_backward(const LayerNormBackwardArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_LAYER_NORM_H_
