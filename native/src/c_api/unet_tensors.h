#ifndef SMPO_C_API_UNET_TENSORS_H_
#define SMPO_C_API_UNET_TENSORS_H_

#include <memory>

#include "c_api/guard.h"
#include "engine/model.h"
#include "engine/session.h"

namespace smpo::c_api {

// Null for the handle 0, which an optional tensor may be.
inline std::shared_ptr<engine::Tensor> optional_tensor(const engine::Session& session, smpo_tensor handle,
                                                       const char* argument) {
  return handle == 0 ? nullptr : session.tensor(handle, argument);
}

inline engine::UNetTensors decode(const engine::Session& session, const smpo_unet_inputs* inputs) {
  require_struct(inputs, "inputs");
  require_range(inputs->sample_only, 0, 1, "inputs.sample_only");
  return {.sample = session.tensor(inputs->sample, "inputs.sample"),
          .timesteps = session.tensor(inputs->timesteps, "inputs.timesteps"),
          .encoder_hidden_states = session.tensor(inputs->encoder_hidden_states, "inputs.encoder_hidden_states"),
          .text_embeds = optional_tensor(session, inputs->text_embeds, "inputs.text_embeds"),
          .time_ids = optional_tensor(session, inputs->time_ids, "inputs.time_ids")};
}

}  // namespace smpo::c_api

#endif  // SMPO_C_API_UNET_TENSORS_H_
