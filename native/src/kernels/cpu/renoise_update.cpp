#include "kernels/renoise_update.h"

#include <algorithm>

namespace smpo::kernels::cpu {
namespace {

// One task. Small enough for x' to stay in the first cache between the loops below.
constexpr int64_t kChunk = 2048;

/// x' = a x + b e.
template <class Prediction>
struct StepChunk {
  SMPO_INNER_LOOP void run(const float* x, const Prediction* first, float a, float b, int64_t count, float* out) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      out[i] = a * x[i] + b * to_float(first[i]);
    }
  }
};

/// x' = a x + b (e1 + e2) / 2.
template <class Prediction>
struct AveragedStepChunk {
  SMPO_INNER_LOOP void run(const float* x, const Prediction* first, const Prediction* second, float a, float b,
                           int64_t count, float* out) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      out[i] = a * x[i] + b * (0.5f * (to_float(first[i]) + to_float(second[i])));
    }
  }
};

struct AddScaledChunk {
  SMPO_INNER_LOOP void run(float scale, const float* noise, int64_t count, float* x) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      x[i] += scale * noise[i];
    }
  }
};

struct CombineChunk {
  SMPO_INNER_LOOP void run(double c, const float* x, double d, const float* clean, int64_t count, float* target) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      target[i] = static_cast<float>(c * static_cast<double>(x[i]) + d * static_cast<double>(clean[i]));
    }
  }
};

/// e = (e1 + e2) / 2, or e1 where there is no second prediction.
template <class Prediction>
struct MeanChunk {
  SMPO_INNER_LOOP void run(const Prediction* first, const Prediction* second, int64_t count, float* out) {
    if (second == nullptr) {
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) {
        out[i] = to_float(first[i]);
      }
      return;
    }
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      out[i] = 0.5f * (to_float(first[i]) + to_float(second[i]));
    }
  }
};

/// The target of a rollout, in f64.
struct MixChunk {
  SMPO_INNER_LOOP void run(const RenoiseSlot& slot, const float* x, const float* clean, const float* e,
                           const float* noise, int64_t count, float* target) {
    const double c = slot.target_x, d = slot.target_x0, f = slot.target_e, g = slot.target_noise;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const double of_latents = c * static_cast<double>(x[i]) + d * static_cast<double>(clean[i]);
      const double of_step = f * static_cast<double>(e[i]) + g * static_cast<double>(noise[i]);
      target[i] = static_cast<float>(of_latents + of_step);
    }
  }
};

template <class T>
struct ConvertChunk {
  SMPO_INNER_LOOP void run(const float* x, int64_t count, T* out) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      out[i] = from_float<T>(x[i]);
    }
  }
};

template <class Prediction>
void step(const RenoiseUpdateArgs& args, const RenoiseSlot& slot, int64_t by_slot, int64_t by_row, int64_t count,
          InstructionSet set, float* x) {
  const float* latents = args.latents_RN + by_row;
  const Prediction* prediction = static_cast<const Prediction*>(args.prediction_SN) + by_slot;
  if (slot.flags & RenoiseSlot::kAverage) {
    const Prediction* kept = static_cast<const Prediction*>(args.kept_prediction_SN) + by_slot;
    run_for<AveragedStepChunk<Prediction>>(set, latents, prediction, kept, slot.a, slot.b, count, x);
  } else {
    run_for<StepChunk<Prediction>>(set, latents, prediction, slot.a, slot.b, count, x);
  }
  if (slot.flags & RenoiseSlot::kNoise) {
    run_for<AddScaledChunk>(set, slot.noise_scale, args.noise_SN + by_slot, count, x);
  }
}

template <class Prediction>
void mean(const RenoiseUpdateArgs& args, const RenoiseSlot& slot, int64_t by_slot, int64_t count, InstructionSet set,
          float* e) {
  const Prediction* kept = static_cast<const Prediction*>(args.kept_prediction_SN) + by_slot;
  run_for<MeanChunk<Prediction>>(set, static_cast<const Prediction*>(args.prediction_SN) + by_slot,
                                 slot.flags & RenoiseSlot::kAverage ? kept : nullptr, count, e);
}

void mix_chunk(const RenoiseUpdateArgs& args, const RenoiseSlot& slot, int64_t by_slot, int64_t by_row, int64_t count,
               InstructionSet set, const float* x) {
  alignas(64) float e[kChunk];
  if (args.prediction_dtype == DType::kF32) {
    mean<float>(args, slot, by_slot, count, set, e);
  } else {
    mean<BFloat16>(args, slot, by_slot, count, set, e);
  }
  run_for<MixChunk>(set, slot, x, args.clean_latents_RN + by_row, static_cast<const float*>(e), args.noise_SN + by_slot,
                    count, args.target_RN + by_row);
}

void update_chunk(const RenoiseUpdateArgs& args, int64_t s, int64_t begin, int64_t count, InstructionSet set) {
  const RenoiseSlot& slot = args.slot_S[s];
  if (slot.row < 0) {
    return;
  }
  const int64_t by_slot = s * args.elements + begin;
  const int64_t by_row = slot.row * args.elements + begin;

  alignas(64) float x[kChunk];
  if ((slot.flags & RenoiseSlot::kActive) == 0) {
    std::copy_n(args.latents_RN + by_row, count, x);
  } else if (args.prediction_dtype == DType::kF32) {
    step<float>(args, slot, by_slot, by_row, count, set, x);
  } else {
    step<BFloat16>(args, slot, by_slot, by_row, count, set, x);
  }

  // Before a guess overwrites the kept prediction, which the target may read.
  if (slot.flags & RenoiseSlot::kMix) {
    mix_chunk(args, slot, by_slot, by_row, count, set, x);
  } else if (slot.flags & RenoiseSlot::kTarget) {
    run_for<CombineChunk>(set, slot.target_x, static_cast<const float*>(x), slot.target_x0,
                          args.clean_latents_RN + by_row, count, args.target_RN + by_row);
  }
  if (slot.flags & RenoiseSlot::kGuess) {
    const int64_t bytes = size_of(args.prediction_dtype);
    std::copy_n(static_cast<const char*>(args.prediction_SN) + by_slot * bytes, count * bytes,
                static_cast<char*>(args.kept_prediction_SN) + by_slot * bytes);
  } else if (args.updated_RN != nullptr) {
    std::copy_n(x, count, args.updated_RN + by_row);
  }
  if (args.unet_input_SN != nullptr) {
    if (args.unet_input_dtype == DType::kF32) {
      std::copy_n(x, count, static_cast<float*>(args.unet_input_SN) + by_slot);
    } else {
      run_for<ConvertChunk<BFloat16>>(set, static_cast<const float*>(x), count,
                                      static_cast<BFloat16*>(args.unet_input_SN) + by_slot);
    }
  }
}

}  // namespace

void renoise_update(const RenoiseUpdateArgs& args, InstructionSet set) {
  const int64_t chunks = divide_up(args.elements, kChunk);
#pragma omp parallel for schedule(static) if (args.slots * chunks > 1)
  for (int64_t task = 0; task < args.slots * chunks; ++task) {
    const int64_t begin = task % chunks * kChunk;
    update_chunk(args, task / chunks, begin, std::min(kChunk, args.elements - begin), set);
  }
}

}  // namespace smpo::kernels::cpu
