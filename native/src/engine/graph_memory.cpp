#include "engine/graph_memory.h"

namespace smpo::engine {
namespace {

void take(at::Tensor& to, const at::Tensor& from) {
  if (!from.defined()) return;
  if (to.defined()) {
    to.copy_(from);
  } else {
    to = from.clone();
  }
}

}  // namespace

void take_inputs(StepMemory& to, const StepMemory& from) {
  take(to.noised_BCHW, from.noised_BCHW);
  take(to.target_BCHW, from.target_BCHW);
  take(to.timesteps_B, from.timesteps_B);
  take(to.encoder_hidden_states_BSD, from.encoder_hidden_states_BSD);
  take(to.text_embeds_BE, from.text_embeds_BE);
  take(to.time_ids_BK, from.time_ids_BK);
  take(to.label_P, from.label_P);
  take(to.logit_scale_P, from.logit_scale_P);
  take(to.weight_P, from.weight_P);
}

void take_inputs(models::UNet::Inputs& to, const models::UNet::Inputs& from) {
  take(to.sample_BCHW.value, from.sample_BCHW.value);
  take(to.timesteps_B, from.timesteps_B);
  take(to.encoder_hidden_states_BTD.value, from.encoder_hidden_states_BTD.value);
  take(to.text_embeds_BE.value, from.text_embeds_BE.value);
  take(to.time_ids_BK, from.time_ids_BK);
}

}  // namespace smpo::engine
