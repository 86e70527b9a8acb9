// Exponential, normal distribution and the activations made of them, in float operations that IEEE 754 rounds exactly
// (+, -, *, /), without a branch or a library call: loops over them vectorise, and every device and instruction set
// gives the same bits. The polynomials are minimax fits of the relative error, rounded to float.
//
// u = 2^-24, one rounding. A NaN given to an activation gives NaN.
#ifndef SMPO_KERNELS_ELEMENTARY_H_
#define SMPO_KERNELS_ELEMENTARY_H_

#include <bit>
#include <cstdint>

#include "kernels/rounding.h"
#include "kernels/types.h"

namespace smpo::kernels {

/// |x|, but no more than `limit`. On the bits, which are ordered as the magnitudes are: an integer minimum stays one
/// instruction, where compilers turn a clamp of floats into a branch. NaN becomes the limit.
SMPO_HOST_DEVICE float magnitude_below(float x, float limit) {
  const int32_t bits = static_cast<int32_t>(std::bit_cast<uint32_t>(x) & 0x7fffffffu);
  const int32_t most = std::bit_cast<int32_t>(limit);
  return std::bit_cast<float>(bits < most ? bits : most);
}

/// e^-t for t in [0, 87]: relative error below 3u.
SMPO_HOST_DEVICE float exponential_of_minus(float t) {
  constexpr float kRoundToInteger = 0x1.8p23f;  // In [2^23, 2^24] floats are integers.
  // -t = n ln 2 - q; the first part of ln 2 is short enough that n times it is exact.
  const float shifted = rounded::multiply_add(t, -0x1.715476p0f, kRoundToInteger);
  const float n = rounded::subtract(shifted, kRoundToInteger);
  float q = rounded::multiply_add(n, 0x1.63p-1f, t);
  q = rounded::multiply_add(n, -0x1.bd0106p-13f, q);
  // e^-q = 1 - q + q^2 P(q)
  float p = 0x1.6a1a7p-10f;
  p = rounded::multiply_add(p, q, -0x1.123fc6p-7f);
  p = rounded::multiply_add(p, q, 0x1.555916p-5f);
  p = rounded::multiply_add(p, q, -0x1.55548ap-3f);
  p = rounded::multiply_add(p, q, 0x1.fffffcp-2f);
  const float value = rounded::add(1.0f, rounded::subtract(rounded::multiply(rounded::multiply(q, q), p), q));
  // Times 2^n: the integer lies in the low bits of `shifted`.
  const uint32_t scale = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000u;
  return rounded::multiply(value, std::bit_cast<float>(scale));
}

struct ValueAndSlope {
  float value;
  float slope;
};

/// x s(x) and its derivative s + x s (1 - s), with s(x) = 1 / (1 + e^-x). The value's relative error is below 6u down
/// to x = -87, and below that the value is -1e-36 or nearer to 0.
SMPO_HOST_DEVICE ValueAndSlope silu_and_slope(float x) {
  const float e = exponential_of_minus(magnitude_below(x, 87.0f));
  // s(-|x|) = e / (1 + e), s(|x|) = 1 / (1 + e).
  const float s = rounded::divide(x < 0.0f ? e : 1.0f, rounded::add(1.0f, e));
  const float value = rounded::multiply(x, s);
  return {value, rounded::multiply_add(value, rounded::subtract(1.0f, s), s)};
}

/// x Phi(x) and its derivative Phi + x phi, with Phi and phi the normal distribution and its density (the exact gelu).
///
/// Phi(-t) = e^(-t^2 / 2) t' P(t') with t' = 1 / (1 + 0.26 t): relative error of the fit 0.8u up to t = 13, where
/// Phi(-t) is 1e-38. The value's error is below 8u |x|.
SMPO_HOST_DEVICE ValueAndSlope gelu_and_slope(float x) {
  constexpr float kDensityAtZero = 0x1.988454p-2f;  // 1 / sqrt(2 pi)
  const float t = magnitude_below(x, 13.0f);
  const float e = exponential_of_minus(rounded::multiply(0.5f, rounded::multiply(t, t)));
  const float v = rounded::divide(1.0f, rounded::multiply_add(t, 0x1.0a3d7p-2f, 1.0f));
  float p = 0x1.f3ca52p-6f;
  p = rounded::multiply_add(p, v, -0x1.38fe14p-3f);
  p = rounded::multiply_add(p, v, 0x1.0186b6p-2f);
  p = rounded::multiply_add(p, v, -0x1.352446p-3f);
  p = rounded::multiply_add(p, v, 0x1.499ecp-3f);
  p = rounded::multiply_add(p, v, 0x1.a2053ap-5f);
  p = rounded::multiply_add(p, v, 0x1.a60302p-4f);
  p = rounded::multiply_add(p, v, 0x1.a5f4e6p-4f);
  p = rounded::multiply_add(p, v, 0x1.a8ff42p-4f);
  const float tail = rounded::multiply(e, rounded::multiply(v, p));
  const float below = x < 0.0f ? tail : rounded::subtract(1.0f, tail);
  const float density = rounded::multiply(kDensityAtZero, e);
  return {rounded::multiply(x, below), rounded::multiply_add(x, density, below)};
}

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_ELEMENTARY_H_
