#include "kernels/layer_norm.h"

#include <cmath>
#include <vector>

#include "kernels/reference/elements.h"

namespace smpo::kernels::reference {

void layer_norm(const LayerNormArgs& args) {
  const int64_t C = args.channels;
  std::vector<double> s(static_cast<size_t>(C));
  for (int64_t r = 0; r < args.rows; ++r) {
    double mean = 0.0;
    for (int64_t c = 0; c < C; ++c) {
      double value = load(args.x_RC, args.dtype, r * C + c);
      if (args.residual_RC != nullptr) {
        value += load(args.residual_RC, args.dtype, r * C + c);
        store(args.sum_RC, args.dtype, r * C + c, value);
        value = load(args.sum_RC, args.dtype, r * C + c);
      }
      s[static_cast<size_t>(c)] = value;
      mean += value;
    }
    mean /= static_cast<double>(C);
    double variance = 0.0;
    for (const double value : s) {
      variance += (value - mean) * (value - mean);
    }
    const double rstd = 1.0 / std::sqrt(variance / static_cast<double>(C) + args.eps);
    args.mean_R[r] = static_cast<float>(mean);
    args.rstd_R[r] = static_cast<float>(rstd);
    for (int64_t c = 0; c < C; ++c) {
      const double weight = load(args.weight_C, args.parameter_dtype, c);
      const double bias = args.bias_C != nullptr ? load(args.bias_C, args.parameter_dtype, c) : 0.0;
      store(args.y_RC, args.dtype, r * C + c, (s[static_cast<size_t>(c)] - mean) * rstd * weight + bias);
    }
  }
}

void layer_norm_backward(const LayerNormBackwardArgs& args) {
  const int64_t C = args.channels;
  std::vector<double> d_weight(static_cast<size_t>(C)), d_bias(static_cast<size_t>(C));
  for (int64_t r = 0; r < args.rows; ++r) {
    const double mean = args.mean_R[r], rstd = args.rstd_R[r];
    double sum_g = 0.0, sum_gh = 0.0;
    const auto normalized = [&](int64_t c) { return (load(args.s_RC, args.dtype, r * C + c) - mean) * rstd; };
    for (int64_t c = 0; c < C; ++c) {
      const double d_y = load(args.d_y_RC, args.dtype, r * C + c), h = normalized(c);
      const double g = d_y * load(args.weight_C, args.parameter_dtype, c);
      sum_g += g;
      sum_gh += g * h;
      d_weight[static_cast<size_t>(c)] += d_y * h;
      d_bias[static_cast<size_t>(c)] += d_y;
    }
    for (int64_t c = 0; c < C && args.d_s_RC != nullptr; ++c) {
      const double g = load(args.d_y_RC, args.dtype, r * C + c) * load(args.weight_C, args.parameter_dtype, c);
      double d_s = rstd * (g - (sum_g + normalized(c) * sum_gh) / static_cast<double>(C));
      if (args.d_sum_RC != nullptr) {
        d_s += load(args.d_sum_RC, args.dtype, r * C + c);
      }
      store(args.d_s_RC, args.dtype, r * C + c, d_s);
    }
  }
  for (int64_t c = 0; c < C; ++c) {
    if (args.d_weight_C != nullptr) {
      args.d_weight_C[c] = static_cast<float>(args.d_weight_C[c] + d_weight[static_cast<size_t>(c)]);
    }
    if (args.d_bias_C != nullptr) {
      args.d_bias_C[c] = static_cast<float>(args.d_bias_C[c] + d_bias[static_cast<size_t>(c)]);
    }
  }
}

}  // namespace smpo::kernels::reference
