#include "kernels/ema_update.h"

#include <algorithm>

namespace smpo::kernels::cpu {
namespace {

constexpr int64_t kChunk = 16384;

struct UpdateChunk {
  SMPO_INNER_LOOP void run(float weight, float* __restrict average, const float* __restrict parameter, int64_t count) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) average[i] = ema_element(weight, average[i], parameter[i]);
  }
};

}  // namespace

void ema_update(const EmaUpdateArgs& args, InstructionSet set) {
  if (args.finite != nullptr && *args.finite == 0) {
    return;
  }
  const float weight = ema_weight(args);
  const int64_t chunks = divide_up(args.elements, kChunk);
#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * kChunk;
    run_for<UpdateChunk>(set, weight, args.average + begin, args.parameter + begin,
                         std::min(kChunk, args.elements - begin));
  }
}

}  // namespace smpo::kernels::cpu
