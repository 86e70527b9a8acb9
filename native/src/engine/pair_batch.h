#ifndef SMPO_ENGINE_PAIR_BATCH_H_
#define SMPO_ENGINE_PAIR_BATCH_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/model.h"
#include "smpo.h"

namespace smpo::engine {

// The pairs of one optimizer step on the device: clean latents, conditions, noised latents, targets, results. Defined
// in pair_batch_value.h, for files that include LibTorch.
struct PairBatch;

// These functions implement functions of smpo.h and throw Error as documented there. Sizes, reserved fields, ranges and
// pointers of the structs have been checked.

std::shared_ptr<Tensor> posterior_sample(Session& session, const Tensor& mean, const Tensor& logvar, double scale,
                                         uint32_t step, std::span<const int64_t> items);

struct PairBatchOptions {
  int64_t pairs = 0;   // or single images
  int64_t images = 2;  // of each: 2 of a pair, or 1
  uint32_t step = 0;
  bool keep_predictions = false;
  std::vector<int32_t> timesteps;
  std::vector<int64_t> items;
  double guidance_scale = 0.0;  // 0: no guidance
  bool shared_sample = false;
};
// `tensors.sample` is the clean latents, or null for a batch that is set; `tensors.timesteps` is not read. `negative`
// has the text of the negative prompts with guidance, else null tensors.
std::shared_ptr<PairBatch> open_pair_batch(PairBatchOptions options, const UNetTensors& tensors,
                                           const UNetTensors& negative);

// Number of pairs or single images, and of images of each.
int64_t pairs(const PairBatch& batch);
int64_t images(const PairBatch& batch);

void set(PairBatch& batch, const Tensor& noised, const Tensor& target);
void add_noise(Session& session, PairBatch& batch, const smpo_forward_noise& noise);
smpo_inversion_report invert(Session& session, PairBatch& batch, const Model& model, const smpo_inversion_plan& plan);
// `prompt` has the rollout's text, and no other tensors.
smpo_inversion_report roll_out(Session& session, PairBatch& batch, const Model& model, const smpo_inversion_plan& plan,
                               const smpo_rollout& rollout, const UNetTensors& prompt);

// `reference` may be null.
void accumulate(Session& session, const std::shared_ptr<PairBatch>& batch, Model& policy, const Model* reference,
                const smpo_pair_loss& loss, const smpo_micro_batch& micro_batch);

// Fills the arrays and loss_sum. Waits for the device, unless an optimizer step has already downloaded the results.
void read(Session& session, const PairBatch& batch, smpo_pair_results& results);
std::shared_ptr<Tensor> pair_batch_tensor(const PairBatch& batch, int32_t which);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_PAIR_BATCH_H_
