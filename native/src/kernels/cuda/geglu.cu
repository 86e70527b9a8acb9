#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_sum.h"
#include "kernels/elementary.h"
#include "kernels/geglu.h"

namespace smpo::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// kWide: 16 bytes at a time; every row of every tensor begins on a 16-byte boundary.
template <class T, bool kWide>
__global__ void geglu_forward(const T* x_R2C, int64_t rows, int64_t channels, T* y_RC) {
  constexpr int kStep = kWide ? Vector16<T>::kCount : 1;
  const int64_t steps = channels / kStep;
  for (int64_t i = grid_index(); i < rows * steps; i += grid_stride()) {
    const int64_t r = i / steps, c = i % steps * kStep;
    const T* value = x_R2C + r * 2 * channels + c;
    T* y = y_RC + r * channels + c;
    float values[kStep], gates[kStep];
    if constexpr (kWide) {
      load16(value, values);
      load16(value + channels, gates);
    } else {
      values[0] = to_float(value[0]);
      gates[0] = to_float(value[channels]);
    }
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
      values[j] = rounded::multiply(values[j], gelu_and_slope(gates[j]).value);
    }
    if constexpr (kWide) {
      store16(y, values);
    } else {
      y[0] = from_float<T>(values[0]);
    }
  }
}

template <class T, bool kWide>
__global__ void geglu_backward_kernel(const T* d_y_RC, const T* x_R2C, int64_t rows, int64_t channels, T* d_x_R2C) {
  constexpr int kStep = kWide ? Vector16<T>::kCount : 1;
  const int64_t steps = channels / kStep;
  for (int64_t i = grid_index(); i < rows * steps; i += grid_stride()) {
    const int64_t r = i / steps, c = i % steps * kStep;
    const int64_t row = r * 2 * channels + c;
    float values[kStep], gates[kStep], d[kStep];
    if constexpr (kWide) {
      load16(x_R2C + row, values);
      load16(x_R2C + row + channels, gates);
      load16(d_y_RC + r * channels + c, d);
    } else {
      values[0] = to_float(x_R2C[row]);
      gates[0] = to_float(x_R2C[row + channels]);
      d[0] = to_float(d_y_RC[r * channels + c]);
    }
#pragma unroll
    for (int j = 0; j < kStep; ++j) {
      const ValueAndSlope g = gelu_and_slope(gates[j]);
      gates[j] = rounded::multiply(rounded::multiply(d[j], values[j]), g.slope);
      values[j] = rounded::multiply(d[j], g.value);
    }
    if constexpr (kWide) {
      store16(d_x_R2C + row, values);
      store16(d_x_R2C + row + channels, gates);
    } else {
      d_x_R2C[row] = from_float<T>(values[0]);
      d_x_R2C[row + channels] = from_float<T>(gates[0]);
    }
  }
}

/// Calls f<kWide>: whether 16-byte accesses fit the tensors.
template <class T, class F>
void with_width(bool aligned, int64_t channels, F f) {
  if (aligned && channels % Vector16<T>::kCount == 0) {
    f.template operator()<true>();
  } else {
    f.template operator()<false>();
  }
}

template <class T, bool kWide>
dim3 blocks_of(int64_t rows, int64_t channels) {
  return dim3(blocks_for(rows * channels / (kWide ? Vector16<T>::kCount : 1), kThreads));
}

}  // namespace

void geglu(const GegluArgs& args, Stream stream) {
  with_dtype(args.dtype, [&]<class T>(T*) {
    with_width<T>(is_aligned16(args.x_R2C) && is_aligned16(args.y_RC), args.channels, [&]<bool kWide>() {
      launch(geglu_forward<T, kWide>, blocks_of<T, kWide>(args.rows, args.channels), dim3(kThreads), 0, stream,
             static_cast<const T*>(args.x_R2C), args.rows, args.channels, static_cast<T*>(args.y_RC));
    });
  });
}

void geglu_backward(const GegluBackwardArgs& args, Stream stream) {
  with_dtype(args.dtype, [&]<class T>(T*) {
    const bool aligned = is_aligned16(args.x_R2C) && is_aligned16(args.d_y_RC) && is_aligned16(args.d_x_R2C);
    with_width<T>(aligned, args.channels, [&]<bool kWide>() {
      launch(geglu_backward_kernel<T, kWide>, blocks_of<T, kWide>(args.rows, args.channels), dim3(kThreads), 0, stream,
             static_cast<const T*>(args.d_y_RC), static_cast<const T*>(args.x_R2C), args.rows, args.channels,
             static_cast<T*>(args.d_x_R2C));
    });
  });
}

}  // namespace smpo::kernels::cuda
