// Standard normal numbers that are a pure function of their position.
//
//   out_RN[r][4 b + j] = the j-th normal number of Philox block b of row r, with
//   key = seed, counter = (b, purpose, step, items_R[r]) as philox.h numbers them;
//   numbers 0 and 1 come from words 0 and 1 of the block, 2 and 3 from words 2 and 3 (normal.h).
//
// Row r depends on (seed, purpose, step, items_R[r]) alone: not on the other rows, the row's place, the number of
// threads, the instruction set or the device. cpu and cuda give the same bits.
//
// Shapes: R rows, N elements of one row; out_RN is dense and row-major and needs no alignment beyond that of a float.
// N may not exceed 2^34 (the block number has 32 bits).
//
// Error against the reference, which evaluates normal.h's definition with the C library in double: below
// kNormalTolerance relative, for every number (also small ones: the reduction of the angle is exact).
#ifndef SMPO_KERNELS_PHILOX_NORMAL_H_
#define SMPO_KERNELS_PHILOX_NORMAL_H_

#include <array>
#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/philox.h"

namespace smpo::kernels {

/// Relative tolerance in units of 2^-24: 2 for the logarithm, halved by the root; 1 for the root; 3 for sine or cosine
/// (x^2 and the sum of the series 1 each, times x 1); 1 for the product.
inline constexpr double kNormalTolerance = 6.0 / 16777216.0;

struct PhiloxNormalArgs {
  float* out = nullptr;  // [R, N]
  int64_t rows = 0;      // R
  int64_t elements = 0;  // N
  uint64_t seed = 0;
  uint32_t purpose = 0;  // below 2^8
  uint32_t step = 0;
  const int64_t* items = nullptr;  // [R], each in [0, 2^56)
};

namespace reference {
/// The definition, in double; the result is rounded to float.
void philox_normal(const PhiloxNormalArgs& args);

/// Element n of the row of `item`, before it is rounded to float.
double philox_normal_at(const PhiloxNormalArgs& args, int64_t item, int64_t n);

/// normal.h's z0 and z1 of two words, in double.
std::array<double, 2> normal_pair(uint32_t bits0, uint32_t bits1);
}  // namespace reference

namespace cpu {
void philox_normal(const PhiloxNormalArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// `out` and `items` are device memory. One launch.
void philox_normal(const PhiloxNormalArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_PHILOX_NORMAL_H_
