// Arithmetic with one rounding per operation, on every device. On the CPU the plain operators do that (the build sets
// -ffp-contract=off); on the GPU the compiler would contract a * b + c into one fused operation and divide
// approximately, so the rounded intrinsics are named. A formula written with these gives the same bits everywhere.
#ifndef SMPO_KERNELS_ROUNDING_H_
#define SMPO_KERNELS_ROUNDING_H_

#include <cmath>

#include "kernels/types.h"

namespace smpo::kernels::rounded {

#if defined(__CUDA_ARCH__)
SMPO_HOST_DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
SMPO_HOST_DEVICE float subtract(float a, float b) { return __fsub_rn(a, b); }
SMPO_HOST_DEVICE float multiply(float a, float b) { return __fmul_rn(a, b); }
SMPO_HOST_DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
SMPO_HOST_DEVICE float square_root(float a) { return __fsqrt_rn(a); }
SMPO_HOST_DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
SMPO_HOST_DEVICE double subtract(double a, double b) { return __dsub_rn(a, b); }
SMPO_HOST_DEVICE double multiply(double a, double b) { return __dmul_rn(a, b); }
#else
SMPO_HOST_DEVICE float add(float a, float b) { return a + b; }
SMPO_HOST_DEVICE float subtract(float a, float b) { return a - b; }
SMPO_HOST_DEVICE float multiply(float a, float b) { return a * b; }
SMPO_HOST_DEVICE float divide(float a, float b) { return a / b; }
SMPO_HOST_DEVICE float square_root(float a) { return std::sqrt(a); }
SMPO_HOST_DEVICE double add(double a, double b) { return a + b; }
SMPO_HOST_DEVICE double subtract(double a, double b) { return a - b; }
SMPO_HOST_DEVICE double multiply(double a, double b) { return a * b; }
#endif

/// a * b + c with two roundings.
SMPO_HOST_DEVICE float multiply_add(float a, float b, float c) { return add(multiply(a, b), c); }

}  // namespace smpo::kernels::rounded

#endif  // SMPO_KERNELS_ROUNDING_H_
