#ifndef SMPO_ENGINE_PAIR_BATCH_VALUE_H_
#define SMPO_ENGINE_PAIR_BATCH_VALUE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/pair_batch.h"

// Legend: W pairs, R = 2W images, winners first, or W single images, R = W; C channels, H W size of a latent; S tokens,
// D width of a token.
namespace smpo::engine {

struct PairBatch {
  PairBatchOptions options;

  at::Tensor latents_RCHW = {};  // f32, row-major, as are the next two; undefined if the batch is to be set
  at::Tensor noised_RCHW = {};   // W rows with shared_sample
  at::Tensor target_RCHW = {};
  at::Tensor encoder_hidden_states_WSD;
  at::Tensor text_embeds_WE = {};                      // undefined without text_time
  at::Tensor time_ids_RK = {};                         // f32; undefined without text_time; W rows with shared_sample
  at::Tensor negative_encoder_hidden_states_WSD = {};  // undefined without guidance
  at::Tensor negative_text_embeds_WE = {};             // undefined without guidance or text_time

  // f64; NaN for pairs that have not been accumulated. All are views of one buffer, so that one copy downloads them.
  at::Tensor results;
  at::Tensor errors_4W = results.narrow(0, 0, 4 * options.pairs).view({4, options.pairs});
  at::Tensor logits_W = results.narrow(0, 4 * options.pairs, options.pairs);
  at::Tensor losses_W = results.narrow(0, 5 * options.pairs, options.pairs);
  at::Tensor loss_sum = results.select(0, 6 * options.pairs);

  // The results on the host, downloaded by the last optimizer step; undefined if pairs have been accumulated since.
  at::Tensor results_on_host = {};

  // f32, initially zero; undefined unless predictions are kept.
  at::Tensor prediction_RCHW = {};
  at::Tensor reference_prediction_RCHW = {};

  int64_t pairs() const { return options.pairs; }
  int64_t rows() const { return options.images * options.pairs; }
  int64_t elements() const { return latents_RCHW[0].numel(); }
  at::Device device() const { return results.device(); }
};

// x = sample x0 + scale n for each image, with one number per image and normal numbers n.
at::Tensor mixed(const PairBatch& batch, const double* sample, const char* sample_name, const at::Tensor& normal_RCHW,
                 const double* scale, const char* scale_name);

// Standard normal numbers in the shape of the clean latents, with the purpose of forward noise.
at::Tensor forward_normal(Session& session, const PairBatch& batch, const std::vector<int64_t>& items);

// Throws Error for a batch that was opened without clean latents.
void require_clean_latents(const PairBatch& batch);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_PAIR_BATCH_VALUE_H_
