#include "kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/lane_sum.h"

namespace smpo::kernels::cpu {
namespace {

using layer_norm_sum::kRowsPerChunk;

template <class T, class P>
struct ForwardRow {
  SMPO_INNER_LOOP void run(const T* x, const T* residual, T* sum, T* y, const P* weight, const P* bias, int64_t C,
                           double eps, float* mean_out, float* rstd_out) {
    const T* s = x;
    if (residual != nullptr) {
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) {
        sum[c] = from_float<T>(to_float(x[c]) + to_float(residual[c]));
      }
      s = sum;
    }
    const float mean =
        lane_sum(C, [s](int64_t c) __attribute__((always_inline)) { return to_float(s[c]); }) / static_cast<float>(C);
    const float squares = lane_sum(C, [s, mean](int64_t c) __attribute__((always_inline)) {
      const float d = to_float(s[c]) - mean;
      return d * d;
    });
    const float rstd = static_cast<float>(1.0 / std::sqrt(static_cast<double>(squares) / static_cast<double>(C) + eps));
    *mean_out = mean;
    *rstd_out = rstd;
    if (bias == nullptr) {
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) {
        y[c] = from_float<T>((to_float(s[c]) - mean) * rstd * to_float(weight[c]));
      }
    } else {
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) {
        y[c] = from_float<T>((to_float(s[c]) - mean) * rstd * to_float(weight[c]) + to_float(bias[c]));
      }
    }
  }
};

/// The column sums of some rows, then their d_s; columns first, because d_s may overwrite d_y.
template <class T, class P>
struct BackwardRows {
  SMPO_INNER_LOOP void run(const T* d_y_RC, const T* s_RC, const float* mean_R, const float* rstd_R, const P* weight,
                           const T* d_sum_RC, T* d_s_RC, float* sum_dyh_C, float* sum_dy_C, int64_t rows, int64_t C) {
    std::fill_n(sum_dyh_C, C, 0.0f);
    std::fill_n(sum_dy_C, C, 0.0f);
    for (int64_t r = 0; r < rows; ++r) {
      const T* d_y = d_y_RC + r * C;
      const T* s = s_RC + r * C;
      const float mean = mean_R[r], rstd = rstd_R[r];
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) {
        const float d = to_float(d_y[c]);
        sum_dyh_C[c] += d * ((to_float(s[c]) - mean) * rstd);
        sum_dy_C[c] += d;
      }
      if (d_s_RC == nullptr) {
        continue;
      }
      const float mean_g =
          lane_sum(C,
                   [=](int64_t c) __attribute__((always_inline)) { return to_float(d_y[c]) * to_float(weight[c]); }) /
          static_cast<float>(C);
      const float mean_gh = lane_sum(C,
                                     [=](int64_t c) __attribute__((always_inline)) {
                                       const float g = to_float(d_y[c]) * to_float(weight[c]);
                                       return g * ((to_float(s[c]) - mean) * rstd);
                                     }) /
                            static_cast<float>(C);
      T* d_s = d_s_RC + r * C;
      if (d_sum_RC == nullptr) {
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) {
          const float h = (to_float(s[c]) - mean) * rstd;
          d_s[c] = from_float<T>(rstd * ((to_float(d_y[c]) * to_float(weight[c]) - mean_g) - h * mean_gh));
        }
      } else {
        const T* d_sum = d_sum_RC + r * C;
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) {
          const float h = (to_float(s[c]) - mean) * rstd;
          const float d = rstd * ((to_float(d_y[c]) * to_float(weight[c]) - mean_g) - h * mean_gh);
          d_s[c] = from_float<T>(d + to_float(d_sum[c]));
        }
      }
    }
  }
};

template <class T, class P>
void forward(const LayerNormArgs& args, InstructionSet set) {
  const int64_t C = args.channels;
  const T* x = static_cast<const T*>(args.x_RC);
  const T* residual = static_cast<const T*>(args.residual_RC);
  T* sum = static_cast<T*>(args.sum_RC);
  T* y = static_cast<T*>(args.y_RC);
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < args.rows; ++r) {
    run_for<ForwardRow<T, P>>(set, x + r * C, residual == nullptr ? nullptr : residual + r * C,
                              residual == nullptr ? nullptr : sum + r * C, y + r * C,
                              static_cast<const P*>(args.weight_C), static_cast<const P*>(args.bias_C), C, args.eps,
                              args.mean_R + r, args.rstd_R + r);
  }
}

template <class T, class P>
void backward(const LayerNormBackwardArgs& args, InstructionSet set) {
  const int64_t C = args.channels, chunks = layer_norm_sum::chunks_of(args.rows);
  const T* d_y = static_cast<const T*>(args.d_y_RC);
  const T* s = static_cast<const T*>(args.s_RC);
  const T* d_sum = static_cast<const T*>(args.d_sum_RC);
  T* d_s = static_cast<T*>(args.d_s_RC);
  float* sums = static_cast<float*>(args.workspace);  // [chunks, 2, C]
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t r = chunk * kRowsPerChunk;
      float* own = sums + chunk * 2 * C;
      run_for<BackwardRows<T, P>>(set, d_y + r * C, s + r * C, args.mean_R + r, args.rstd_R + r,
                                  static_cast<const P*>(args.weight_C), d_sum == nullptr ? nullptr : d_sum + r * C,
                                  d_s == nullptr ? nullptr : d_s + r * C, own, own + C,
                                  std::min(kRowsPerChunk, args.rows - r), C);
    }
#pragma omp for schedule(static) nowait
    for (int64_t c = 0; c < C; ++c) {
      double d_weight = 0.0, d_bias = 0.0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        d_weight += static_cast<double>(sums[chunk * 2 * C + c]);
        d_bias += static_cast<double>(sums[chunk * 2 * C + C + c]);
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

}  // namespace

void layer_norm(const LayerNormArgs& args, InstructionSet set) {
  const bool wide = args.dtype == DType::kF32, wide_parameters = args.parameter_dtype == DType::kF32;
  if (wide) {
    wide_parameters ? forward<float, float>(args, set) : forward<float, BFloat16>(args, set);
  } else {
    wide_parameters ? forward<BFloat16, float>(args, set) : forward<BFloat16, BFloat16>(args, set);
  }
}

void layer_norm_backward(const LayerNormBackwardArgs& args, InstructionSet set) {
  const bool wide = args.dtype == DType::kF32, wide_parameters = args.parameter_dtype == DType::kF32;
  if (wide) {
    wide_parameters ? backward<float, float>(args, set) : backward<float, BFloat16>(args, set);
  } else {
    wide_parameters ? backward<BFloat16, float>(args, set) : backward<BFloat16, BFloat16>(args, set);
  }
}

}  // namespace smpo::kernels::cpu
