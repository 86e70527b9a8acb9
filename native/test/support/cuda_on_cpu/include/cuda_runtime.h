// Replaces the toolkit's <cuda_runtime.h> when .cu files are compiled as C++ for the emulator. It has the part of CUDA
// C++ that our kernels use; a kernel that needs more adds it here with CUDA's semantics.
#ifndef SMPO_TEST_SUPPORT_CUDA_ON_CPU_INCLUDE_CUDA_RUNTIME_H_
#define SMPO_TEST_SUPPORT_CUDA_ON_CPU_INCLUDE_CUDA_RUNTIME_H_

#if !defined(SMPO_CUDA_ON_CPU)
#error "this <cuda_runtime.h> is the emulator's: define SMPO_CUDA_ON_CPU=1, or remove the include path"
#endif

#include <math.h>

#include <bit>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "cuda_on_cpu/emulator.h"
#include "cuda_on_cpu/types.h"

// ---- keywords

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// Blocks run one after another, so a block's static shared array is a static variable. All of them lie in one section:
// the emulator fills it with 0xFF before each block (the build passes -fsanitize-sections for the red zones).
#define __shared__ static __attribute__((section("smpo_shared")))

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
inline constexpr int warpSize = 32;

// ---- vector types

#define SMPO_VECTOR_TYPE(type, name, alignment2, alignment4)       \
  struct alignas(alignment2) name##2 { type x, y; };               \
  struct alignas(alignment4) name##4 { type x, y, z, w; };         \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
SMPO_VECTOR_TYPE(signed char, char, 2, 4)
SMPO_VECTOR_TYPE(unsigned char, uchar, 2, 4)
SMPO_VECTOR_TYPE(short, short, 4, 8)
SMPO_VECTOR_TYPE(unsigned short, ushort, 4, 8)
SMPO_VECTOR_TYPE(int, int, 8, 16)
SMPO_VECTOR_TYPE(unsigned, uint, 8, 16)
SMPO_VECTOR_TYPE(float, float, 8, 16)
SMPO_VECTOR_TYPE(long long, longlong, 16, 16)
SMPO_VECTOR_TYPE(unsigned long long, ulonglong, 16, 16)
SMPO_VECTOR_TYPE(double, double, 16, 16)
#undef SMPO_VECTOR_TYPE

struct float3 {
  float x, y, z;
};
struct int3 {
  int x, y, z;
};
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

// ---- barriers, shuffles, votes. Each records its calling line for messages.

#define SMPO_CALLER const std::source_location& at = std::source_location::current()

inline void __syncthreads(SMPO_CALLER) {
  smpo::kernels::cuda_on_cpu::block_barrier(smpo::kernels::cuda_on_cpu::Barrier::kPlain, 0, at);
}
inline int __syncthreads_count(int predicate, SMPO_CALLER) {
  return smpo::kernels::cuda_on_cpu::block_barrier(smpo::kernels::cuda_on_cpu::Barrier::kCount, predicate, at);
}
inline int __syncthreads_and(int predicate, SMPO_CALLER) {
  return smpo::kernels::cuda_on_cpu::block_barrier(smpo::kernels::cuda_on_cpu::Barrier::kAnd, predicate, at);
}
inline int __syncthreads_or(int predicate, SMPO_CALLER) {
  return smpo::kernels::cuda_on_cpu::block_barrier(smpo::kernels::cuda_on_cpu::Barrier::kOr, predicate, at);
}

namespace smpo::kernels::cuda_on_cpu::shim {

template <class T>
concept Word = std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8);

template <Word T>
uint64_t bits_of(T value) {
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<uint32_t>(value);
  } else {
    return std::bit_cast<uint64_t>(value);
  }
}

template <Word T>
T value_of(uint64_t bits) {
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<T>(static_cast<uint32_t>(bits));
  } else {
    return std::bit_cast<T>(bits);
  }
}

template <Word T>
T shuffle(Collective kind, unsigned mask, T value, int operand, int width, const std::source_location& at) {
  return value_of<T>(warp_collective(kind, mask, bits_of(value), operand, width, at));
}

}  // namespace smpo::kernels::cuda_on_cpu::shim

inline void __syncwarp(unsigned mask = 0xffffffffu, SMPO_CALLER) {
  smpo::kernels::cuda_on_cpu::warp_collective(smpo::kernels::cuda_on_cpu::Collective::kSync, mask, 0, 0, 32, at);
}
template <smpo::kernels::cuda_on_cpu::shim::Word T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SMPO_CALLER) {
  using namespace smpo::kernels::cuda_on_cpu;
  return shim::shuffle(Collective::kShuffle, mask, value, lane, width, at);
}
template <smpo::kernels::cuda_on_cpu::shim::Word T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SMPO_CALLER) {
  using namespace smpo::kernels::cuda_on_cpu;
  return shim::shuffle(Collective::kShuffleUp, mask, value, static_cast<int>(delta), width, at);
}
template <smpo::kernels::cuda_on_cpu::shim::Word T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SMPO_CALLER) {
  using namespace smpo::kernels::cuda_on_cpu;
  return shim::shuffle(Collective::kShuffleDown, mask, value, static_cast<int>(delta), width, at);
}
template <smpo::kernels::cuda_on_cpu::shim::Word T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, SMPO_CALLER) {
  using namespace smpo::kernels::cuda_on_cpu;
  return shim::shuffle(Collective::kShuffleXor, mask, value, lane_mask, width, at);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SMPO_CALLER) {
  using namespace smpo::kernels::cuda_on_cpu;
  return static_cast<unsigned>(warp_collective(Collective::kBallot, mask, static_cast<unsigned>(predicate), 0, 32, at));
}
inline int __any_sync(unsigned mask, int predicate, SMPO_CALLER) {
  using namespace smpo::kernels::cuda_on_cpu;
  return static_cast<int>(warp_collective(Collective::kAny, mask, static_cast<unsigned>(predicate), 0, 32, at));
}
inline int __all_sync(unsigned mask, int predicate, SMPO_CALLER) {
  using namespace smpo::kernels::cuda_on_cpu;
  return static_cast<int>(warp_collective(Collective::kAll, mask, static_cast<unsigned>(predicate), 0, 32, at));
}
template <smpo::kernels::cuda_on_cpu::shim::Word T>
unsigned __match_any_sync(unsigned mask, T value, SMPO_CALLER) {
  using namespace smpo::kernels::cuda_on_cpu;
  return static_cast<unsigned>(warp_collective(Collective::kMatchAny, mask, shim::bits_of(value), 0, 32, at));
}

#define SMPO_WARP_REDUCE(name, type, kind)                                                                 \
  inline type name(unsigned mask, type value, SMPO_CALLER) {                                               \
    using namespace smpo::kernels::cuda_on_cpu;                                                            \
    return shim::value_of<type>(warp_collective(Collective::kind, mask, shim::bits_of(value), 0, 32, at)); \
  }
SMPO_WARP_REDUCE(__reduce_add_sync, unsigned, kAdd)
SMPO_WARP_REDUCE(__reduce_min_sync, unsigned, kMin)
SMPO_WARP_REDUCE(__reduce_max_sync, unsigned, kMax)
SMPO_WARP_REDUCE(__reduce_add_sync, int, kAddSigned)
SMPO_WARP_REDUCE(__reduce_min_sync, int, kMinSigned)
SMPO_WARP_REDUCE(__reduce_max_sync, int, kMaxSigned)
SMPO_WARP_REDUCE(__reduce_and_sync, unsigned, kAnd)
SMPO_WARP_REDUCE(__reduce_or_sync, unsigned, kOr)
SMPO_WARP_REDUCE(__reduce_xor_sync, unsigned, kXor)
#undef SMPO_WARP_REDUCE
#undef SMPO_CALLER

/// Any set that contains the caller is a legal answer; the smallest reveals kernels that rely on more.
inline unsigned __activemask() { return 1u << smpo::kernels::cuda_on_cpu::lane_index(); }

inline void __nanosleep(unsigned) { smpo::kernels::cuda_on_cpu::yield(); }

// ---- memory

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

// Cache hints have no effect here.
#define SMPO_LOAD(name)      \
  template <class T>         \
  T name(const T* pointer) { \
    return *pointer;         \
  }
SMPO_LOAD(__ldg)
SMPO_LOAD(__ldca)
SMPO_LOAD(__ldcg)
SMPO_LOAD(__ldcs)
SMPO_LOAD(__ldlu)
SMPO_LOAD(__ldcv)
#undef SMPO_LOAD
#define SMPO_STORE(name)                                 \
  template <class T>                                     \
  void name(T* pointer, std::type_identity_t<T> value) { \
    *pointer = value;                                    \
  }
SMPO_STORE(__stwb)
SMPO_STORE(__stcg)
SMPO_STORE(__stcs)
SMPO_STORE(__stwt)
#undef SMPO_STORE

// Atomics return the old value. Only one fiber runs at a time; under the random schedules another fiber may run first.
#define SMPO_ATOMIC(name, expression)                 \
  template <class T>                                  \
  T name(T* address, std::type_identity_t<T> value) { \
    smpo::kernels::cuda_on_cpu::preemption_point();   \
    const T old = *address;                           \
    *address = static_cast<T>(expression);            \
    return old;                                       \
  }
SMPO_ATOMIC(atomicAdd, old + value)
SMPO_ATOMIC(atomicSub, old - value)
SMPO_ATOMIC(atomicMin, value < old ? value : old)
SMPO_ATOMIC(atomicMax, old < value ? value : old)
SMPO_ATOMIC(atomicExch, value)
SMPO_ATOMIC(atomicAnd, old& value)
SMPO_ATOMIC(atomicOr, old | value)
SMPO_ATOMIC(atomicXor, old ^ value)
SMPO_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
SMPO_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef SMPO_ATOMIC
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  smpo::kernels::cuda_on_cpu::preemption_point();
  const T old = *address;
  if (old == expected) {
    *address = value;
  }
  return old;
}

// ---- arithmetic. The build sets -ffp-contract=off, so the plain operators round once.

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __drcp_rn(double a) { return 1.0 / a; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

// Approximate on a GPU, exact here; tests compare with a tolerance.
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return std::exp(a); }
inline float __exp10f(float a) { return std::pow(10.0f, a); }
inline float __logf(float a) { return std::log(a); }
inline float __log2f(float a) { return std::log2(a); }
inline float __log10f(float a) { return std::log10(a); }
inline float __sinf(float a) { return std::sin(a); }
inline float __cosf(float a) { return std::cos(a); }
inline float __tanf(float a) { return std::tan(a); }
inline float __powf(float a, float b) { return std::pow(a, b); }
inline void __sincosf(float a, float* sine, float* cosine) {
  *sine = std::sin(a);
  *cosine = std::cos(a);
}
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
inline float __frsqrt_rn(float a) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a))); }
// glibc 2.41 has sinpi and cospi (C23), 2.42 rsqrt, under these same names.
#if !defined(__GLIBC_PREREQ) || !__GLIBC_PREREQ(2, 42)
inline float rsqrtf(float a) { return __frsqrt_rn(a); }
inline double rsqrt(double a) { return 1.0 / std::sqrt(a); }
#endif
inline void sincospif(float a, float* sine, float* cosine) {
  constexpr double kPi = 3.14159265358979323846;
  const double turn = std::remainder(static_cast<double>(a), 2.0);
  *sine = static_cast<float>(std::sin(kPi * turn));
  *cosine = static_cast<float>(std::cos(kPi * turn));
}
#if !defined(__GLIBC_PREREQ) || !__GLIBC_PREREQ(2, 41)
inline float sinpif(float a) {
  float sine, cosine;
  sincospif(a, &sine, &cosine);
  return sine;
}
inline float cospif(float a) {
  float sine, cosine;
  sincospif(a, &sine, &cosine);
  return cosine;
}
#endif

template <class A, class B>
  requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmin(static_cast<T>(a), static_cast<T>(b));
  } else {
    return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
  }
}
template <class A, class B>
  requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmax(static_cast<T>(a), static_cast<T>(b));
  } else {
    return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
  }
}

inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); }
inline int __float_as_int(float a) { return std::bit_cast<int>(a); }
inline float __uint_as_float(unsigned a) { return std::bit_cast<float>(a); }
inline float __int_as_float(int a) { return std::bit_cast<float>(a); }
inline long long __double_as_longlong(double a) { return std::bit_cast<long long>(a); }
inline double __longlong_as_double(long long a) { return std::bit_cast<double>(a); }
inline float __double2float_rn(double a) { return static_cast<float>(a); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
inline double __uint2double_rn(unsigned a) { return a; }
inline int __float2int_rn(float a) {  // saturates, NaN becomes zero, as on a GPU
  const float rounded = std::nearbyint(a);
  return rounded >= 2147483648.0f   ? INT_MAX
         : rounded < -2147483648.0f ? INT_MIN
         : a != a                   ? 0
                                    : static_cast<int>(rounded);
}

inline int __popc(unsigned a) { return std::popcount(a); }
inline int __popcll(unsigned long long a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero(static_cast<unsigned>(a)); }
inline int __clzll(long long a) { return std::countl_zero(static_cast<unsigned long long>(a)); }
inline int __ffs(int a) { return a == 0 ? 0 : std::countr_zero(static_cast<unsigned>(a)) + 1; }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}

// ---- the runtime's host functions, so that GPU tests run unchanged. There is one device and every
// call is synchronous.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4
};
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };
using cudaStream_t = struct CUstream_st*;

inline const char* cudaGetErrorName(cudaError_t code) { return code == cudaSuccess ? "cudaSuccess" : "cudaError"; }
inline const char* cudaGetErrorString(cudaError_t code) { return cudaGetErrorName(code); }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 4 : 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

/// Red zones begin at the very next byte; the contents are 0xFF, because a GPU does not guarantee zeros.
template <class T>
cudaError_t cudaMalloc(T** pointer, size_t bytes) {
  constexpr size_t kAlignment = 256;
  void* memory = nullptr;
  if (bytes != 0 && posix_memalign(&memory, kAlignment, bytes) != 0) {
    return cudaErrorMemoryAllocation;
  }
  if (memory != nullptr) {
    std::memset(memory, 0xff, bytes);
  }
  *pointer = static_cast<T*>(memory);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer) {
  std::free(pointer);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (bytes != 0) {
    std::memcpy(to, from, bytes);
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t = nullptr) {
  return cudaMemcpy(to, from, bytes, kind);
}
inline cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  if (bytes != 0) {
    std::memset(to, value, bytes);
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t = nullptr) {
  return cudaMemset(to, value, bytes);
}

#endif  // SMPO_TEST_SUPPORT_CUDA_ON_CPU_INCLUDE_CUDA_RUNTIME_H_
