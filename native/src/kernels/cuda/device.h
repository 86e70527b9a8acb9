// Code that kernels share on the device: indices, shared memory, 16-byte accesses, bf16 pairs, sums in a fixed order.
// Only .cu files include it. Every reduction here gives the same bits on every run: the order depends on the number of
// threads alone.
#ifndef SMPO_KERNELS_CUDA_DEVICE_H_
#define SMPO_KERNELS_CUDA_DEVICE_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "kernels/types.h"

/// `SMPO_DYNAMIC_SHARED(float, tile);` declares `float* tile`, the block's dynamic shared memory, 16-byte aligned. One
/// per kernel; a kernel that needs several arrays cuts them out of it, the most aligned first. (`extern __shared__` has
/// no meaning on the CPU.)
///
/// Static shared arrays (`__shared__ float sums[32];`) belong in kernels of an unnamed namespace: only there can
/// AddressSanitizer put red zones around them.
#if defined(SMPO_CUDA_ON_CPU)
#include "cuda_on_cpu/emulator.h"
#define SMPO_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::smpo::kernels::cuda_on_cpu::dynamic_shared())
#else
#define SMPO_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char smpo_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(smpo_dynamic_shared)
#endif

namespace smpo::kernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// ---- indices

/// This thread's place in a one-dimensional grid. 64 bits: blockIdx.x * blockDim.x overflows 32 in flat buffers.
__device__ __forceinline__ int64_t grid_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

/// Threads in a one-dimensional grid: `for (int64_t i = grid_index(); i < count; i += grid_stride())`.
__device__ __forceinline__ int64_t grid_stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

/// This thread's place in its block, whatever the block's shape; warps are runs of 32 of these.
__device__ __forceinline__ int thread_index() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}

__device__ __forceinline__ int thread_count() { return static_cast<int>(blockDim.x * blockDim.y * blockDim.z); }

// ---- 16-byte accesses

/// As many T as fit 16 bytes: 4 floats, 8 bf16.
template <class T>
struct alignas(16) Vector16 {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(T));
  T values[kCount];

  __device__ __forceinline__ T& operator[](int i) { return values[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return values[i]; }
};

/// True when `load16` and `store16` may be used on `pointer`. Views into flat buffers need not be aligned.
template <class T>
__host__ __device__ __forceinline__ bool is_aligned16(const T* pointer) {
  return (reinterpret_cast<uintptr_t>(pointer) & 15u) == 0;
}

template <class T>
__device__ __forceinline__ Vector16<T> load16(const T* pointer) {
  const uint4 raw = *reinterpret_cast<const uint4*>(pointer);
  Vector16<T> vector;
  memcpy(&vector, &raw, sizeof(raw));
  return vector;
}

template <class T>
__device__ __forceinline__ void store16(T* pointer, const Vector16<T>& vector) {
  uint4 raw;
  memcpy(&raw, &vector, sizeof(raw));
  *reinterpret_cast<uint4*>(pointer) = raw;
}

// ---- bf16

using kernels::to_bfloat16;  // beside the overload below, which would hide it

/// Two floats, rounded to nearest even, as two bf16: one instruction instead of fourteen. NaN becomes some quiet NaN,
/// not necessarily that of to_bfloat16; everything else is the same bits.
__device__ __forceinline__ void to_bfloat16(float first, float second, BFloat16* pair) {
#if defined(__CUDA_ARCH__)
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(second), "f"(first));
  pair[0].bits = static_cast<uint16_t>(packed);
  pair[1].bits = static_cast<uint16_t>(packed >> 16);
#else
  pair[0] = to_bfloat16(first);
  pair[1] = to_bfloat16(second);
#endif
}

/// 16 bytes of T, as floats.
template <class T>
__device__ __forceinline__ void load16(const T* pointer, float* values) {
  const Vector16<T> vector = load16(pointer);
#pragma unroll
  for (int i = 0; i < Vector16<T>::kCount; ++i) {
    values[i] = to_float(vector[i]);
  }
}

/// Floats, rounded to 16 bytes of T.
__device__ __forceinline__ void store16(float* pointer, const float* values) {
  *reinterpret_cast<float4*>(pointer) = make_float4(values[0], values[1], values[2], values[3]);
}

__device__ __forceinline__ void store16(BFloat16* pointer, const float* values) {
  Vector16<BFloat16> vector;
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    to_bfloat16(values[i], values[i + 1], &vector[i]);
  }
  store16(pointer, vector);
}

// ---- reductions

struct Sum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};

/// Maximum that ignores a NaN on either side. Check for NaN separately.
struct Max {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

/// Over the 32 lanes of a whole warp, every lane of which must call it; all of them get the same bits, because each
/// level combines the same two halves and Combine is commutative. T: float, double, or a 4- or 8-byte integer.
template <class T, class Combine = Sum>
__device__ __forceinline__ T warp_reduce(T value, Combine combine = {}) {
#pragma unroll
  for (int lane_mask = kWarp / 2; lane_mask > 0; lane_mask /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, lane_mask));
  }
  return value;
}

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  return warp_reduce(value, Sum{});
}

template <class T>
__device__ __forceinline__ T warp_max(T value) {
  return warp_reduce(value, Max{});
}

/// Over all threads of the block, every one of which must call it and gets the result. The block is a multiple of 32
/// threads. `scratch` is shared memory, one T per warp; it may be used again at once. `identity` fills the lanes of the
/// second stage that have no warp.
template <class T, class Combine>
__device__ __forceinline__ T block_reduce(T value, T* scratch, T identity, Combine combine) {
  const int lane = thread_index() % kWarp;
  const int warp = thread_index() / kWarp;
  const int warps = thread_count() / kWarp;
  value = warp_reduce(value, combine);
  if (lane == 0) {
    scratch[warp] = value;
  }
  __syncthreads();
  // Every warp does the second stage for itself: no third barrier to hand the result out.
  value = warp_reduce(lane < warps ? scratch[lane] : identity, combine);
  __syncthreads();
  return value;
}

template <class T>
__device__ __forceinline__ T block_sum(T value, T* scratch) {
  return block_reduce(value, scratch, T{0}, Sum{});
}

}  // namespace smpo::kernels::cuda

#endif  // SMPO_KERNELS_CUDA_DEVICE_H_
