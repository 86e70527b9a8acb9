#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_sum.h"
#include "kernels/layer_norm.h"

// One warp per row: lane l takes channels l, l + 32, ... The row is read from memory once and then from cache.
namespace smpo::kernels::cuda {
namespace {

constexpr int kRowsPerBlock = 4;
constexpr int kColumnThreads = 128;

template <class T, class P>
__global__ void normalize_rows(const T* x_RC, const T* residual_RC, const P* weight_C, const P* bias_C, int64_t rows,
                               int64_t channels, double eps, T* sum_RC, T* y_RC, float* mean_R, float* rstd_R) {
  const int lane = thread_index() % kWarp;
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + thread_index() / kWarp;
  if (r >= rows) {
    return;  // The whole warp: no shuffle below is torn.
  }
  const int64_t first = r * channels;
  const T* s_C = residual_RC == nullptr ? x_RC + first : sum_RC + first;
  float sum = 0.0f;
  for (int64_t c = lane; c < channels; c += kWarp) {
    T value = x_RC[first + c];
    if (residual_RC != nullptr) {
      value = from_float<T>(to_float(value) + to_float(residual_RC[first + c]));
      sum_RC[first + c] = value;
    }
    sum += to_float(value);
  }
  const float mean = warp_sum(sum) / static_cast<float>(channels);
  // Each lane reads only what it wrote itself.
  float squares = 0.0f;
  for (int64_t c = lane; c < channels; c += kWarp) {
    const float d = to_float(s_C[c]) - mean;
    squares += d * d;
  }
  const double variance = static_cast<double>(warp_sum(squares)) / static_cast<double>(channels);
  const float rstd = static_cast<float>(1.0 / sqrt(variance + eps));
  if (lane == 0) {
    mean_R[r] = mean;
    rstd_R[r] = rstd;
  }
  for (int64_t c = lane; c < channels; c += kWarp) {
    const float bias = bias_C == nullptr ? 0.0f : to_float(bias_C[c]);
    y_RC[first + c] = from_float<T>((to_float(s_C[c]) - mean) * rstd * to_float(weight_C[c]) + bias);
  }
}

/// Sums over one chunk of rows; a thread per channel. sums: [chunks, 2, C].
template <class T>
__global__ void sum_columns(const T* d_y_RC, const T* s_RC, const float* mean_R, const float* rstd_R, int64_t rows,
                            int64_t channels, float* sums_K2C) {
  const int64_t c = static_cast<int64_t>(blockIdx.y) * kColumnThreads + threadIdx.x;
  const int64_t chunk = blockIdx.x;
  if (c >= channels) {
    return;
  }
  const int64_t begin = chunk * layer_norm_sum::kRowsPerChunk;
  const int64_t end = begin + layer_norm_sum::kRowsPerChunk < rows ? begin + layer_norm_sum::kRowsPerChunk : rows;
  float sum_h = 0.0f, sum = 0.0f;
  for (int64_t r = begin; r < end; ++r) {
    const float d = to_float(d_y_RC[r * channels + c]);
    sum_h += d * ((to_float(s_RC[r * channels + c]) - mean_R[r]) * rstd_R[r]);
    sum += d;
  }
  sums_K2C[(chunk * 2) * channels + c] = sum_h;
  sums_K2C[(chunk * 2 + 1) * channels + c] = sum;
}

__global__ void add_columns(const float* sums_K2C, int64_t chunks, int64_t channels, float* d_weight_C,
                            float* d_bias_C) {
  const int64_t c = grid_index();
  if (c >= channels) {
    return;
  }
  double d_weight = 0.0, d_bias = 0.0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    d_weight += static_cast<double>(sums_K2C[(chunk * 2) * channels + c]);
    d_bias += static_cast<double>(sums_K2C[(chunk * 2 + 1) * channels + c]);
  }
  if (d_weight_C != nullptr) {
    d_weight_C[c] = static_cast<float>(static_cast<double>(d_weight_C[c]) + d_weight);
  }
  if (d_bias_C != nullptr) {
    d_bias_C[c] = static_cast<float>(static_cast<double>(d_bias_C[c]) + d_bias);
  }
}

template <class T, class P>
__global__ void differentiate_rows(const T* d_y_RC, const T* s_RC, const float* mean_R, const float* rstd_R,
                                   const P* weight_C, const T* d_sum_RC, int64_t rows, int64_t channels, T* d_s_RC) {
  const int lane = thread_index() % kWarp;
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + thread_index() / kWarp;
  if (r >= rows) {
    return;
  }
  const int64_t first = r * channels;
  const float mean = mean_R[r], rstd = rstd_R[r];
  float sum_g = 0.0f, sum_gh = 0.0f;
  for (int64_t c = lane; c < channels; c += kWarp) {
    const float g = to_float(d_y_RC[first + c]) * to_float(weight_C[c]);
    sum_g += g;
    sum_gh += g * ((to_float(s_RC[first + c]) - mean) * rstd);
  }
  const float mean_g = warp_sum(sum_g) / static_cast<float>(channels);
  const float mean_gh = warp_sum(sum_gh) / static_cast<float>(channels);
  for (int64_t c = lane; c < channels; c += kWarp) {
    const float h = (to_float(s_RC[first + c]) - mean) * rstd;
    float d_s = rstd * ((to_float(d_y_RC[first + c]) * to_float(weight_C[c]) - mean_g) - h * mean_gh);
    if (d_sum_RC != nullptr) {
      d_s += to_float(d_sum_RC[first + c]);
    }
    d_s_RC[first + c] = from_float<T>(d_s);
  }
}

dim3 row_blocks(int64_t rows) { return dim3(static_cast<unsigned>((rows + kRowsPerBlock - 1) / kRowsPerBlock)); }

}  // namespace

void layer_norm(const LayerNormArgs& args, Stream stream) {
  with_dtype(args.dtype, [&]<class T>(T*) {
    with_dtype(args.parameter_dtype, [&]<class P>(P*) {
      launch(normalize_rows<T, P>, row_blocks(args.rows), dim3(kRowsPerBlock * kWarp), 0, stream,
             static_cast<const T*>(args.x_RC), static_cast<const T*>(args.residual_RC),
             static_cast<const P*>(args.weight_C), static_cast<const P*>(args.bias_C), args.rows, args.channels,
             args.eps, static_cast<T*>(args.sum_RC), static_cast<T*>(args.y_RC), args.mean_R, args.rstd_R);
    });
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& args, Stream stream) {
  const int64_t chunks = layer_norm_sum::chunks_of(args.rows);
  float* sums_K2C = static_cast<float*>(args.workspace);
  with_dtype(args.dtype, [&]<class T>(T*) {
    const T* d_y = static_cast<const T*>(args.d_y_RC);
    const T* s = static_cast<const T*>(args.s_RC);
    // Columns first: d_s may overwrite d_y.
    if (args.d_weight_C != nullptr || args.d_bias_C != nullptr) {
      launch(sum_columns<T>, dim3(static_cast<unsigned>(chunks), blocks_for(args.channels, kColumnThreads)),
             dim3(kColumnThreads), 0, stream, d_y, s, args.mean_R, args.rstd_R, args.rows, args.channels, sums_K2C);
      launch(add_columns, dim3(blocks_for(args.channels, kColumnThreads)), dim3(kColumnThreads), 0, stream, sums_K2C,
             chunks, args.channels, args.d_weight_C, args.d_bias_C);
    }
    if (args.d_s_RC != nullptr) {
      with_dtype(args.parameter_dtype, [&]<class P>(P*) {
        launch(differentiate_rows<T, P>, row_blocks(args.rows), dim3(kRowsPerBlock * kWarp), 0, stream, d_y, s,
               args.mean_R, args.rstd_R, static_cast<const P*>(args.weight_C), static_cast<const T*>(args.d_sum_RC),
               args.rows, args.channels, static_cast<T*>(args.d_s_RC));
      });
    }
  });
}

}  // namespace smpo::kernels::cuda
