// Euclidean norm of a flat gradient, whether it is finite, and the factor that clips it.
//
//   norm             = sqrt(sum over i of gradient_N[i]^2)
//   finite           = 1 if every element and the norm as a float are finite, else 0
//   clip_coefficient = min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 0 if not finite
//
// Shapes: N elements in f32, any alignment.
//
// Order of the sum, the same on every device, instruction set and thread count, so that equal inputs give equal bits:
// the gradient is cut into chunks of kChunk elements and a chunk into groups of kGroup. In a group, lane j of kLanes
// adds the squares of elements j, j + kLanes, ... in ascending order; the lanes are added as a tree of halves; the
// groups of a chunk are added in ascending order. Of the chunks' sums, lane j of kFinalLanes adds numbers j, j +
// kFinalLanes, ... in ascending order, and those lanes are added as a tree of halves. All in double, where the square
// of a float is exact.
//
// Error: the sum's depth is N / kChunk / kFinalLanes + 100 additions of positive terms, each rounded to 2^-53; see
// grad_norm_tolerance. No finite gradient overflows: (2^128)^2 N < 2^1023.
#ifndef SMPO_KERNELS_GRAD_NORM_H_
#define SMPO_KERNELS_GRAD_NORM_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/types.h"

namespace smpo::kernels {

namespace square_sum {
inline constexpr int64_t kLanes = 16;
inline constexpr int64_t kGroup = 1024;
inline constexpr int64_t kChunk = 16384;
inline constexpr int64_t kFinalLanes = 256;

/// Number of chunks of a gradient of `elements`.
SMPO_HOST_DEVICE constexpr int64_t chunks_of(int64_t elements) { return (elements + kChunk - 1) / kChunk; }
}  // namespace square_sum

/// Result, in the memory of the device that runs the kernels, so that adamw reads it without the host.
struct GradNormResult {
  double norm;
  float clip_coefficient;
  int32_t finite;
};

struct GradNormArgs {
  const float* gradient = nullptr;                            // [N]
  int64_t elements = 0;                                       // N
  double max_norm = std::numeric_limits<double>::infinity();  // above 0; infinity: never clip
  GradNormResult* result = nullptr;                           // out

  /// grad_norm_workspace_bytes(N) bytes, aligned to 8; uninitialized before and after.
  void* workspace = nullptr;
};

constexpr int64_t grad_norm_workspace_bytes(int64_t elements) {
  return square_sum::chunks_of(elements) * static_cast<int64_t>(sizeof(double));
}

/// Largest relative error of `norm` and, with one more rounding to float, of `clip_coefficient`: against a sum in
/// ascending order, whose own error is the larger part.
constexpr double grad_norm_tolerance(int64_t elements) { return (static_cast<double>(elements) + 200.0) * 0x1p-53; }

/// Finishes the norm from its sum of squares, with the same bits everywhere.
SMPO_HOST_DEVICE GradNormResult grad_norm_result(double sum, double max_norm) {
  const double norm = sqrt(sum);
  if (!(norm <= 3.4028234663852886e38)) {  // the largest float; false for a NaN too
    return GradNormResult{norm, 0.0f, 0};
  }
  const double coefficient = max_norm / (norm + 1e-6);
  return GradNormResult{norm, coefficient < 1.0 ? static_cast<float>(coefficient) : 1.0f, 1};
}

namespace reference {
/// The definition, in double, in ascending order. Reads no workspace.
void grad_norm(const GradNormArgs& args);
}  // namespace reference

namespace cpu {
void grad_norm(const GradNormArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory. Two launches.
void grad_norm(const GradNormArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_GRAD_NORM_H_
