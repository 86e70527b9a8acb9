#include "kernels/group_norm_silu.h"

#include <cmath>
#include <vector>

#include "kernels/reference/elements.h"

namespace smpo::kernels::reference {
namespace {

double logistic(double z) { return 1.0 / (1.0 + std::exp(-z)); }

}  // namespace

void group_norm_silu(const GroupNormSiluArgs& args) {
  const int64_t P = args.pixels, C = args.channels, D = C / args.groups;
  for (int64_t b = 0; b < args.batch; ++b) {
    for (int64_t g = 0; g < args.groups; ++g) {
      const auto for_each = [&](auto&& visit) {
        for (int64_t p = 0; p < P; ++p) {
          for (int64_t c = g * D; c < (g + 1) * D; ++c) {
            visit((b * P + p) * C + c, c);
          }
        }
      };
      const auto count = static_cast<double>(P * D);
      double mean = 0.0, variance = 0.0;
      for_each([&](int64_t i, int64_t) { mean += load(args.x_BPC, args.dtype, i) / count; });
      for_each([&](int64_t i, int64_t) { variance += std::pow(load(args.x_BPC, args.dtype, i) - mean, 2) / count; });
      const double rstd = 1.0 / std::sqrt(variance + args.eps);
      args.mean_BG[b * args.groups + g] = static_cast<float>(mean);
      args.rstd_BG[b * args.groups + g] = static_cast<float>(rstd);
      for_each([&](int64_t i, int64_t c) {
        const double z =
            (load(args.x_BPC, args.dtype, i) - mean) * rstd * load(args.weight_C, args.parameter_dtype, c) +
            load(args.bias_C, args.parameter_dtype, c);
        store(args.y_BPC, args.dtype, i, args.silu ? z * logistic(z) : z);
      });
    }
  }
}

void group_norm_silu_backward(const GroupNormSiluBackwardArgs& args) {
  const int64_t P = args.pixels, C = args.channels, D = C / args.groups;
  std::vector<double> d_weight(static_cast<size_t>(C)), d_bias(static_cast<size_t>(C));
  for (int64_t b = 0; b < args.batch; ++b) {
    for (int64_t g = 0; g < args.groups; ++g) {
      const double mean = args.mean_BG[b * args.groups + g], rstd = args.rstd_BG[b * args.groups + g];
      // visit(i, c, h, d_z) for every element of the group.
      const auto for_each = [&](auto&& visit) {
        for (int64_t p = 0; p < P; ++p) {
          for (int64_t c = g * D; c < (g + 1) * D; ++c) {
            const int64_t i = (b * P + p) * C + c;
            const double h = (load(args.x_BPC, args.dtype, i) - mean) * rstd;
            const double z =
                h * load(args.weight_C, args.parameter_dtype, c) + load(args.bias_C, args.parameter_dtype, c);
            const double s = logistic(z);
            visit(i, c, h, load(args.d_y_BPC, args.dtype, i) * (args.silu ? s + z * s * (1.0 - s) : 1.0));
          }
        }
      };
      const auto count = static_cast<double>(P * D);
      double mean_g = 0.0, mean_gh = 0.0;
      for_each([&](int64_t, int64_t c, double h, double d_z) {
        const double weight = load(args.weight_C, args.parameter_dtype, c);
        mean_g += weight * d_z / count;
        mean_gh += weight * d_z * h / count;
        d_weight[static_cast<size_t>(c)] += d_z * h;
        d_bias[static_cast<size_t>(c)] += d_z;
      });
      if (args.d_x_BPC != nullptr) {
        for_each([&](int64_t i, int64_t c, double h, double d_z) {
          const double weight = load(args.weight_C, args.parameter_dtype, c);
          store(args.d_x_BPC, args.dtype, i, rstd * (weight * d_z - mean_g - h * mean_gh));
        });
      }
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
