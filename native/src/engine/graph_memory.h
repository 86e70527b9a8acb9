// Memory of recorded work (graphs.h), by kind of work.
#ifndef SMPO_ENGINE_GRAPH_MEMORY_H_
#define SMPO_ENGINE_GRAPH_MEMORY_H_

#include <ATen/core/Tensor.h>

#include "engine/graphs.h"
#include "models/unet.h"

// Legend: B images; P pairs of a micro-batch; C channels, H W size of a latent; S places of an inversion batch; N
// elements of a latent.
namespace smpo::engine {

// A UNet evaluation without gradients.
struct PredictionMemory {
  models::UNet::Inputs inputs = {};
  at::Tensor prediction_BCHW = {};  // out
};

// A UNet evaluation of an inversion batch and the update of its latents, by place (inversion_schedule.h).
struct InversionMemory {
  // The sample is dense, and the update writes the next sample there. The text is given by its keys and values.
  models::UNet::Inputs inputs = {};
  // Uploaded in one copy before every evaluation: the updates of all places, then the timesteps (a view of this).
  at::Tensor schedule = {};
  at::Tensor latents_SN = {};  // f32, as are the next three
  at::Tensor clean_SN = {};
  at::Tensor noise_SN = {};  // read by steps that add noise
  at::Tensor target_SN = {};
  at::Tensor kept_SN = {};  // first predictions of averaging steps
};

// Forward passes of policy and reference, loss and backward pass of a micro-batch. Gradients are added to the policy's
// own buffer.
//
// R = 2P images, winners first, or P single images. B rows of the network: a row per image, or with shared_sample per
// pair; with guidance the rows of the negative prompts, then those of the prompts.
struct StepMemory {
  // The inputs; each is a part of the graph key and is copied in before a replay, because both walk all_inputs.
  at::Tensor noised_BCHW = {};  // f32, as is the next
  at::Tensor target_RCHW = {};
  at::Tensor timesteps_B = {};
  at::Tensor encoder_hidden_states_BSD = {};
  at::Tensor text_embeds_BE = {};  // undefined without text_time
  at::Tensor time_ids_BK = {};     // undefined without text_time
  at::Tensor label_P = {};         // f64, as are the next four; undefined if not given
  at::Tensor logit_scale_P = {};
  at::Tensor weight_P = {};
  at::Tensor mean_gain_1 = {};
  at::Tensor error_scale_B = {};
  at::Tensor desirable_B = {};  // u8

  static constexpr at::Tensor StepMemory::* all_inputs[] = {
      &StepMemory::noised_BCHW,    &StepMemory::target_RCHW,
      &StepMemory::timesteps_B,    &StepMemory::encoder_hidden_states_BSD,
      &StepMemory::text_embeds_BE, &StepMemory::time_ids_BK,
      &StepMemory::label_P,        &StepMemory::logit_scale_P,
      &StepMemory::weight_P,       &StepMemory::mean_gain_1,
      &StepMemory::error_scale_B,  &StepMemory::desirable_B};

  at::Tensor prediction_RCHW = {};            // out, guided
  at::Tensor reference_prediction_RCHW = {};  // out; undefined if the loss has no reference
  at::Tensor results = {};                    // out: 4P errors, P logits, P losses, their weighted sum; f64
};

// Copies the inputs of `from` into the tensors of `to`, which have the same shapes; allocates them if they are
// undefined.
void take_inputs(StepMemory& to, const StepMemory& from);
// Adds the shape and dtype of every input.
void add_shapes(GraphKey& key, const StepMemory& inputs);
void take_inputs(models::UNet::Inputs& to, const models::UNet::Inputs& from);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_GRAPH_MEMORY_H_
