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
  for (const auto input : StepMemory::all_inputs) take(to.*input, from.*input);
}

void add_shapes(GraphKey& key, const StepMemory& inputs) {
  for (const auto input : StepMemory::all_inputs) {
    const at::Tensor& value = inputs.*input;
    key.add_all(value.defined() ? value.sizes() : at::IntArrayRef());
    key.add(static_cast<int32_t>(value.defined() ? value.scalar_type() : at::ScalarType::Undefined));
  }
}

void take_inputs(models::UNet::Inputs& to, const models::UNet::Inputs& from) {
  take(to.sample_BCHW.value, from.sample_BCHW.value);
  take(to.timesteps_B, from.timesteps_B);
  take(to.encoder_hidden_states_BTD.value, from.encoder_hidden_states_BTD.value);
  take(to.text_embeds_BE.value, from.text_embeds_BE.value);
  take(to.time_ids_BK, from.time_ids_BK);
}

}  // namespace smpo::engine
