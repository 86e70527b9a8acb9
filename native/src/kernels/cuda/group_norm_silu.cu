#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_sum.h"
#include "kernels/elementary.h"
#include "kernels/group_norm_silu.h"

// Legend: B samples, K chunks of pixels, P pixels, C channels, G groups of D channels.
//
// Images are in NHWC layout, so neighbouring threads take neighbouring channels and every access is coalesced. Two
// reads and one write of the image; the second read comes from L2 where the image fits into it.
namespace smpo::kernels::cuda {
namespace {

using group_norm_sum::kPixelsPerChunk;

constexpr int kChannelThreads = 64;
constexpr int kGroupThreads = 128;
constexpr int kThreads = 256;

__device__ __forceinline__ int64_t chunk_pixels(int64_t k, int64_t pixels) {
  const int64_t left = pixels - k * kPixelsPerChunk;
  return left < kPixelsPerChunk ? left : kPixelsPerChunk;
}

/// Per sample, chunk and channel: mean, and sum of squares around it. Block (b K + k, tile of channels).
template <class T>
__global__ void chunk_statistics(const T* x_BPC, int64_t pixels, int64_t channels, int64_t chunks,
                                 float* statistics_BK2C) {
  const int64_t task = blockIdx.x;
  const int64_t c = static_cast<int64_t>(blockIdx.y) * kChannelThreads + threadIdx.x;
  if (c >= channels) {
    return;
  }
  const int64_t b = task / chunks, k = task % chunks, count = chunk_pixels(k, pixels);
  const T* x = x_BPC + (b * pixels + k * kPixelsPerChunk) * channels + c;
  float sum = 0.0f;
  for (int64_t p = 0; p < count; ++p) {
    sum += to_float(x[p * channels]);
  }
  const float mean = sum / static_cast<float>(count);
  float squares = 0.0f;
  for (int64_t p = 0; p < count; ++p) {
    const float d = to_float(x[p * channels]) - mean;
    squares += d * d;
  }
  statistics_BK2C[task * 2 * channels + c] = mean;
  statistics_BK2C[(task * 2 + 1) * channels + c] = squares;
}

/// Block (b, g): the group's statistics from those of its chunks and channels.
__global__ void group_statistics(const float* statistics_BK2C, int64_t pixels, int64_t channels, int64_t groups,
                                 int64_t chunks, double eps, float* mean_BG, float* rstd_BG) {
  __shared__ double scratch[kGroupThreads / kWarp];
  const int64_t b = blockIdx.x / groups, g = blockIdx.x % groups, width = channels / groups;
  const float* statistics_K2C = statistics_BK2C + b * chunks * 2 * channels + g * width;
  const auto size = static_cast<double>(pixels * width);
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < chunks * width; i += kGroupThreads) {
    const int64_t k = i / width, c = i % width;
    sum += static_cast<double>(statistics_K2C[k * 2 * channels + c]) * static_cast<double>(chunk_pixels(k, pixels));
  }
  const double mean = block_sum(sum, scratch) / size;
  double squares = 0.0;
  for (int64_t i = threadIdx.x; i < chunks * width; i += kGroupThreads) {
    const int64_t k = i / width, c = i % width;
    const double d = static_cast<double>(statistics_K2C[k * 2 * channels + c]) - mean;
    squares += static_cast<double>(statistics_K2C[(k * 2 + 1) * channels + c]) +
               d * d * static_cast<double>(chunk_pixels(k, pixels));
  }
  const double variance = block_sum(squares, scratch) / size;
  if (threadIdx.x == 0) {
    mean_BG[blockIdx.x] = static_cast<float>(mean);
    rstd_BG[blockIdx.x] = static_cast<float>(1.0 / sqrt(variance + eps));
  }
}

template <class T, class W, bool kSilu>
__global__ void apply(const T* x_BPC, const W* weight_C, const W* bias_C, const float* mean_BG, const float* rstd_BG,
                      int64_t count, int64_t pixels, int64_t channels, int64_t groups, T* y_BPC) {
  const int64_t width = channels / groups;
  for (int64_t i = grid_index(); i < count; i += grid_stride()) {
    const int64_t c = i % channels, group = i / (pixels * channels) * groups + c / width;
    const float scale = rstd_BG[group] * to_float(weight_C[c]);
    const float z = (to_float(x_BPC[i]) - mean_BG[group]) * scale + to_float(bias_C[c]);
    y_BPC[i] = from_float<T>(kSilu ? silu_and_slope(z).value : z);
  }
}

template <bool kSilu>
__device__ __forceinline__ float slope_at(float z) {
  return kSilu ? silu_and_slope(z).slope : 1.0f;
}

/// Per sample, chunk and channel: sums of d_z and d_z h.
template <class T, class W, bool kSilu>
__global__ void chunk_sums(const T* d_y_BPC, const T* x_BPC, const W* weight_C, const W* bias_C, const float* mean_BG,
                           const float* rstd_BG, int64_t pixels, int64_t channels, int64_t groups, int64_t chunks,
                           float* sums_BK2C) {
  const int64_t task = blockIdx.x;
  const int64_t c = static_cast<int64_t>(blockIdx.y) * kChannelThreads + threadIdx.x;
  if (c >= channels) {
    return;
  }
  const int64_t b = task / chunks, k = task % chunks, count = chunk_pixels(k, pixels);
  const int64_t first = (b * pixels + k * kPixelsPerChunk) * channels + c;
  const int64_t group = b * groups + c / (channels / groups);
  const float mean = mean_BG[group], rstd = rstd_BG[group];
  const float scale = rstd * to_float(weight_C[c]), bias = to_float(bias_C[c]);
  float sum = 0.0f, sum_h = 0.0f;
  for (int64_t p = 0; p < count; ++p) {
    const float centred = to_float(x_BPC[first + p * channels]) - mean;
    const float d_z = to_float(d_y_BPC[first + p * channels]) * slope_at<kSilu>(centred * scale + bias);
    sum += d_z;
    sum_h += d_z * (centred * rstd);
  }
  sums_BK2C[task * 2 * channels + c] = sum;
  sums_BK2C[(task * 2 + 1) * channels + c] = sum_h;
}

/// Per sample and channel, over the chunks in ascending order.
__global__ void channel_totals(const float* sums_BK2C, int64_t batch, int64_t channels, int64_t chunks,
                               double* totals_B2C) {
  const int64_t i = grid_index();
  if (i >= batch * channels) {
    return;
  }
  const int64_t b = i / channels, c = i % channels;
  double sum = 0.0, sum_h = 0.0;
  for (int64_t k = 0; k < chunks; ++k) {
    sum += static_cast<double>(sums_BK2C[((b * chunks + k) * 2) * channels + c]);
    sum_h += static_cast<double>(sums_BK2C[((b * chunks + k) * 2 + 1) * channels + c]);
  }
  totals_B2C[b * 2 * channels + c] = sum;
  totals_B2C[(b * 2 + 1) * channels + c] = sum_h;
}

/// Per sample and group: rstd * mean(g) and rstd * mean(g h).
template <class W>
__global__ void group_means(const double* totals_B2C, const W* weight_C, const float* rstd_BG, int64_t batch,
                            int64_t pixels, int64_t channels, int64_t groups, float* means_BG2) {
  const int64_t i = grid_index();
  if (i >= batch * groups) {
    return;
  }
  const int64_t b = i / groups, g = i % groups, width = channels / groups;
  double sum = 0.0, sum_h = 0.0;
  for (int64_t c = g * width; c < (g + 1) * width; ++c) {
    const auto weight = static_cast<double>(to_float(weight_C[c]));
    sum += totals_B2C[b * 2 * channels + c] * weight;
    sum_h += totals_B2C[(b * 2 + 1) * channels + c] * weight;
  }
  const double factor = static_cast<double>(rstd_BG[i]) / static_cast<double>(pixels * width);
  means_BG2[2 * i] = static_cast<float>(sum * factor);
  means_BG2[2 * i + 1] = static_cast<float>(sum_h * factor);
}

template <class T, class W, bool kSilu>
__global__ void input_gradient(const T* d_y_BPC, const T* x_BPC, const W* weight_C, const W* bias_C,
                               const float* mean_BG, const float* rstd_BG, const float* means_BG2, int64_t count,
                               int64_t pixels, int64_t channels, int64_t groups, T* d_x_BPC) {
  const int64_t width = channels / groups;
  for (int64_t i = grid_index(); i < count; i += grid_stride()) {
    const int64_t c = i % channels, group = i / (pixels * channels) * groups + c / width;
    const float rstd = rstd_BG[group], scale = rstd * to_float(weight_C[c]);
    const float centred = to_float(x_BPC[i]) - mean_BG[group];
    const float d_z = to_float(d_y_BPC[i]) * slope_at<kSilu>(centred * scale + to_float(bias_C[c]));
    d_x_BPC[i] = from_float<T>((d_z * scale - means_BG2[2 * group]) - centred * rstd * means_BG2[2 * group + 1]);
  }
}

__global__ void add_parameters(const double* totals_B2C, int64_t batch, int64_t channels, float* d_weight_C,
                               float* d_bias_C) {
  const int64_t c = grid_index();
  if (c >= channels) {
    return;
  }
  double d_weight = 0.0, d_bias = 0.0;
  for (int64_t b = 0; b < batch; ++b) {
    d_bias += totals_B2C[b * 2 * channels + c];
    d_weight += totals_B2C[(b * 2 + 1) * channels + c];
  }
  if (d_weight_C != nullptr) {
    d_weight_C[c] = static_cast<float>(static_cast<double>(d_weight_C[c]) + d_weight);
  }
  if (d_bias_C != nullptr) {
    d_bias_C[c] = static_cast<float>(static_cast<double>(d_bias_C[c]) + d_bias);
  }
}

/// Calls f<kSilu>.
template <class F>
void with_silu(bool silu, F f) {
  if (silu) {
    f.template operator()<true>();
  } else {
    f.template operator()<false>();
  }
}

}  // namespace

void group_norm_silu(const GroupNormSiluArgs& args, Stream stream) {
  const int64_t P = args.pixels, C = args.channels, G = args.groups, K = group_norm_sum::chunks_of(P);
  const int64_t count = args.batch * P * C;
  float* statistics_BK2C = static_cast<float*>(args.workspace);
  with_dtype(args.dtype, [&]<class T>(T*) {
    const T* x = static_cast<const T*>(args.x_BPC);
    launch(chunk_statistics<T>, dim3(static_cast<unsigned>(args.batch * K), blocks_for(C, kChannelThreads)),
           dim3(kChannelThreads), 0, stream, x, P, C, K, statistics_BK2C);
    launch(group_statistics, dim3(static_cast<unsigned>(args.batch * G)), dim3(kGroupThreads), 0, stream,
           statistics_BK2C, P, C, G, K, args.eps, args.mean_BG, args.rstd_BG);
    with_dtype(args.parameter_dtype, [&]<class W>(W*) {
      with_silu(args.silu, [&]<bool kSilu>() {
        launch(apply<T, W, kSilu>, dim3(blocks_for(count, kThreads)), dim3(kThreads), 0, stream, x,
               static_cast<const W*>(args.weight_C), static_cast<const W*>(args.bias_C), args.mean_BG, args.rstd_BG,
               count, P, C, G, static_cast<T*>(args.y_BPC));
      });
    });
  });
}

void group_norm_silu_backward(const GroupNormSiluBackwardArgs& args, Stream stream) {
  const int64_t B = args.batch, P = args.pixels, C = args.channels, G = args.groups;
  const int64_t K = group_norm_sum::chunks_of(P), count = B * P * C;
  double* totals_B2C = static_cast<double*>(args.workspace);
  float* sums_BK2C = reinterpret_cast<float*>(totals_B2C + B * 2 * C);
  float* means_BG2 = sums_BK2C + B * K * 2 * C;
  with_dtype(args.dtype, [&]<class T>(T*) {
    with_dtype(args.parameter_dtype, [&]<class W>(W*) {
      with_silu(args.silu, [&]<bool kSilu>() {
        const T* d_y = static_cast<const T*>(args.d_y_BPC);
        const T* x = static_cast<const T*>(args.x_BPC);
        const W* weight = static_cast<const W*>(args.weight_C);
        const W* bias = static_cast<const W*>(args.bias_C);
        launch(chunk_sums<T, W, kSilu>, dim3(static_cast<unsigned>(B * K), blocks_for(C, kChannelThreads)),
               dim3(kChannelThreads), 0, stream, d_y, x, weight, bias, args.mean_BG, args.rstd_BG, P, C, G, K,
               sums_BK2C);
        launch(channel_totals, dim3(blocks_for(B * C, kThreads)), dim3(kThreads), 0, stream, sums_BK2C, B, C, K,
               totals_B2C);
        if (args.d_x_BPC != nullptr) {
          launch(group_means<W>, dim3(blocks_for(B * G, kThreads)), dim3(kThreads), 0, stream, totals_B2C, weight,
                 args.rstd_BG, B, P, C, G, means_BG2);
          launch(input_gradient<T, W, kSilu>, dim3(blocks_for(count, kThreads)), dim3(kThreads), 0, stream, d_y, x,
                 weight, bias, args.mean_BG, args.rstd_BG, means_BG2, count, P, C, G, static_cast<T*>(args.d_x_BPC));
        }
      });
    });
  });
  launch(add_parameters, dim3(blocks_for(C, kThreads)), dim3(kThreads), 0, stream, totals_B2C, B, C, args.d_weight_C,
         args.d_bias_C);
}

}  // namespace smpo::kernels::cuda
