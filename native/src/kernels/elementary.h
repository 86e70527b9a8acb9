// Exponential, normal distribution and the activations made of them, in float operations that IEEE 754 rounds exactly
// (+, -, *, /), without a branch or a library call: loops over them vectorise, and every device and instruction set
// gives the same bits. The polynomials are minimax fits of the relative error, rounded to float.
//
// u = 2^-24, one rounding. NaN in gives NaN out.
#ifndef SMPO_KERNELS_ELEMENTARY_H_
#define SMPO_KERNELS_ELEMENTARY_H_

#include <bit>
#include <cstdint>

#include "kernels/rounding.h"
#include "kernels/types.h"

namespace smpo::kernels {

/// e^x for x in [-87.3, 88]; beyond, the value at the end of that range: relative error below 3u.
SMPO_HOST_DEVICE float exponential(float x) {
  constexpr float kRoundToInteger = 0x1.8p23f;  // In [2^23, 2^24] floats are integers.
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.0f ? 88.0f : x;
  // x = n ln 2 + r; the first part of ln 2 is short enough that n times it is exact.
  const float shifted = rounded::multiply_add(x, 0x1.715476p0f, kRoundToInteger);
  const float n = rounded::subtract(shifted, kRoundToInteger);
  float r = rounded::multiply_add(n, -0x1.63p-1f, x);
  r = rounded::multiply_add(n, 0x1.bd0106p-13f, r);
  // e^r = 1 + r + r^2 P(r)
  float p = 0x1.6a1a7p-10f;
  p = rounded::multiply_add(p, r, 0x1.123fc6p-7f);
  p = rounded::multiply_add(p, r, 0x1.555916p-5f);
  p = rounded::multiply_add(p, r, 0x1.55548ap-3f);
  p = rounded::multiply_add(p, r, 0x1.fffffcp-2f);
  const float value = rounded::add(1.0f, rounded::multiply_add(rounded::multiply(r, r), p, r));
  // Times 2^n: the integer lies in the low bits of `shifted`.
  const uint32_t scale = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000u;
  return rounded::multiply(value, std::bit_cast<float>(scale));
}

/// 1 / (1 + e^-x): relative error below 5u for x > -87.
SMPO_HOST_DEVICE float logistic(float x) { return rounded::divide(1.0f, rounded::add(1.0f, exponential(-x))); }

struct ValueAndSlope {
  float value;
  float slope;
};

/// x s(x) and its derivative s + x s (1 - s), with s the logistic function.
SMPO_HOST_DEVICE ValueAndSlope silu_and_slope(float x) {
  const float s = logistic(x);
  const float value = rounded::multiply(x, s);
  return {value, rounded::multiply_add(value, rounded::subtract(1.0f, s), s)};
}

/// x Phi(x) and its derivative Phi + x phi, with Phi and phi the normal distribution and its density (the exact gelu).
///
/// Phi(-t) = e^(-t^2 / 2) t' P(t') with t' = 1 / (1 + 0.26 t): relative error of the fit 0.8u up to t = 13, where
/// Phi(-t) is 1e-38. The value's error is below 8u |x|.
SMPO_HOST_DEVICE ValueAndSlope gelu_and_slope(float x) {
  constexpr float kDensityAtZero = 0x1.988454p-2f;  // 1 / sqrt(2 pi)
  float t = x < 0.0f ? -x : x;
  t = t > 13.0f ? 13.0f : t;
  const float e = exponential(rounded::multiply(-0.5f, rounded::multiply(t, t)));
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
