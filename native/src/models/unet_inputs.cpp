// Checks of the inputs of the UNet.
#include <string>

#include "models/check.h"
#include "models/unet.h"

namespace smpo::models {

void UNet::check_inputs(const Inputs& inputs) const {
  const at::ScalarType dtype = weights_.options().precision;
  const std::string of = text(" of ", at::toString(dtype));

  const at::Tensor& sample = inputs.sample_BCHW.value;
  check_input(sample.defined() && sample.dim() == 4 && sample.size(0) > 0 && sample.size(1) == spec_.in_channels &&
                  sample.size(2) > 0 && sample.size(3) > 0 && sample.scalar_type() == dtype,
              "sample", text("[B,", spec_.in_channels, ",h,w]", of), sample);
  const int64_t batch = sample.size(0);

  const at::Tensor& timesteps = inputs.timesteps_B;
  check_input(timesteps.defined() && timesteps.dim() == 1 && timesteps.size(0) == batch &&
                  (timesteps.scalar_type() == at::kFloat || timesteps.scalar_type() == at::kDouble),
              "timesteps", text("[", batch, "] of Float"), timesteps);

  const at::Tensor& keys_values = inputs.text_keys_values_BTK;
  const at::Tensor& states = inputs.encoder_hidden_states_BTD.value;
  if (keys_values.defined()) {
    check_input(!states.defined() && keys_values.dim() == 3 && keys_values.size(0) == batch &&
                    keys_values.size(1) > 0 && keys_values.size(2) == text_keys_values_channels() &&
                    keys_values.scalar_type() == dtype,
                "text_keys_values", text("[", batch, ",S,", text_keys_values_channels(), "]", of, " and no states"),
                keys_values);
  } else {
    check_input(states.defined() && states.dim() == 3 && states.size(0) == batch && states.size(1) > 0 &&
                    states.size(2) == spec_.cross_attention_dim && states.scalar_type() == dtype,
                "encoder_hidden_states", text("[", batch, ",S,", spec_.cross_attention_dim, "]", of), states);
  }

  const at::Tensor& text_embeds = inputs.text_embeds_BE.value;
  const at::Tensor& time_ids = inputs.time_ids_BK;
  if (!spec_.text_time()) {
    if (text_embeds.defined()) refuse("text_embeds: expected none, since the UNet has no text_time embedding");
    if (time_ids.defined()) refuse("time_ids: expected none, since the UNet has no text_time embedding");
    return;
  }
  check_input(text_embeds.defined() && text_embeds.dim() == 2 && text_embeds.size(0) == batch &&
                  text_embeds.scalar_type() == dtype,
              "text_embeds", text("[", batch, ",E]", of), text_embeds);
  check_input(time_ids.defined() && time_ids.dim() == 2 && time_ids.size(0) == batch &&
                  (time_ids.scalar_type() == at::kFloat || time_ids.scalar_type() == at::kDouble),
              "time_ids", text("[", batch, ",K] of Float"), time_ids);
  const int64_t width = text_embeds.size(1) + time_ids.size(1) * spec_.addition_time_embed_dim;
  if (width != spec_.projection_class_embeddings_input_dim) {
    throw ShapeMismatch(text("text_embeds, time_ids: expected widths E and K with E + ", spec_.addition_time_embed_dim,
                             " K = ", spec_.projection_class_embeddings_input_dim, ", got ", text_embeds.size(1),
                             " and ", time_ids.size(1)));
  }
}

}  // namespace smpo::models
