#include "kernels/geglu.h"

#include <cmath>
#include <numbers>

#include "kernels/reference/elements.h"

namespace smpo::kernels::reference {
namespace {

double probability(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double density(double x) { return std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi / std::numbers::sqrt2; }

}  // namespace

void geglu(const GegluArgs& args) {
  const int64_t C = args.channels;
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t c = 0; c < C; ++c) {
      const double value = load(args.x_R2C, args.dtype, r * 2 * C + c);
      const double gate = load(args.x_R2C, args.dtype, r * 2 * C + C + c);
      store(args.y_RC, args.dtype, r * C + c, value * gate * probability(gate));
    }
  }
}

void geglu_backward(const GegluBackwardArgs& args) {
  const int64_t C = args.channels;
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t c = 0; c < C; ++c) {
      const double value = load(args.x_R2C, args.dtype, r * 2 * C + c);
      const double gate = load(args.x_R2C, args.dtype, r * 2 * C + C + c);
      const double d_y = load(args.d_y_RC, args.dtype, r * C + c);
      store(args.d_x_R2C, args.dtype, r * 2 * C + c, d_y * gate * probability(gate));
      store(args.d_x_R2C, args.dtype, r * 2 * C + C + c, d_y * value * (probability(gate) + gate * density(gate)));
    }
  }
}

}  // namespace smpo::kernels::reference
