#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_sum.h"
#include "kernels/epilogue.h"
#include "kernels/rounding.h"

namespace smpo::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

/// `kStep` elements from `tensor[i]` on, as floats. Eight bf16 are one access and so are four floats; beside bf16,
/// eight floats are two.
template <int kStep, class T>
__device__ __forceinline__ void load_step(const T* tensor, int64_t i, float* values) {
  if constexpr (kStep == 1) {
    values[0] = to_float(tensor[i]);
  } else {
#pragma unroll
    for (int j = 0; j < kStep; j += Vector16<T>::kCount) {
      load16(tensor + i + j, values + j);
    }
  }
}

template <int kStep, class T>
__device__ __forceinline__ void store_step(T* tensor, int64_t i, const float* values) {
  if constexpr (kStep == 1) {
    tensor[i] = from_float<T>(values[0]);
  } else {
#pragma unroll
    for (int j = 0; j < kStep; j += Vector16<T>::kCount) {
      store16(tensor + i + j, values + j);
    }
  }
}

/// A thread has kStep channels of a pixel. kStep: 1, or as many T as fit 16 bytes, where every row of every tensor
/// begins on a 16-byte boundary.
template <class X, class T, int kStep>
__global__ void add(EpilogueArgs args) {
  const X* x = static_cast<const X*>(args.x_BPC);
  const T* bias = static_cast<const T*>(args.bias_C);
  const T* sample_bias = static_cast<const T*>(args.sample_bias_BC);
  const T* residual = static_cast<const T*>(args.residual_BPC);
  T* y = static_cast<T*>(args.y_BPC);
  const int64_t steps = args.channels / kStep;
  const int64_t pixels = args.batch * args.pixels;
  for (int64_t i = grid_index(); i < pixels * steps; i += grid_stride()) {
    const int64_t pixel = i / steps, c = i % steps * kStep;
    const int64_t n = pixel * args.channels + c;
    float values[kStep];
    load_step<kStep>(x, n, values);
    if (bias != nullptr || sample_bias != nullptr) {
      float shifts[kStep], others[kStep];
      load_step<kStep>(bias != nullptr ? bias : sample_bias,
                       bias != nullptr ? c : pixel / args.pixels * args.channels + c, shifts);
      if (bias != nullptr && sample_bias != nullptr) {
        load_step<kStep>(sample_bias, pixel / args.pixels * args.channels + c, others);
#pragma unroll
        for (int j = 0; j < kStep; ++j) {
          shifts[j] = rounded::add(shifts[j], others[j]);
        }
      }
#pragma unroll
      for (int j = 0; j < kStep; ++j) {
        values[j] = rounded::add(values[j], shifts[j]);
      }
    }
    if (residual != nullptr) {
      float others[kStep];
      load_step<kStep>(residual, n, others);
#pragma unroll
      for (int j = 0; j < kStep; ++j) {
        values[j] = rounded::add(values[j], others[j]);
      }
    }
    store_step<kStep>(y, n, values);
  }
}

/// A thread sums kStep channels over one chunk of a sample's pixels. sums: [B,chunks,C].
template <class T, int kStep>
__global__ void sum_pixels(const T* d_y_BPC, int64_t batch, int64_t pixels, int64_t channels, float* sums_BKC) {
  const int64_t chunks = epilogue_sum::chunks_of(pixels);
  const int64_t steps = channels / kStep;
  for (int64_t i = grid_index(); i < batch * chunks * steps; i += grid_stride()) {
    const int64_t item = i / steps, c = i % steps * kStep;
    const int64_t begin = item % chunks * epilogue_sum::kPixelsPerChunk;
    const int64_t end = begin + epilogue_sum::kPixelsPerChunk < pixels ? begin + epilogue_sum::kPixelsPerChunk : pixels;
    const T* d_y = d_y_BPC + item / chunks * pixels * channels + c;
    float sums[kStep];
    load_step<kStep>(d_y, begin * channels, sums);
#pragma unroll 4
    for (int64_t p = begin + 1; p < end; ++p) {
      float values[kStep];
      load_step<kStep>(d_y, p * channels, values);
#pragma unroll
      for (int j = 0; j < kStep; ++j) {
        sums[j] = rounded::add(sums[j], values[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
      sums_BKC[item * channels + c + j] = sums[j];
    }
  }
}

/// A block has 32 channels, one per lane; its warps take every eighth sample, and the first adds what they found in the
/// samples' order.
template <class T>
__global__ void join_sums(const float* sums_BKC, int64_t batch, int64_t chunks, int64_t channels, T* d_sample_bias_BC,
                          float* d_bias_C) {
  __shared__ double of_samples[kThreads];
  const int lane = thread_index() % kWarp, warp = thread_index() / kWarp;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  double all = 0.0;
  for (int64_t first = 0; first < batch; first += kWarps) {
    const int64_t b = first + warp;
    double sum = 0.0;
    if (b < batch && c < channels) {
      const float* sums = sums_BKC + b * chunks * channels + c;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        sum += static_cast<double>(sums[chunk * channels]);
      }
      if (d_sample_bias_BC != nullptr) {
        d_sample_bias_BC[b * channels + c] = from_float<T>(static_cast<float>(sum));
      }
    }
    of_samples[thread_index()] = sum;
    __syncthreads();
    if (warp == 0) {
      for (int64_t w = 0; w < kWarps && first + w < batch; ++w) {
        all += of_samples[w * kWarp + lane];
      }
    }
    __syncthreads();
  }
  if (warp == 0 && c < channels && d_bias_C != nullptr) {
    d_bias_C[c] = static_cast<float>(static_cast<double>(d_bias_C[c]) + all);
  }
}

template <class X, class T>
void launch_add(const EpilogueArgs& args, Stream stream) {
  constexpr int kWide = Vector16<T>::kCount;
  const auto with_step = [&]<int kStep>() {
    const int64_t count = args.batch * args.pixels * (args.channels / kStep);
    launch(add<X, T, kStep>, dim3(blocks_for(count, kThreads)), dim3(kThreads), 0, stream, args);
  };
  const bool aligned = is_aligned16(args.x_BPC) && is_aligned16(args.bias_C) && is_aligned16(args.sample_bias_BC) &&
                       is_aligned16(args.residual_BPC) && is_aligned16(args.y_BPC);
  if (aligned && args.channels % kWide == 0) {
    with_step.template operator()<kWide>();
  } else {
    with_step.template operator()<1>();
  }
}

}  // namespace

void epilogue(const EpilogueArgs& args, Stream stream) {
  if (args.dtype == DType::kF32) {
    launch_add<float, float>(args, stream);
  } else if (args.x_dtype == DType::kF32) {
    launch_add<float, BFloat16>(args, stream);
  } else {
    launch_add<BFloat16, BFloat16>(args, stream);
  }
}

void epilogue_backward(const EpilogueBackwardArgs& args, Stream stream) {
  if (args.batch == 0 || args.pixels == 0) {
    return;
  }
  const int64_t chunks = epilogue_sum::chunks_of(args.pixels);
  auto* sums_BKC = static_cast<float*>(args.workspace);
  with_dtype(args.dtype, [&]<class T>(T*) {
    constexpr int kWide = Vector16<T>::kCount;
    const T* d_y = static_cast<const T*>(args.d_y_BPC);
    const auto with_step = [&]<int kStep>() {
      launch(sum_pixels<T, kStep>, dim3(blocks_for(args.batch * chunks * (args.channels / kStep), kThreads)),
             dim3(kThreads), 0, stream, d_y, args.batch, args.pixels, args.channels, sums_BKC);
    };
    if (is_aligned16(args.d_y_BPC) && args.channels % kWide == 0) {
      with_step.template operator()<kWide>();
    } else {
      with_step.template operator()<1>();
    }
    launch(join_sums<T>, dim3(blocks_for(args.channels, kWarp)), dim3(kThreads), 0, stream, sums_BKC, args.batch,
           chunks, args.channels, static_cast<T*>(args.d_sample_bias_BC), args.d_bias_C);
  });
}

}  // namespace smpo::kernels::cuda
