// Two standard normal numbers from two random words: the Box-Muller transform, in float operations that IEEE 754 rounds
// exactly (+, -, *, sqrt, conversion from an integer), in a fixed order. No library function and no fused operation
// enters, so every device and instruction set gives the same bits.
//
//   u = (bits0 + 1/2) 2^-32, rounded to float: in (0, 1]
//   a = bits1 as a fraction of a turn = q / 4 + x, with q the nearest quarter and x in [-1/8, 1/8), rounded to float
//   z0 = sqrt(-2 ln u) cos(2 pi a),  z1 = sqrt(-2 ln u) sin(2 pi a)
//
// The largest magnitude is sqrt(66 ln 2) = 6.77. The polynomials are minimax fits (weights that make the error of the
// result relative), rounded to float; their own errors are below 0.1, 0.001 and 0.002 units in the last place.
#ifndef SMPO_KERNELS_NORMAL_H_
#define SMPO_KERNELS_NORMAL_H_

#include <cstdint>

#include "kernels/rounding.h"
#include "kernels/types.h"

namespace smpo::kernels {

struct NormalPair {
  float z0, z1;
};

/// Value of bits0, times 2^32: in [1/2, 2^32].
SMPO_HOST_DEVICE float scaled_uniform(uint32_t bits) {
  // Both conversions are exact; the one rounding is the sum's. (Few machines convert unsigned words.)
  const float high = static_cast<float>(static_cast<int32_t>(bits >> 8));
  const float low = static_cast<float>(static_cast<int32_t>(bits & 0xffu));
  return rounded::multiply_add(high, 256.0f, rounded::add(low, 0.5f));
}

/// ln(2^-32 v) for v as above: relative error below 2^-23.
SMPO_HOST_DEVICE float log_of_uniform(float v) {
  // v = m 2^e with m in [sqrt(1/2), sqrt(2)).
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const auto bits = static_cast<int32_t>(bits_of(v));
  const int32_t exponent = (bits - kSqrtHalf) >> 23;
  const float m = float_of(static_cast<uint32_t>(bits) - (static_cast<uint32_t>(exponent) << 23));
  const float e = static_cast<float>(exponent - 32);
  // ln(1 + f) = f - f^2 / 2 + f^3 P(f)
  const float f = rounded::subtract(m, 1.0f);
  const float f2 = rounded::multiply(f, f);
  float p = -0x1.38b580p-4f;
  p = rounded::multiply_add(p, f, 0x1.055b6ap-3f);
  p = rounded::multiply_add(p, f, -0x1.0d8542p-3f);
  p = rounded::multiply_add(p, f, 0x1.22da1cp-3f);
  p = rounded::multiply_add(p, f, -0x1.547244p-3f);
  p = rounded::multiply_add(p, f, 0x1.99a004p-3f);
  p = rounded::multiply_add(p, f, -0x1.000226p-2f);
  p = rounded::multiply_add(p, f, 0x1.555554p-2f);
  // ln 2 in two parts, the first short enough that e times it is exact.
  float y = rounded::multiply(rounded::multiply(f2, f), p);
  y = rounded::add(y, rounded::multiply(e, -0x1.bd0106p-13f));
  y = rounded::subtract(y, rounded::multiply(0.5f, f2));
  return rounded::add(rounded::add(f, y), rounded::multiply(e, 0x1.63p-1f));
}

SMPO_HOST_DEVICE NormalPair normal_pair(uint32_t bits0, uint32_t bits1) {
  const float radius = rounded::square_root(rounded::multiply(-2.0f, log_of_uniform(scaled_uniform(bits0))));

  const uint32_t quarter = (bits1 + 0x20000000u) >> 30;
  const auto remainder = static_cast<int32_t>(bits1 - (quarter << 30));
  const float x = rounded::multiply(static_cast<float>(remainder), 0x1p-32f);
  const float x2 = rounded::multiply(x, x);
  float s = 0x1.4bc254p+5f;
  s = rounded::multiply_add(s, x2, -0x1.32ca86p+6f);
  s = rounded::multiply_add(s, x2, 0x1.466bbap+6f);
  s = rounded::multiply_add(s, x2, -0x1.4abbcep+5f);
  s = rounded::multiply_add(s, x2, 0x1.921fb6p+2f);
  s = rounded::multiply(s, x);  // sin(2 pi x)
  float c = 0x1.d9d57ep+5f;
  c = rounded::multiply_add(c, x2, -0x1.55c5e0p+6f);
  c = rounded::multiply_add(c, x2, 0x1.03c1dep+6f);
  c = rounded::multiply_add(c, x2, -0x1.3bd3ccp+4f);
  c = rounded::multiply_add(c, x2, 1.0f);  // cos(2 pi x)

  // Quarter turns swap the two and flip signs: cos is negative in quarters 1 and 2, sin in 2 and 3.
  const bool swap = (quarter & 1u) != 0;
  const auto cos_bits = bits_of(swap ? s : c) ^ ((quarter + 1u) & 2u) << 30;
  const auto sin_bits = bits_of(swap ? c : s) ^ (quarter & 2u) << 30;
  return NormalPair{rounded::multiply(radius, float_of(cos_bits)), rounded::multiply(radius, float_of(sin_bits))};
}

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_NORMAL_H_
