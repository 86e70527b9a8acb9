// One step of an exponential moving average of weights, in the order of operations of diffusers' EMAModel:
//
//   average_N[i] = a - (1 - decay) (a - parameter_N[i]),  a = average_N[i]
//
// rather than decay a + (1 - decay) p: in this form a weight that does not change keeps its average to the bit, and the
// rounding errors of a step are relative to what the step changes.
//
// Shapes: N elements; dense, no alignment beyond that of an element. The buffers do not overlap.
//
// Elements are independent; cpu and cuda use the same three rounded operations and give the same bits. Error of one
// step against the reference, with u = 2^-24: u |result| + 3u (1 - decay) |a - parameter|, 1 - decay being narrowed
// once.
#ifndef SMPO_KERNELS_EMA_UPDATE_H_
#define SMPO_KERNELS_EMA_UPDATE_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/rounding.h"
#include "kernels/types.h"

namespace smpo::kernels {

struct EmaUpdateArgs {
  int64_t elements = 0;              // N
  float* average = nullptr;          // [N] in and out
  const float* parameter = nullptr;  // [N]
  double decay = 0;                  // 0..1

  /// Read where the kernel runs; null: 1. When it reads 0, nothing is written. See GradNormResult::finite.
  const int32_t* finite = nullptr;
};

/// Returns 1 - decay, computed in double and narrowed once.
inline float ema_weight(const EmaUpdateArgs& args) { return static_cast<float>(1 - args.decay); }

/// Updates one element. `weight`: 1 - decay.
SMPO_HOST_DEVICE float ema_element(float weight, float average, float parameter) {
  return rounded::subtract(average, rounded::multiply(weight, rounded::subtract(average, parameter)));
}

namespace reference {
/// The definition, in double; the result is rounded once.
void ema_update(const EmaUpdateArgs& args);
}  // namespace reference

namespace cpu {
void ema_update(const EmaUpdateArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory. One launch.
void ema_update(const EmaUpdateArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_EMA_UPDATE_H_
