#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/renoise_update.h"
#include "kernels/rounding.h"

namespace smpo::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;

/// grid.x covers the elements of a latent, grid.y the slots.
template <class Prediction, class Input>
__global__ void update(RenoiseUpdateArgs args) {
  const RenoiseSlot slot = args.slot_S[blockIdx.y];
  if (slot.row < 0) {
    return;
  }
  const Prediction* prediction_SN = static_cast<const Prediction*>(args.prediction_SN);
  Prediction* kept_SN = static_cast<Prediction*>(args.kept_prediction_SN);
  const int64_t slot_begin = blockIdx.y * args.elements;
  const int64_t row_begin = slot.row * args.elements;
  for (int64_t n = grid_index(); n < args.elements; n += grid_stride()) {
    const int64_t by_slot = slot_begin + n;
    const int64_t by_row = row_begin + n;
    float x = args.latents_RN[by_row];
    float e = 0.0f;
    if (slot.flags & RenoiseSlot::kActive) {
      e = to_float(prediction_SN[by_slot]);
      if (slot.flags & RenoiseSlot::kAverage) {
        e = rounded::multiply(0.5f, rounded::add(e, to_float(kept_SN[by_slot])));
      }
      x = rounded::add(rounded::multiply(slot.a, x), rounded::multiply(slot.b, e));
      if (slot.flags & RenoiseSlot::kNoise) {
        x = rounded::multiply_add(slot.noise_scale, args.noise_SN[by_slot], x);
      }
    }
    if (slot.flags & RenoiseSlot::kGuess) {
      kept_SN[by_slot] = prediction_SN[by_slot];
    } else if (args.updated_RN != nullptr) {
      args.updated_RN[by_row] = x;
    }
    if (args.unet_input_SN != nullptr) {
      static_cast<Input*>(args.unet_input_SN)[by_slot] = from_float<Input>(x);
    }
    if (slot.flags & RenoiseSlot::kTarget) {
      const double clean = args.clean_latents_RN[by_row];
      double target = rounded::add(rounded::multiply(slot.target_x, static_cast<double>(x)),
                                   rounded::multiply(slot.target_x0, clean));
      if (slot.flags & RenoiseSlot::kMix) {
        const double noise = args.noise_SN[by_slot];
        target = rounded::add(target, rounded::add(rounded::multiply(slot.target_e, static_cast<double>(e)),
                                                   rounded::multiply(slot.target_noise, noise)));
      }
      args.target_RN[by_row] = static_cast<float>(target);
    }
  }
}

}  // namespace

void renoise_update(const RenoiseUpdateArgs& args, Stream stream) {
  const dim3 grid(blocks_for(args.elements, kThreads, kPerThread), static_cast<unsigned>(args.slots));
  const bool f32_prediction = args.prediction_dtype == DType::kF32;
  const bool f32_input = args.unet_input_dtype == DType::kF32;
  const auto kernel = f32_prediction ? (f32_input ? update<float, float> : update<float, BFloat16>)
                                     : (f32_input ? update<BFloat16, float> : update<BFloat16, BFloat16>);
  launch(kernel, grid, dim3(kThreads), 0, stream, args);
}

}  // namespace smpo::kernels::cuda
