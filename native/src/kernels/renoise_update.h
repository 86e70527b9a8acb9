// One step of the batched DDIM inversion: the mean of the ReNoise predictions, the step, and, for a row at its last
// step, its target. The rows pass through a fixed number of slots, the inversion batch (continuous batching).
//
//   e  = the prediction         or its mean with the kept one, with kAverage
//   x' = a x + b e              + noise_scale * noise with kNoise (InPO)
//   target = target_x x' + target_x0 x0                            with kTarget
//            + target_e e + target_noise noise                     with kMix as well (rollouts)
// x' becomes the row's latent and the UNet's next input; with kGuess the input alone, and the prediction is kept.
//
// Shapes: S slots of the UNet's batch; R rows of the batch; N elements of one latent. Slot s works on row slot[s].row.
// Predictions, noise and the UNet's input lie by slot, [S,N]; latents, clean latents and targets by row, [R,N]. Tensors
// are dense and row-major and need no alignment beyond that of their element.
//
// The coefficients are those of the inversion plan (DDIM inverse step from level i to level j, abar the cumulative
// product of alphas): a = sqrt(abar_j / abar_i), b = sqrt(1 - abar_j) - a sqrt(1 - abar_i); with epsilon prediction
// target_x = 1 / sqrt(1 - abar_t), target_x0 = -sqrt(abar_t) / sqrt(1 - abar_t). With v prediction the same update
// holds with other numbers: x' stays linear in x and e, the target in x' and x0. The step's coefficients are narrowed
// to f32; the target's are not, and the target is summed in f64: where the row has not changed much (x' = x0 at t = 0
// or 1) its two terms cancel, and what is left is two thousand times smaller than each of them.
//
// One ReNoise step is two calls. First, with e1 = UNet(x), kGuess: x stays, and e1 is kept. Then, with e2 = UNet(x'),
// kAverage. Slots at either of them share a call: a step of the whole batch is one launch, whatever each slot does.
//
// Tolerance against the reference (f64 from the same coefficients): every operation of x' rounds once to f32 and none
// is contracted, so |x' - reference| <= kRenoiseTolerance * (|a x| + |b| (|e1| + |e2|) / 2 + |noise_scale * noise|);
// the bf16 copy rounds once more. The target is that of the rounded x', itself rounded to f32 once: |target -
// reference| <= |target_x| times the same bound + kTargetTolerance * |target|, and of a slot that is not active it has
// the reference's bits, x' being exact. With kMix, an averaged e adds |target_e| * 2^-24 * (|e1| + |e2|). The CPU and
// CUDA versions give the same bits.
#ifndef SMPO_KERNELS_RENOISE_UPDATE_H_
#define SMPO_KERNELS_RENOISE_UPDATE_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/types.h"

namespace smpo::kernels {

/// The work of one slot in this step: an entry of a table in the memory of the device that runs the kernel.
struct RenoiseSlot {
  /// Bits of `flags`.
  enum : uint32_t {
    kActive = 1,   // x' as above; without it x' = x
    kAverage = 2,  // e is the mean of the prediction and the kept one
    kNoise = 4,    // adds noise_scale * noise
    kTarget = 8,   // this was the row's last step: writes its target (of x' = x, if the slot is not active)
    kGuess = 16,   // x' goes to the UNet's input and nowhere else; the prediction is kept
    kMix = 32      // with kActive and kTarget: e and the noise enter the target
  };

  /// Row of the batch; negative: the slot is empty, and nothing is read or written for it.
  int32_t row = -1;
  uint32_t flags = 0;
  float a = 1.0f;
  float b = 0.0f;
  float noise_scale = 0.0f;
  double target_x = 0.0;
  double target_x0 = 0.0;
  double target_e = 0.0;
  double target_noise = 0.0;
};

struct RenoiseUpdateArgs {
  int64_t slots = 0;     // S, at most 65535
  int64_t elements = 0;  // N >= 1

  /// One entry per slot. No two slots share a row.
  const RenoiseSlot* slot_S = nullptr;

  /// x, f32, by row.
  const float* latents_RN = nullptr;
  /// Predictions by slot, read where kActive is set.
  const void* prediction_SN = nullptr;
  /// Kept predictions: read where kAverage is set, written where kGuess is.
  void* kept_prediction_SN = nullptr;
  DType prediction_dtype = DType::kF32;
  /// Standard normal numbers by slot; read where kNoise or kMix is set.
  const float* noise_SN = nullptr;
  /// Clean latents by row; read where kTarget is set.
  const float* clean_latents_RN = nullptr;

  /// Out: x' by row, where kGuess is not set. May be latents_RN itself. Null: not written.
  float* updated_RN = nullptr;
  /// Out: x' by slot, in the dtype of the UNet. Null: not written.
  void* unet_input_SN = nullptr;
  DType unet_input_dtype = DType::kF32;
  /// Out: targets by row, where kTarget is set.
  float* target_RN = nullptr;
};

/// Roundings of the longest chain, to x': sum of predictions, product, two sums; the reference's own; and an allowance
/// for their products.
inline constexpr double kRenoiseTolerance = 5.001 / 16777216.0;
/// Roundings of the target to f32, here and in the reference, and an allowance for those in f64 before them.
inline constexpr double kTargetTolerance = 2.001 / 16777216.0;

namespace reference {
/// The definition, in f64, rounded at the end.
void renoise_update(const RenoiseUpdateArgs& args);
}  // namespace reference

namespace cpu {
/// One parallel region. The same bits for every instruction set and number of threads.
void renoise_update(const RenoiseUpdateArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer, slot_S included, is device memory. One launch; its shape depends on S and N alone, so that a captured
/// graph runs any plan.
void renoise_update(const RenoiseUpdateArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_RENOISE_UPDATE_H_
