#include "kernels/group_norm_silu.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/elementary.h"

// Legend: B samples, K chunks of pixels, P pixels (of a chunk, in the inner loops), C channels, G groups of D channels.
namespace smpo::kernels::cpu {
namespace {

using group_norm_sum::chunks_of;
using group_norm_sum::kPixelsPerChunk;

/// Channels that an inner loop works on: with a chunk's pixels, 8 KB of f32, which stays in the first cache for the
/// second pass.
constexpr int64_t kTile = 64;

/// Statistics of one chunk: the mean of each channel, and the sum of squared deviations from it.
template <class T>
struct ChunkStatistics {
  SMPO_INNER_LOOP void run(const T* x_PC, int64_t P, int64_t C, float* mean_C, float* squares_C) {
    for (int64_t begin = 0; begin < C; begin += kTile) {
      const int64_t count = std::min(kTile, C - begin);
      if (count == kTile) {
        tile(x_PC + begin, P, C, kTile, mean_C + begin, squares_C + begin);
      } else {
        tile(x_PC + begin, P, C, count, mean_C + begin, squares_C + begin);
      }
    }
  }

 private:
  SMPO_INNER_LOOP void tile(const T* x, int64_t P, int64_t C, int64_t count, float* mean_out, float* squares_out) {
    alignas(64) float mean[kTile] = {}, squares[kTile] = {};
    int64_t p = 0;
    for (; p + 4 <= P; p += 4) {
      const T* row = x + p * C;
#pragma omp simd
      for (int64_t c = 0; c < count; ++c) {
        mean[c] += (to_float(row[c]) + to_float(row[C + c])) + (to_float(row[2 * C + c]) + to_float(row[3 * C + c]));
      }
    }
    for (; p < P; ++p) {
#pragma omp simd
      for (int64_t c = 0; c < count; ++c) {
        mean[c] += to_float(x[p * C + c]);
      }
    }
    const float pixels = static_cast<float>(P);
#pragma omp simd
    for (int64_t c = 0; c < count; ++c) {
      mean[c] /= pixels;
    }
    for (p = 0; p + 4 <= P; p += 4) {
      const T* row = x + p * C;
#pragma omp simd
      for (int64_t c = 0; c < count; ++c) {
        const float d0 = to_float(row[c]) - mean[c], d1 = to_float(row[C + c]) - mean[c];
        const float d2 = to_float(row[2 * C + c]) - mean[c], d3 = to_float(row[3 * C + c]) - mean[c];
        squares[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
      }
    }
    for (; p < P; ++p) {
#pragma omp simd
      for (int64_t c = 0; c < count; ++c) {
        const float d = to_float(x[p * C + c]) - mean[c];
        squares[c] += d * d;
      }
    }
    std::copy_n(mean, count, mean_out);
    std::copy_n(squares, count, squares_out);
  }
};

template <class T, bool kSilu>
struct Apply {
  SMPO_INNER_LOOP void run(const T* x_PC, T* y_PC, int64_t P, int64_t C, const float* mean_C, const float* scale_C,
                           const float* bias_C) {
    for (int64_t p = 0; p < P; ++p) {
      const T* x = x_PC + p * C;
      T* y = y_PC + p * C;
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) {
        const float z = (to_float(x[c]) - mean_C[c]) * scale_C[c] + bias_C[c];
        y[c] = from_float<T>(kSilu ? silu_and_slope(z).value : z);
      }
    }
  }
};

/// Per sample and channel, what the backward loops need.
struct Coefficients {
  const float* mean_C;
  const float* rstd_C;
  const float* scale_C;  // rstd * weight
  const float* bias_C;
  const float* mean_g_C;   // rstd * mean(g) of the channel's group
  const float* mean_gh_C;  // rstd * mean(g h)
};

template <bool kSilu>
SMPO_HOST_DEVICE float slope_at(float z) {
  return kSilu ? silu_and_slope(z).slope : 1.0f;
}

/// Sums of one chunk, per channel: of d_z and of d_z h. Also writes d_z unless it is null; d_z may overlap d_y exactly.
template <class T, bool kSilu>
struct ChunkSums {
  SMPO_INNER_LOOP void run(const T* d_y_PC, const T* x_PC, int64_t P, int64_t C, Coefficients k, float* d_z_PC,
                           float* sum_C, float* sum_h_C) {
    for (int64_t begin = 0; begin < C; begin += kTile) {
      const int64_t count = std::min(kTile, C - begin);
      if (count == kTile) {
        tile(d_y_PC, x_PC, P, C, begin, kTile, k, d_z_PC, sum_C, sum_h_C);
      } else {
        tile(d_y_PC, x_PC, P, C, begin, count, k, d_z_PC, sum_C, sum_h_C);
      }
    }
  }

 private:
  SMPO_INNER_LOOP void tile(const T* d_y_PC, const T* x_PC, int64_t P, int64_t C, int64_t begin, int64_t count,
                            Coefficients k, float* d_z_PC, float* sum_C, float* sum_h_C) {
    alignas(64) float sum[kTile] = {}, sum_h[kTile] = {}, d_z[kTile], h[kTile];
    alignas(64) float mean[kTile], rstd[kTile], scale[kTile], bias[kTile];
    std::copy_n(k.mean_C + begin, count, mean);
    std::copy_n(k.rstd_C + begin, count, rstd);
    std::copy_n(k.scale_C + begin, count, scale);
    std::copy_n(k.bias_C + begin, count, bias);
    for (int64_t p = 0; p < P; ++p) {
      const T* x = x_PC + p * C + begin;
      const T* d_y = d_y_PC + p * C + begin;
      // Two loops: together they need more registers than there are.
#pragma omp simd
      for (int64_t c = 0; c < count; ++c) {
        const float centred = to_float(x[c]) - mean[c];
        d_z[c] = to_float(d_y[c]) * slope_at<kSilu>(centred * scale[c] + bias[c]);
        h[c] = centred * rstd[c];
      }
#pragma omp simd
      for (int64_t c = 0; c < count; ++c) {
        sum[c] += d_z[c];
        sum_h[c] += d_z[c] * h[c];
      }
      if (d_z_PC != nullptr) {
        std::copy_n(d_z, count, d_z_PC + p * C + begin);
      }
    }
    std::copy_n(sum, count, sum_C + begin);
    std::copy_n(sum_h, count, sum_h_C + begin);
  }
};

/// From d_z, which may lie where d_x does.
template <class T>
struct InputGradient {
  SMPO_INNER_LOOP void run(const float* d_z_PC, const T* x_PC, T* d_x_PC, int64_t P, int64_t C, Coefficients k) {
    for (int64_t p = 0; p < P; ++p) {
      const T* x = x_PC + p * C;
      const float* d_z = d_z_PC + p * C;
      T* d_x = d_x_PC + p * C;
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) {
        const float h = (to_float(x[c]) - k.mean_C[c]) * k.rstd_C[c];
        d_x[c] = from_float<T>((d_z[c] * k.scale_C[c] - k.mean_g_C[c]) - h * k.mean_gh_C[c]);
      }
    }
  }
};

int64_t pixels_of(int64_t chunk, int64_t pixels) { return std::min(kPixelsPerChunk, pixels - chunk * kPixelsPerChunk); }

template <class T, class W>
void forward(const GroupNormSiluArgs& args, InstructionSet set) {
  const int64_t B = args.batch, P = args.pixels, C = args.channels, G = args.groups, D = C / G, K = chunks_of(P);
  const T* x = static_cast<const T*>(args.x_BPC);
  T* y = static_cast<T*>(args.y_BPC);
  const W* weight = static_cast<const W*>(args.weight_C);
  const W* bias = static_cast<const W*>(args.bias_C);
  float* statistics_BK2C = static_cast<float*>(args.workspace);
  float* coefficients_B3C = statistics_BK2C + B * K * 2 * C;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t task = 0; task < B * K; ++task) {
      const int64_t b = task / K, k = task % K;
      float* own = statistics_BK2C + task * 2 * C;
      run_for<ChunkStatistics<T>>(set, x + (b * P + k * kPixelsPerChunk) * C, pixels_of(k, P), C, own, own + C);
    }
#pragma omp for schedule(static)
    for (int64_t task = 0; task < B * G; ++task) {
      const int64_t b = task / G, g = task % G;
      const float* statistics = statistics_BK2C + b * K * 2 * C;
      double mean = 0.0, squares = 0.0;
      for (int64_t k = 0; k < K; ++k) {
        double sum = 0.0;
        for (int64_t c = g * D; c < (g + 1) * D; ++c) {
          sum += static_cast<double>(statistics[k * 2 * C + c]);
        }
        mean += sum * static_cast<double>(pixels_of(k, P));
      }
      mean /= static_cast<double>(P * D);
      for (int64_t k = 0; k < K; ++k) {
        double within = 0.0, between = 0.0;
        for (int64_t c = g * D; c < (g + 1) * D; ++c) {
          const double d = static_cast<double>(statistics[k * 2 * C + c]) - mean;
          within += static_cast<double>(statistics[k * 2 * C + C + c]);
          between += d * d;
        }
        squares += within + between * static_cast<double>(pixels_of(k, P));
      }
      const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(P * D) + args.eps);
      args.mean_BG[task] = static_cast<float>(mean);
      args.rstd_BG[task] = static_cast<float>(rstd);
      float* own = coefficients_B3C + b * 3 * C;
      for (int64_t c = g * D; c < (g + 1) * D; ++c) {
        own[c] = static_cast<float>(mean);
        own[C + c] = static_cast<float>(rstd * static_cast<double>(to_float(weight[c])));
        own[2 * C + c] = to_float(bias[c]);
      }
    }
#pragma omp for schedule(static) nowait
    for (int64_t task = 0; task < B * K; ++task) {
      const int64_t b = task / K, k = task % K;
      const int64_t first = (b * P + k * kPixelsPerChunk) * C;
      const float* own = coefficients_B3C + b * 3 * C;
      if (args.silu) {
        run_for<Apply<T, true>>(set, x + first, y + first, pixels_of(k, P), C, own, own + C, own + 2 * C);
      } else {
        run_for<Apply<T, false>>(set, x + first, y + first, pixels_of(k, P), C, own, own + C, own + 2 * C);
      }
    }
  }
}

template <class T, class W, bool kSilu>
void backward(const GroupNormSiluBackwardArgs& args, InstructionSet set) {
  const int64_t B = args.batch, P = args.pixels, C = args.channels, G = args.groups, D = C / G, K = chunks_of(P);
  const T* x = static_cast<const T*>(args.x_BPC);
  const T* d_y = static_cast<const T*>(args.d_y_BPC);
  T* d_x = static_cast<T*>(args.d_x_BPC);
  const W* weight = static_cast<const W*>(args.weight_C);
  const W* bias = static_cast<const W*>(args.bias_C);
  double* totals_B2C = static_cast<double*>(args.workspace);
  float* sums_BK2C = reinterpret_cast<float*>(totals_B2C + B * 2 * C);
  float* coefficients_B6C = sums_BK2C + B * K * 2 * C;
  float* d_z = nullptr;
  if (d_x != nullptr) {
    if constexpr (std::is_same_v<T, float>) {
      d_z = d_x;
    } else {
      d_z = coefficients_B6C + B * 6 * C;
    }
  }
  const auto coefficients = [&](int64_t b) {
    const float* own = coefficients_B6C + b * 6 * C;
    return Coefficients{own, own + C, own + 2 * C, own + 3 * C, own + 4 * C, own + 5 * C};
  };
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t task = 0; task < B * C; ++task) {
      const int64_t b = task / C, c = task % C, g = c / D;
      float* own = coefficients_B6C + b * 6 * C + c;
      own[0] = args.mean_BG[b * G + g];
      own[C] = args.rstd_BG[b * G + g];
      own[2 * C] = args.rstd_BG[b * G + g] * to_float(weight[c]);
      own[3 * C] = to_float(bias[c]);
    }
#pragma omp for schedule(static)
    for (int64_t task = 0; task < B * K; ++task) {
      const int64_t b = task / K, k = task % K;
      const int64_t first = (b * P + k * kPixelsPerChunk) * C;
      float* own = sums_BK2C + task * 2 * C;
      run_for<ChunkSums<T, kSilu>>(set, d_y + first, x + first, pixels_of(k, P), C, coefficients(b),
                                   d_z == nullptr ? nullptr : d_z + first, own, own + C);
    }
#pragma omp for schedule(static)
    for (int64_t task = 0; task < B * G; ++task) {
      const int64_t b = task / G, g = task % G;
      double mean_g = 0.0, mean_gh = 0.0;
      for (int64_t c = g * D; c < (g + 1) * D; ++c) {
        double sum = 0.0, sum_h = 0.0;
        for (int64_t k = 0; k < K; ++k) {
          sum += static_cast<double>(sums_BK2C[(b * K + k) * 2 * C + c]);
          sum_h += static_cast<double>(sums_BK2C[(b * K + k) * 2 * C + C + c]);
        }
        totals_B2C[b * 2 * C + c] = sum;
        totals_B2C[b * 2 * C + C + c] = sum_h;
        mean_g += sum * static_cast<double>(to_float(weight[c]));
        mean_gh += sum_h * static_cast<double>(to_float(weight[c]));
      }
      const double factor = static_cast<double>(args.rstd_BG[task]) / static_cast<double>(P * D);
      float* own = coefficients_B6C + b * 6 * C;
      for (int64_t c = g * D; c < (g + 1) * D; ++c) {
        own[4 * C + c] = static_cast<float>(mean_g * factor);
        own[5 * C + c] = static_cast<float>(mean_gh * factor);
      }
    }
    if (d_x != nullptr) {
#pragma omp for schedule(static) nowait
      for (int64_t task = 0; task < B * K; ++task) {
        const int64_t b = task / K, k = task % K;
        const int64_t first = (b * P + k * kPixelsPerChunk) * C;
        run_for<InputGradient<T>>(set, d_z + first, x + first, d_x + first, pixels_of(k, P), C, coefficients(b));
      }
    }
#pragma omp for schedule(static) nowait
    for (int64_t c = 0; c < C; ++c) {
      double d_weight = 0.0, d_bias = 0.0;
      for (int64_t b = 0; b < B; ++b) {
        d_bias += totals_B2C[b * 2 * C + c];
        d_weight += totals_B2C[b * 2 * C + C + c];
      }
      if (args.d_weight_C != nullptr) {
        args.d_weight_C[c] = static_cast<float>(static_cast<double>(args.d_weight_C[c]) + d_weight);
      }
      if (args.d_bias_C != nullptr) {
        args.d_bias_C[c] = static_cast<float>(static_cast<double>(args.d_bias_C[c]) + d_bias);
      }
    }
  }
}

template <class T, class W>
void backward(const GroupNormSiluBackwardArgs& args, InstructionSet set) {
  args.silu ? backward<T, W, true>(args, set) : backward<T, W, false>(args, set);
}

}  // namespace

void group_norm_silu(const GroupNormSiluArgs& args, InstructionSet set) {
  if (args.dtype == DType::kF32) {
    args.parameter_dtype == DType::kF32 ? forward<float, float>(args, set) : forward<float, BFloat16>(args, set);
  } else {
    args.parameter_dtype == DType::kF32 ? forward<BFloat16, float>(args, set) : forward<BFloat16, BFloat16>(args, set);
  }
}

void group_norm_silu_backward(const GroupNormSiluBackwardArgs& args, InstructionSet set) {
  if (args.dtype == DType::kF32) {
    args.parameter_dtype == DType::kF32 ? backward<float, float>(args, set) : backward<float, BFloat16>(args, set);
  } else {
    args.parameter_dtype == DType::kF32 ? backward<BFloat16, float>(args, set)
                                        : backward<BFloat16, BFloat16>(args, set);
  }
}

}  // namespace smpo::kernels::cpu
