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

}  // namespace smpo::c_api

#endif  // SMPO_C_API_MODEL_OPTIONS_H_
