#ifndef SMPO_C_API_MODEL_OPTIONS_H_
#define SMPO_C_API_MODEL_OPTIONS_H_

#include "c_api/guard.h"

namespace smpo::c_api {

inline void check_options(const smpo_model_options* options) {
  require_struct(options, "options");
  require_range(options->precision, SMPO_F32, SMPO_BF16, "options.precision");
  require_range(options->trainable, 0, 1, "options.trainable");
  require_range(options->checkpointing, 0, 1, "options.checkpointing");
}

// Checks the options of a VAE, a CLIP tower or BERT, which are not trained.
inline void check_encoder_options(const smpo_model_options* options) {
  check_options(options);
  if (options->checkpointing != 0) {
    engine::fail(SMPO_UNSUPPORTED, "options.checkpointing: expected 0, since only UNets are trained, got ",
                 options->checkpointing);
  }
}

// Arrays by level: what lies behind the levels in use is 0.
inline void require_zeros_beyond_levels(const int32_t (&values)[SMPO_MAX_LEVELS], int32_t levels, const char* name) {
  for (int32_t i = levels; i < SMPO_MAX_LEVELS; ++i) {
    if (values[i] != 0) {
      engine::fail(SMPO_INVALID_ARGUMENT, name, ": expected 0 in entries from the levels (", levels, ") on, got ",
                   values[i], " at ", i);
    }
  }
}

}  // namespace smpo::c_api

#endif  // SMPO_C_API_MODEL_OPTIONS_H_
