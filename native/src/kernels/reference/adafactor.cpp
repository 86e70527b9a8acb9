#include "kernels/adafactor.h"

#include <algorithm>
#include <vector>

namespace smpo::kernels::reference {
namespace {

double root_mean_square(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

}  // namespace

void adafactor(const AdafactorArgs& args) {
  if (args.finite != nullptr && *args.finite == 0) {
    return;
  }
  const auto [O, R, C, I, factored] = args.shape;
  const int64_t elements = args.shape.elements();
  if (elements == 0) {
    return;
  }
  const double scale = args.grad_scale != nullptr ? static_cast<double>(*args.grad_scale) : 1.0;
  const auto gradient = [&](int64_t n) { return scale * static_cast<double>(args.gradient[n]); };
  const auto square = [&](int64_t n) { return gradient(n) * gradient(n) + args.eps; };
  const auto moment = [&](float old, double mean) {
    return args.beta2 * static_cast<double>(old) + (1 - args.beta2) * mean;
  };

  std::vector<double> update(static_cast<size_t>(elements));
  if (!factored) {
    for (int64_t n = 0; n < elements; ++n) {
      const double v = moment(args.v[n], square(n));
      args.v[n] = static_cast<float>(v);
      update[static_cast<size_t>(n)] = gradient(n) / std::sqrt(v);
    }
  }
  for (int64_t o = 0; factored && o < O; ++o) {
    for (int64_t i = 0; i < I; ++i) {
      const auto at = [&](int64_t r, int64_t c) { return ((o * R + r) * C + c) * I + i; };
      std::vector<double> row(static_cast<size_t>(R)), column(static_cast<size_t>(C));
      for (int64_t r = 0; r < R; ++r) {
        for (int64_t c = 0; c < C; ++c) {
          row[static_cast<size_t>(r)] += square(at(r, c)) / static_cast<double>(C);
          column[static_cast<size_t>(c)] += square(at(r, c)) / static_cast<double>(R);
        }
      }
      double row_mean = 0;
      for (int64_t r = 0; r < R; ++r) {
        float& stored = args.row[(o * R + r) * I + i];
        double& value = row[static_cast<size_t>(r)];
        value = moment(stored, value);
        stored = static_cast<float>(value);
        row_mean += value / static_cast<double>(R);
      }
      for (int64_t c = 0; c < C; ++c) {
        float& stored = args.column[(o * C + c) * I + i];
        double& value = column[static_cast<size_t>(c)];
        value = moment(stored, value);
        stored = static_cast<float>(value);
      }
      for (int64_t r = 0; r < R; ++r) {
        for (int64_t c = 0; c < C; ++c) {
          update[static_cast<size_t>(at(r, c))] =
              gradient(at(r, c)) / std::sqrt(row[static_cast<size_t>(r)] / row_mean * column[static_cast<size_t>(c)]);
        }
      }
    }
  }

  double lr = args.lr;
  if (args.scale_parameter) {
    lr *=
        std::max(args.parameter_eps, root_mean_square(std::vector<double>(args.parameter, args.parameter + elements)));
  }
  const double clip = std::max(1.0, root_mean_square(update) / args.clip_threshold);
  for (int64_t n = 0; n < elements; ++n) {
    double x = lr * update[static_cast<size_t>(n)] / clip;
    if (args.m != nullptr) {
      x = args.beta1 * static_cast<double>(args.m[n]) + (1 - args.beta1) * x;
      args.m[n] = static_cast<float>(x);
    }
    const double p = static_cast<double>(args.parameter[n]) * (1 - args.weight_decay * lr) - x;
    args.parameter[n] = static_cast<float>(p);
    if (args.compute != nullptr && args.compute_dtype == DType::kBF16) {
      static_cast<BFloat16*>(args.compute)[n] = to_bfloat16(args.parameter[n]);
    } else if (args.compute != nullptr) {
      static_cast<float*>(args.compute)[n] = args.parameter[n];
    }
  }
}

}  // namespace smpo::kernels::reference
