// What recorded work of the engine reads and writes (graphs.h), by kind of work.
#ifndef SMPO_ENGINE_GRAPH_MEMORY_H_
#define SMPO_ENGINE_GRAPH_MEMORY_H_

#include <ATen/core/Tensor.h>

#include "models/unet.h"

// Legend: B images, P pairs of a micro-batch, B = 2P images, winners first; C H W a latent; S slots of an inversion, N
// elements of a latent.
namespace smpo::engine {

// One evaluation of a UNet without gradients.
struct PredictionMemory {
  models::UNet::Inputs inputs = {};
  at::Tensor prediction_BCHW = {};  // out
};

// One evaluation of a UNet for the images in an inversion's slots, and the update of these images. Everything lies by
// slot; who is done leaves, and who comes is written into the free slot.
struct InversionMemory {
  // `sample` is dense, and the update writes the next one there. The text is there as keys and values.
  models::UNet::Inputs inputs = {};
  // What changes at every evaluation, in one copy from the host: the slots' updates, then the timesteps (a view).
  at::Tensor schedule = {};
  at::Tensor latents_SN = {};  // f32, as are the next three
  at::Tensor clean_SN = {};
  at::Tensor noise_SN = {};  // read where a step adds noise
  at::Tensor target_SN = {};
  at::Tensor kept_SN = {};  // first predictions, until the second is there
};

// Forward, reference, loss and backward of a micro-batch; gradients go to the policy's own buffer.
struct StepMemory {
  at::Tensor noised_BCHW = {};  // f32, as is the next
  at::Tensor target_BCHW = {};
  at::Tensor timesteps_B = {};
  at::Tensor encoder_hidden_states_BSD = {};
  at::Tensor text_embeds_BE = {};  // undefined without text_time
  at::Tensor time_ids_BK = {};     // likewise
  at::Tensor label_P = {};         // f64; undefined: none
  at::Tensor logit_scale_P = {};   // likewise
  at::Tensor weight_P = {};        // likewise

  at::Tensor prediction_BCHW = {};            // out
  at::Tensor reference_prediction_BCHW = {};  // out; undefined where the loss has no reference
  at::Tensor results = {};                    // out: 4P errors, P logits, P losses, their weighted sum; f64
};

// The inputs of `from` where those of `to` are, which have the same shapes; where there are none yet, copies.
void take_inputs(StepMemory& to, const StepMemory& from);
void take_inputs(models::UNet::Inputs& to, const models::UNet::Inputs& from);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_GRAPH_MEMORY_H_
