#include "kernels/adamw.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace smpo::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;  // 16 bytes of each f32 buffer

/// Target of `compute` when no copy is wanted.
struct NoCopy {};

__device__ __forceinline__ void store_copy(NoCopy*, int64_t, const float*) {}
__device__ __forceinline__ void store_copy(float* copy, int64_t i, const float* values) { store16(copy + i, values); }
__device__ __forceinline__ void store_copy(BFloat16* copy, int64_t i, const float* values) {
  BFloat16 rounded[kPerThread];
  to_bfloat16(values[0], values[1], rounded);
  to_bfloat16(values[2], values[3], rounded + 2);
  ushort4 packed;
  memcpy(&packed, rounded, sizeof(packed));
  *reinterpret_cast<ushort4*>(copy + i) = packed;
}

__device__ __forceinline__ void store_copy(NoCopy*, int64_t, float) {}
template <class T>
__device__ __forceinline__ void store_copy(T* copy, int64_t i, float value) {
  copy[i] = from_float<T>(value);
}

/// `aligned`: every buffer may be read four elements at a time.
template <class Copy>
__global__ void update(AdamWArgs args, AdamWCoefficients c, bool aligned) {
  if (args.finite != nullptr && *args.finite == 0) {
    return;
  }
  const float scale = args.grad_scale != nullptr ? *args.grad_scale : 1.0f;
  Copy* copy = static_cast<Copy*>(args.compute);
  for (int64_t i = kPerThread * grid_index(); i < args.elements; i += kPerThread * grid_stride()) {
    if (aligned && i + kPerThread <= args.elements) {
      float p[kPerThread], g[kPerThread], m[kPerThread], v[kPerThread];
      load16(args.parameter + i, p);
      load16(args.gradient + i, g);
      load16(args.m + i, m);
      load16(args.v + i, v);
#pragma unroll
      for (int j = 0; j < kPerThread; ++j) {
        p[j] = adamw_element(c, scale, p[j], g[j], m[j], v[j]);
      }
      store16(args.parameter + i, p);
      store16(args.m + i, m);
      store16(args.v + i, v);
      store_copy(copy, i, p);
    } else {
      for (int64_t n = i; n < i + kPerThread && n < args.elements; ++n) {
        float m = args.m[n];
        float v = args.v[n];
        const float p = adamw_element(c, scale, args.parameter[n], args.gradient[n], m, v);
        args.m[n] = m;
        args.v[n] = v;
        args.parameter[n] = p;
        store_copy(copy, n, p);
      }
    }
  }
}

template <class Copy>
void launch_update(const AdamWArgs& args, Stream stream) {
  // Four bf16 are 8 bytes, so 16-byte alignment of the copy is more than it needs; flat buffers have it anyway.
  const bool aligned = is_aligned16(args.parameter) && is_aligned16(args.gradient) && is_aligned16(args.m) &&
                       is_aligned16(args.v) && is_aligned16(static_cast<const float*>(args.compute));
  launch(update<Copy>, dim3(blocks_for(args.elements, kThreads, kPerThread)), dim3(kThreads), 0, stream, args,
         adamw_coefficients(args), aligned);
}

}  // namespace

void adamw(const AdamWArgs& args, Stream stream) {
  if (args.compute == nullptr) {
    launch_update<NoCopy>(args, stream);
  } else if (args.compute_dtype == DType::kBF16) {
    launch_update<BFloat16>(args, stream);
  } else {
    launch_update<float>(args, stream);
  }
}

}  // namespace smpo::kernels::cuda
