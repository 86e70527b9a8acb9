#include "kernels/adamw.h"

namespace smpo::kernels::reference {

void adamw(const AdamWArgs& args) {
  if (args.finite != nullptr && *args.finite == 0) {
    return;
  }
  const double scale = args.grad_scale != nullptr ? static_cast<double>(*args.grad_scale) : 1.0;
  for (int64_t i = 0; i < args.elements; ++i) {
    const double g = scale * static_cast<double>(args.gradient[i]);
    const double m = args.beta1 * static_cast<double>(args.m[i]) + (1 - args.beta1) * g;
    const double v = args.beta2 * static_cast<double>(args.v[i]) + (1 - args.beta2) * g * g;
    const double m_hat = m / args.bias_correction1;
    const double v_hat = v / args.bias_correction2;
    const double p = static_cast<double>(args.parameter[i]) * (1 - args.lr * args.weight_decay) -
                     args.lr * m_hat / (std::sqrt(v_hat) + args.eps);
    args.m[i] = static_cast<float>(m);
    args.v[i] = static_cast<float>(v);
    args.parameter[i] = static_cast<float>(p);
    if (args.compute != nullptr && args.compute_dtype == DType::kBF16) {
      static_cast<BFloat16*>(args.compute)[i] = to_bfloat16(args.parameter[i]);
    } else if (args.compute != nullptr) {
      static_cast<float*>(args.compute)[i] = args.parameter[i];
    }
  }
}

}  // namespace smpo::kernels::reference
