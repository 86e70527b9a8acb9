// The options of a micro-batch's work, and the graph key that follows from them.
#ifndef SMPO_ENGINE_STEP_OPTIONS_H_
#define SMPO_ENGINE_STEP_OPTIONS_H_

#include <cstdint>

#include "engine/graphs.h"
#include "smpo.h"

namespace smpo::engine {

// Everything that a recording of a micro-batch has built in, besides its models and the shapes of its memory. Values
// that may change from one step to the next belong into StepMemory.
struct StepOptions {
  smpo_pair_loss loss;
  double gradient_scale;
  int64_t backward;       // 1 or 0
  int64_t images;         // of an item: 2, a pair; 1, a single image
  int64_t shared_sample;  // 1: one prediction serves both images of a pair
  double guidance_scale;  // 0: no guidance
};

// All bytes of the options. A new field is part of the key because it is part of the struct.
inline GraphKey key_of(const StepOptions& options) {
  static_assert(sizeof(smpo_pair_loss) == 4 * 4 + 12 * 8, "bytes between the fields would be compared");
  static_assert(sizeof(StepOptions) == sizeof(smpo_pair_loss) + 5 * 8, "bytes between the fields would be compared");
  GraphKey key;
  key.add_bytes(&options, sizeof options);
  return key;
}

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_STEP_OPTIONS_H_
