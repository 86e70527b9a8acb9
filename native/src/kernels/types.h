// Element types of the kernels' buffers, and the macros that let one header serve the C++ and the CUDA compiler.
#ifndef SMPO_KERNELS_TYPES_H_
#define SMPO_KERNELS_TYPES_H_

#include <cstdint>

// A function of a shared header: compiled for host and device, and always inlined, so that on the CPU it takes the
// instruction set of the loop that calls it (see cpu/dispatch.h).
#if defined(__CUDACC__)
#define SMPO_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define SMPO_HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace smpo::kernels {

/// Element type of a buffer. The values are those of smpo.h.
enum class DType : int32_t { kF32 = 1, kBF16 = 2 };

/// A bfloat16 in memory: the upper half of a float.
struct BFloat16 {
  uint16_t bits;
};

/// A float's bits, and the float of some bits. (std::bit_cast is a host function to nvcc: without a flag that relaxes
/// it, a kernel that calls it compiles with a warning, to nothing.)
#if defined(__CUDA_ARCH__)
SMPO_HOST_DEVICE uint32_t bits_of(float value) { return __float_as_uint(value); }
SMPO_HOST_DEVICE float float_of(uint32_t bits) { return __uint_as_float(bits); }
#else
SMPO_HOST_DEVICE uint32_t bits_of(float value) { return __builtin_bit_cast(uint32_t, value); }
SMPO_HOST_DEVICE float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }
#endif

/// Converts to float, exactly.
SMPO_HOST_DEVICE float to_float(BFloat16 value) { return float_of(static_cast<uint32_t>(value.bits) << 16); }

SMPO_HOST_DEVICE float to_float(float value) { return value; }

/// Rounds to nearest, ties to even; overflow goes to infinity; every NaN becomes the quiet NaN of the same sign, so
/// that rounding cannot carry a NaN's payload into infinity.
SMPO_HOST_DEVICE BFloat16 to_bfloat16(float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = ((bits >> 16) & 0x8000u) | 0x7fc0u;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return BFloat16{static_cast<uint16_t>(is_nan ? quiet_nan : rounded)};
}

/// `from_float<T>`: the float as an element of type T.
template <class T>
T from_float(float value) = delete;

template <>
SMPO_HOST_DEVICE float from_float<float>(float value) {
  return value;
}

template <>
SMPO_HOST_DEVICE BFloat16 from_float<BFloat16>(float value) {
  return to_bfloat16(value);
}

template <class T>
inline constexpr DType kDTypeOf = DType::kF32;
template <>
inline constexpr DType kDTypeOf<BFloat16> = DType::kBF16;

/// Size of one element in bytes.
constexpr int64_t size_of(DType dtype) { return dtype == DType::kBF16 ? 2 : 4; }

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_TYPES_H_
