// The gated activation of diffusers' transformer blocks: y = value * gelu(gate), and its backward.
//
// Shapes: R rows, C channels out; x_R2C holds in each row C values, then C gates (the two halves of one linear layer's
// output). Tensors are dense and row-major, all of one dtype, and need no alignment beyond that of their element.
//
//   y[r][c]          = x[r][c] gelu(x[r][C + c])
//   d_x[r][c]        = d_y[r][c] gelu(x[r][C + c])
//   d_x[r][C + c]    = d_y[r][c] x[r][c] gelu'(x[r][C + c])
//
// Tolerance against the reference (f64 of the same inputs): with g the gate, kGegluRoundings * 2^-24 * |other factors|
// * max(1, |g|) absolutely, and one rounding of bf16 relatively. The bits are the same on every device and instruction
// set.
#ifndef SMPO_KERNELS_GEGLU_H_
#define SMPO_KERNELS_GEGLU_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/types.h"

namespace smpo::kernels {

/// Roundings of gelu (8) and of the products.
inline constexpr int kGegluRoundings = 11;

struct GegluArgs {
  int64_t rows = 0;      // R
  int64_t channels = 0;  // C
  DType dtype = DType::kF32;
  const void* x_R2C = nullptr;
  /// Out.
  void* y_RC = nullptr;
};

struct GegluBackwardArgs {
  int64_t rows = 0;
  int64_t channels = 0;
  DType dtype = DType::kF32;
  const void* d_y_RC = nullptr;
  const void* x_R2C = nullptr;
  /// Out. May alias x_R2C.
  void* d_x_R2C = nullptr;
};

namespace reference {
void geglu(const GegluArgs& args);
void geglu_backward(const GegluBackwardArgs& args);
}  // namespace reference

namespace cpu {
void geglu(const GegluArgs& args, InstructionSet set = best_instruction_set());
void geglu_backward(const GegluBackwardArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory. One launch each.
void geglu(const GegluArgs& args, Stream stream);
void geglu_backward(const GegluBackwardArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_GEGLU_H_
