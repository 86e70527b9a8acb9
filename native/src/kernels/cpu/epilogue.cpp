#include "kernels/epilogue.h"

#include <algorithm>

namespace smpo::kernels::cpu {
namespace {

// Channels that one task works on at a time, so that their biases fit the stack; pixels as in the sums.
constexpr int64_t kChannelBlock = 1024;
constexpr int64_t kPixelBlock = epilogue_sum::kPixelsPerChunk;

/// bias + sample_bias; one of them may be null.
template <class T>
struct Shift {
  SMPO_INNER_LOOP void run(const T* bias, const T* sample_bias, int64_t count, float* shift) {
    if (bias == nullptr || sample_bias == nullptr) {
      const T* one = bias == nullptr ? sample_bias : bias;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) shift[i] = to_float(one[i]);
      return;
    }
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) shift[i] = to_float(bias[i]) + to_float(sample_bias[i]);
  }
};

/// Some pixels of `count` channels each, `stride` elements apart. y may be x or the residual.
template <class X, class T, bool kShift, bool kResidual>
struct AddPixels {
  SMPO_INNER_LOOP void run(const X* x, const float* shift, const T* residual, T* y, int64_t pixels, int64_t stride,
                           int64_t count) {
    for (int64_t p = 0; p < pixels; ++p) {
      const X* from = x + p * stride;
      const T* other = kResidual ? residual + p * stride : nullptr;
      T* to = y + p * stride;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) {
        float value = to_float(from[i]);
        if (kShift) value = value + shift[i];
        if (kResidual) value = value + to_float(other[i]);
        to[i] = from_float<T>(value);
      }
    }
  }
};

template <class T>
struct SumPixels {
  SMPO_INNER_LOOP void run(const T* d_y, int64_t pixels, int64_t channels, float* __restrict sums) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) sums[c] = to_float(d_y[c]);
    for (int64_t p = 1; p < pixels; ++p) {
      const T* row = d_y + p * channels;
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) sums[c] = sums[c] + to_float(row[c]);
    }
  }
};

template <class X, class T, bool kShift, bool kResidual>
void add(const EpilogueArgs& args, InstructionSet set) {
  const int64_t P = args.pixels, C = args.channels;
  const int64_t pixel_blocks = divide_up(P, kPixelBlock), channel_blocks = divide_up(C, kChannelBlock);
  const int64_t tasks = args.batch * pixel_blocks * channel_blocks;
#pragma omp parallel for schedule(static) if (tasks > 1)
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t block = task / channel_blocks, first = task % channel_blocks * kChannelBlock;
    const int64_t b = block / pixel_blocks, p = block % pixel_blocks * kPixelBlock;
    const int64_t count = std::min(kChannelBlock, C - first), begin = (b * P + p) * C + first;
    alignas(64) float shift[kChannelBlock];
    if (kShift) {
      const T* bias = static_cast<const T*>(args.bias_C);
      const T* sample_bias = static_cast<const T*>(args.sample_bias_BC);
      run_for<Shift<T>>(set, bias == nullptr ? nullptr : bias + first,
                        sample_bias == nullptr ? nullptr : sample_bias + b * C + first, count, shift);
    }
    run_for<AddPixels<X, T, kShift, kResidual>>(set, static_cast<const X*>(args.x_BPC) + begin, shift,
                                                kResidual ? static_cast<const T*>(args.residual_BPC) + begin : nullptr,
                                                static_cast<T*>(args.y_BPC) + begin, std::min(kPixelBlock, P - p), C,
                                                count);
  }
}

template <class X, class T>
void forward(const EpilogueArgs& args, InstructionSet set) {
  const bool shift = args.bias_C != nullptr || args.sample_bias_BC != nullptr;
  if (args.residual_BPC != nullptr) {
    shift ? add<X, T, true, true>(args, set) : add<X, T, false, true>(args, set);
  } else {
    shift ? add<X, T, true, false>(args, set) : add<X, T, false, false>(args, set);
  }
}

template <class T>
void backward(const EpilogueBackwardArgs& args, InstructionSet set) {
  const int64_t B = args.batch, P = args.pixels, C = args.channels, chunks = epilogue_sum::chunks_of(P);
  const T* d_y = static_cast<const T*>(args.d_y_BPC);
  T* d_sample_bias = static_cast<T*>(args.d_sample_bias_BC);
  auto* sums_BKC = static_cast<float*>(args.workspace);
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t task = 0; task < B * chunks; ++task) {
      const int64_t b = task / chunks, p = task % chunks * kPixelBlock;
      run_for<SumPixels<T>>(set, d_y + (b * P + p) * C, std::min(kPixelBlock, P - p), C, sums_BKC + task * C);
    }
#pragma omp for schedule(static) nowait
    for (int64_t c = 0; c < C; ++c) {
      double all = 0.0;
      for (int64_t b = 0; b < B; ++b) {
        double sum = 0.0;
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
          sum += static_cast<double>(sums_BKC[(b * chunks + chunk) * C + c]);
        }
        if (d_sample_bias != nullptr) d_sample_bias[b * C + c] = from_float<T>(static_cast<float>(sum));
        all += sum;
      }
      if (args.d_bias_C != nullptr) {
        args.d_bias_C[c] = static_cast<float>(static_cast<double>(args.d_bias_C[c]) + all);
      }
    }
  }
}

}  // namespace

void epilogue(const EpilogueArgs& args, InstructionSet set) {
  if (args.dtype == DType::kF32) {
    forward<float, float>(args, set);
  } else if (args.x_dtype == DType::kF32) {
    forward<float, BFloat16>(args, set);
  } else {
    forward<BFloat16, BFloat16>(args, set);
  }
}

void epilogue_backward(const EpilogueBackwardArgs& args, InstructionSet set) {
  args.dtype == DType::kF32 ? backward<float>(args, set) : backward<BFloat16>(args, set);
}

}  // namespace smpo::kernels::cpu
