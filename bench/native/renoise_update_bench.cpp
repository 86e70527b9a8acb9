#include <cmath>
#include <string>
#include <vector>

#include "harness.h"
#include "kernels/renoise_update.h"

namespace smpo::bench {
namespace {

using kernels::RenoiseSlot;
using kernels::RenoiseUpdateArgs;
using kernels::cpu::InstructionSet;

}  // namespace

// The second call of a ReNoise step, where two predictions are averaged: in place, with the UNet's next input, and
// with the target of every fourth image.
SMPO_BENCH(renoise_update) {
  struct Size {
    const char* name;
    int64_t slots;
    int64_t elements;
    bool guarded;
  };
  for (const Size& size :
       {Size{"2x16384", 2, 16384, false}, Size{"16x16384", 16, 16384, true}, Size{"256x65536", 256, 65536, false}}) {
    const int64_t count = size.slots * size.elements;
    const std::vector<float> prediction = uniform_floats(count, 1);
    std::vector<float> kept = uniform_floats(count, 2);
    const std::vector<float> clean = uniform_floats(count, 3);
    std::vector<float> latents = uniform_floats(count, 4);
    std::vector<float> unet_input(static_cast<size_t>(count));
    std::vector<float> target(static_cast<size_t>(count));
    std::vector<RenoiseSlot> slots(static_cast<size_t>(size.slots));
    for (size_t s = 0; s < slots.size(); ++s) {
      slots[s].row = static_cast<int32_t>(slots.size() - 1 - s);
      slots[s].flags = RenoiseSlot::kActive | RenoiseSlot::kAverage | (s % 4 == 0 ? RenoiseSlot::kTarget : 0u);
      // Latents must stay bounded when the kernel runs repeatedly in place.
      slots[s].a = 0.75f;
      slots[s].b = 0.375f;
      slots[s].target_x = 1.3;
      slots[s].target_x0 = -0.8;
    }
    const RenoiseUpdateArgs args{.slots = size.slots,
                                 .elements = size.elements,
                                 .slot_S = slots.data(),
                                 .latents_RN = latents.data(),
                                 .prediction_SN = prediction.data(),
                                 .kept_prediction_SN = kept.data(),
                                 .clean_latents_RN = clean.data(),
                                 .updated_RN = latents.data(),
                                 .unet_input_SN = unet_input.data(),
                                 .target_RN = target.data()};

    const auto disagreement = [&]() -> std::optional<std::string> {
      std::vector<float> updated(static_cast<size_t>(count));
      RenoiseUpdateArgs apart = args;
      apart.updated_RN = updated.data();
      kernels::reference::renoise_update(apart);
      const std::vector<float> wanted = updated;
      const std::vector<float> wanted_target = target;
      for (int32_t set = 0; set <= static_cast<int32_t>(kernels::cpu::best_instruction_set()); ++set) {
        kernels::cpu::renoise_update(apart, static_cast<InstructionSet>(set));
        const std::string name = std::string(name_of(static_cast<InstructionSet>(set))) + ": ";
        // Inputs lie in [-1, 1), so |x'| is at most a + b.
        const double x_tolerance = kernels::kRenoiseTolerance * (0.75 + 0.375);
        const double target_tolerance = 1.3 * x_tolerance;
        if (const auto problem = first_difference(updated.data(), wanted.data(), count, 0, x_tolerance)) {
          return name + "latents " + *problem;
        }
        if (const auto problem = first_difference(target.data(), wanted_target.data(), count, kernels::kTargetTolerance,
                                                  target_tolerance)) {
          return name + "targets " + *problem;
        }
      }
      return std::nullopt;
    };

    // Read: x, e1, e2, and x0 of a quarter. Written: x', the UNet's input, and a quarter's targets.
    const int64_t finished = (size.slots + 3) / 4;
    Case c{.family = "renoise_update",
           .size = size.name,
           .dtype = "f32",
           .bytes = 4.0 * static_cast<double>(5 * count + 2 * finished * size.elements),
           .items = static_cast<double>(count),
           .bound = Bound::kMemory,
           .disagreement = disagreement,
           .contenders = {{"cpu", [&] { kernels::cpu::renoise_update(args); }}},
           .guarded = size.guarded ? "cpu" : ""};
    if (size.slots <= 16) {
      c.contenders.push_back({"cpu/baseline", [&] { kernels::cpu::renoise_update(args, InstructionSet::kBaseline); }});
      c.contenders.push_back({"reference", [&] { kernels::reference::renoise_update(args); }});
    }
    session.measure(c);
  }
}

}  // namespace smpo::bench
