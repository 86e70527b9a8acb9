#include "kernels/renoise_update.h"

#include "kernels/reference/elements.h"

namespace smpo::kernels::reference {

void renoise_update(const RenoiseUpdateArgs& args) {
  for (int64_t s = 0; s < args.slots; ++s) {
    const RenoiseSlot& slot = args.slot_S[s];
    if (slot.row < 0) {
      continue;
    }
    for (int64_t n = 0; n < args.elements; ++n) {
      const int64_t by_slot = s * args.elements + n;
      const int64_t by_row = slot.row * args.elements + n;
      double x = args.latents_RN[by_row];
      double e = 0.0;
      if (slot.flags & RenoiseSlot::kActive) {
        e = load(args.prediction_SN, args.prediction_dtype, by_slot);
        if (slot.flags & RenoiseSlot::kAverage) {
          e = (e + load(args.kept_prediction_SN, args.prediction_dtype, by_slot)) / 2;
        }
        x = slot.a * x + slot.b * e;
        if (slot.flags & RenoiseSlot::kNoise) {
          x += static_cast<double>(slot.noise_scale) * args.noise_SN[by_slot];
        }
      }
      const bool guess = (slot.flags & RenoiseSlot::kGuess) != 0;
      if (guess) {
        store(args.kept_prediction_SN, args.prediction_dtype, by_slot,
              load(args.prediction_SN, args.prediction_dtype, by_slot));
      }
      if (args.updated_RN != nullptr && !guess) {
        args.updated_RN[by_row] = static_cast<float>(x);
      }
      if (args.unet_input_SN != nullptr) {
        store(args.unet_input_SN, args.unet_input_dtype, by_slot, x);
      }
      if (slot.flags & RenoiseSlot::kTarget) {
        double target = slot.target_x * x + slot.target_x0 * args.clean_latents_RN[by_row];
        if (slot.flags & RenoiseSlot::kMix) target += slot.target_e * e + slot.target_noise * args.noise_SN[by_slot];
        args.target_RN[by_row] = static_cast<float>(target);
      }
    }
  }
}

}  // namespace smpo::kernels::reference
