// Mean squared error of each row of a prediction against a target.
//
//   error_R[r] = (1/N) * sum over i of (prediction_RN[r][i] - target_RN[r][i])^2
//
// Shapes: R rows, N elements of one row (4 * h * w of a latent). Tensors are dense and row-major and need no alignment
// beyond that of their element.
//
// Order of the sum, the same on every device, instruction set and thread count, so that equal inputs give equal bits:
// a row is cut into chunks of kChunk elements and a chunk into groups of kLanes * kDepth. In a group, lane j adds the
// squares of elements j, j + kLanes, ... as a balanced tree in f32; the lane's sums over the groups are added in f64 in
// ascending order, then the lanes as a balanced tree, then the chunks in ascending order. A tail counts as zeros.
//
// Tolerance against the reference (exact differences, f64): the difference rounds once (relative 2^-24, squared), the
// square once, and a tree of kDepth three times; every term is positive, so the relative error of the mean is at most
// kRowErrorTolerance for every N. Squares overflow to infinity from |prediction - target| = 2^64; an infinite or NaN
// element gives an infinite or NaN error, never a finite one.
#ifndef SMPO_KERNELS_ROW_MEAN_SQUARED_ERROR_H_
#define SMPO_KERNELS_ROW_MEAN_SQUARED_ERROR_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/types.h"

namespace smpo::kernels {

namespace row_sum {
inline constexpr int64_t kLanes = 16;
inline constexpr int64_t kDepth = 8;
inline constexpr int64_t kGroup = kLanes * kDepth;
inline constexpr int64_t kChunk = 4096;
static_assert(kChunk % kGroup == 0);

/// Number of chunks of a row of `elements`.
SMPO_HOST_DEVICE constexpr int64_t chunks_of(int64_t elements) { return (elements + kChunk - 1) / kChunk; }
}  // namespace row_sum

/// Six roundings to f32 (2 for the squared difference, 1 for the square, 3 for the tree), and room for the f64 sums.
inline constexpr double kRowErrorTolerance = 6.5 / 16777216.0;

struct RowMeanSquaredErrorArgs {
  int64_t rows = 0;      // R
  int64_t elements = 0;  // N >= 1

  const void* prediction_RN = nullptr;
  DType prediction_dtype = DType::kF32;
  const void* target_RN = nullptr;
  DType target_dtype = DType::kF32;

  /// Out: one mean per row.
  double* error_R = nullptr;

  /// row_mean_squared_error_workspace_bytes(args) bytes, aligned to 8; uninitialized before and after.
  void* workspace = nullptr;
};

/// Bytes that `workspace` must hold: one partial sum per row and chunk.
constexpr int64_t row_mean_squared_error_workspace_bytes(const RowMeanSquaredErrorArgs& args) {
  return args.rows * row_sum::chunks_of(args.elements) * static_cast<int64_t>(sizeof(double));
}

namespace reference {
/// The definition, in f64. Reads no workspace.
void row_mean_squared_error(const RowMeanSquaredErrorArgs& args);
}  // namespace reference

namespace cpu {
void row_mean_squared_error(const RowMeanSquaredErrorArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory. Two launches.
void row_mean_squared_error(const RowMeanSquaredErrorArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_ROW_MEAN_SQUARED_ERROR_H_
