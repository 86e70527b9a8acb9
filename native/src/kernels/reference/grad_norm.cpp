#include "kernels/grad_norm.h"

namespace smpo::kernels::reference {

void grad_norm(const GradNormArgs& args) {
  double sum = 0.0;
  bool finite = true;
  for (int64_t i = 0; i < args.elements; ++i) {
    const double g = args.gradient[i];
    finite = finite && std::isfinite(g);
    sum += g * g;
  }
  const double norm = std::sqrt(sum);
  finite = finite && std::isfinite(static_cast<float>(norm));
  args.result->norm = norm;
  args.result->finite = finite ? 1 : 0;
  args.result->clip_coefficient = finite ? static_cast<float>(std::fmin(1.0, args.max_norm / (norm + 1e-6))) : 0.0f;
}

}  // namespace smpo::kernels::reference
