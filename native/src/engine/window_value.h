#ifndef SMPO_ENGINE_WINDOW_VALUE_H_
#define SMPO_ENGINE_WINDOW_VALUE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/window.h"

// Legend: W pairs, R = 2W images, winners first; C channels, H W latent picture; S tokens, D their width.
namespace smpo::engine {

struct Window {
  WindowOptions options;

  at::Tensor latents_RCHW;  // f32, row-major, as are the next two
  at::Tensor noised_RCHW = {};
  at::Tensor target_RCHW = {};
  at::Tensor encoder_hidden_states_WSD;
  at::Tensor text_embeds_WE = {};  // undefined without text_time
  at::Tensor time_ids_RK = {};     // f32, likewise

  // f64. NaN where nothing has been accumulated.
  at::Tensor errors_4W;
  at::Tensor logits_W;
  at::Tensor losses_W;
  at::Tensor loss_sum;

  // f32, zeros at first; undefined unless predictions are kept.
  at::Tensor prediction_RCHW = {};
  at::Tensor reference_prediction_RCHW = {};

  int64_t pairs() const { return options.pairs; }
  int64_t rows() const { return 2 * options.pairs; }
  int64_t elements() const { return latents_RCHW[0].numel(); }
  bool on_cpu() const { return latents_RCHW.is_cpu(); }
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_WINDOW_VALUE_H_
