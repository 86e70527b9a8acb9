#include "kernels/ema_update.h"

namespace smpo::kernels::reference {

void ema_update(const EmaUpdateArgs& args) {
  if (args.finite != nullptr && *args.finite == 0) {
    return;
  }
  for (int64_t i = 0; i < args.elements; ++i) {
    const auto a = static_cast<double>(args.average[i]);
    args.average[i] = static_cast<float>(a - (1 - args.decay) * (a - static_cast<double>(args.parameter[i])));
  }
}

}  // namespace smpo::kernels::reference
