// What recorded work of the engine reads and writes (graphs.h), by kind of work.
#ifndef SMPO_ENGINE_GRAPH_MEMORY_H_
#define SMPO_ENGINE_GRAPH_MEMORY_H_

#include <ATen/core/Tensor.h>

#include "models/unet.h"

// Legend: B images, P pairs of a micro-batch, B = 2P images, winners first; C H W a latent.
namespace smpo::engine {

// One evaluation of a UNet without gradients.
struct PredictionMemory {
  models::UNet::Inputs inputs = {};
  at::Tensor prediction_BCHW = {};  // out
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
