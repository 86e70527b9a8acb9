#include "engine/pair_batch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "engine/error.h"
#include "engine/pair_batch_value.h"
#include "engine/session.h"
#include "engine/tensor.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"

namespace smpo::engine {
namespace {

// Purposes of random numbers; the same numbers as in org.smpo.random.Purpose.
constexpr uint32_t kVaeSample = 4;
constexpr uint32_t kForwardNoise = 5;

constexpr int64_t kItemEnd = int64_t{1} << 44;
constexpr int32_t kTimestepEnd = 1 << 24;  // exact in f32

// Requires `rank` dimensions, none of them empty, and `first` rows.
void require_rows(const at::Tensor& value, int64_t rank, int64_t first, const char* name, const char* shape) {
  if (value.dim() != rank || value.size(0) != first || value.numel() == 0) {
    fail(SMPO_SHAPE_MISMATCH, name, ": expected ", shape, " with ", first, " in front, got ", shape_text(value));
  }
}

// Uploads one coefficient per row as a tensor that broadcasts over [R,C,H,W].
at::Tensor column(const PairBatch& batch, const double* values, const char* name) {
  require_all_finite(values, batch.rows(), name);
  const std::vector<float> narrowed(values, values + batch.rows());
  return copy_to<float>(batch.device(), narrowed).view({-1, 1, 1, 1});
}

void keep_predictions(PairBatch& batch, const at::Tensor& like_RCHW) {
  if (!batch.options.keep_predictions) return;
  batch.prediction_RCHW = at::zeros_like(like_RCHW);
  batch.reference_prediction_RCHW = at::zeros_like(like_RCHW);
}

void require_same_shape(const at::Tensor& value, const at::Tensor& wanted, const char* name) {
  if (value.sizes() == wanted.sizes()) return;
  fail(SMPO_SHAPE_MISMATCH, name, ": expected ", shape_text(wanted), " as for the prompts, got ", shape_text(value));
}

// The text of the negative prompts.
void take_negative(PairBatch& batch, const UNetTensors& negative) {
  batch.negative_encoder_hidden_states_WSD = negative.encoder_hidden_states->value.clone();
  require_same_shape(batch.negative_encoder_hidden_states_WSD, batch.encoder_hidden_states_WSD,
                     "inputs.negative_encoder_hidden_states");
  const bool pooled = batch.text_embeds_WE.defined();
  if (pooled != (negative.text_embeds != nullptr)) {
    fail(SMPO_INVALID_ARGUMENT, "inputs.negative_text_embeds: expected ", pooled ? "a tensor" : "none",
         " as for inputs.text_embeds");
  }
  if (!pooled) return;
  batch.negative_text_embeds_WE = negative.text_embeds->value.clone();
  require_same_shape(batch.negative_text_embeds_WE, batch.text_embeds_WE, "inputs.negative_text_embeds");
}

void require_equal_timesteps(const PairBatchOptions& options) {
  const auto pairs = static_cast<size_t>(options.pairs);
  for (size_t pair = 0; pair < pairs; ++pair) {
    if (options.timesteps[pair] == options.timesteps[pairs + pair]) continue;
    fail(SMPO_INVALID_ARGUMENT, "inputs.timesteps[", pairs + pair, "]: expected ", options.timesteps[pair],
         " as for the winner, since shared_sample is 1, got ", options.timesteps[pairs + pair]);
  }
}

}  // namespace

std::shared_ptr<Tensor> posterior_sample(Session& session, const Tensor& mean, const Tensor& logvar, double scale,
                                         uint32_t step, std::span<const int64_t> items) {
  require_f32(mean.value, "mean");
  require_f32(logvar.value, "logvar");
  if (mean.value.dim() != 4 || mean.value.sizes() != logvar.value.sizes()) {
    fail(SMPO_SHAPE_MISMATCH, "logvar: expected [B,L,h,w] as mean, which is ", shape_text(mean.value), ", got ",
         shape_text(logvar.value));
  }
  require_finite(scale, "scale");
  Tensor normal{at::empty_like(mean.value)};
  fill_normal(session, normal, kVaeSample, step, items);
  return hold(logvar.value.mul(0.5).exp_().mul_(normal.value).add_(mean.value).mul_(scale));
}

std::shared_ptr<PairBatch> open_pair_batch(PairBatchOptions options, const UNetTensors& tensors,
                                           const UNetTensors& negative) {
  const int64_t pairs = options.pairs;
  const int64_t images = options.images * pairs;
  const bool single = options.images == 1;
  at::Tensor latents;
  if (tensors.sample != nullptr) {
    latents = tensors.sample->value.clone();
    require_f32(latents, "inputs.latents");
    require_rows(latents, 4, images, "inputs.latents", single ? "[W,C,h,w]" : "[2W,C,h,w]");
  }
  if (options.shared_sample) {
    if (latents.defined()) {
      fail(SMPO_INVALID_ARGUMENT, "inputs.latents: expected 0, since shared_sample is 1, got a tensor");
    }
    require_equal_timesteps(options);
  }
  const at::Tensor& states = tensors.encoder_hidden_states->value;
  require_rows(states, 3, pairs, "inputs.encoder_hidden_states", "[W,S,D]");
  for (size_t row = 0; row < options.timesteps.size(); ++row) {
    const int32_t t = options.timesteps[row];
    if (t < 0 || t >= kTimestepEnd) {
      fail(SMPO_INVALID_ARGUMENT, "inputs.timesteps[", row, "]: expected 0..", kTimestepEnd - 1, ", got ", t);
    }
    const int64_t item = options.items[row];
    if (item < 0 || item >= kItemEnd) {
      fail(SMPO_INVALID_ARGUMENT, "inputs.items[", row, "]: expected 0..", kItemEnd - 1, ", got ", item);
    }
  }
  const auto f64 = states.options().dtype(at::kDouble);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  auto batch = std::make_shared<PairBatch>(PairBatch{.options = std::move(options),
                                                     .latents_RCHW = latents,
                                                     .encoder_hidden_states_WSD = states.clone(),
                                                     .results = at::full({6 * pairs + 1}, nan, f64)});
  batch->loss_sum.zero_();
  if (tensors.text_embeds != nullptr) {
    require_rows(tensors.text_embeds->value, 2, pairs, "inputs.text_embeds", "[W,E]");
    batch->text_embeds_WE = tensors.text_embeds->value.clone();
  }
  if (tensors.time_ids != nullptr) {
    require_f32(tensors.time_ids->value, "inputs.time_ids");
    const bool half = single || batch->options.shared_sample;
    require_rows(tensors.time_ids->value, 2, half ? pairs : images, "inputs.time_ids", half ? "[W,K]" : "[2W,K]");
    batch->time_ids_RK = tensors.time_ids->value.clone();
  }
  if (batch->options.guidance_scale != 0) take_negative(*batch, negative);
  if (latents.defined()) keep_predictions(*batch, latents);
  return batch;
}

int64_t pairs(const PairBatch& batch) { return batch.pairs(); }
int64_t images(const PairBatch& batch) { return batch.options.images; }

void set(PairBatch& batch, const Tensor& noised, const Tensor& target) {
  const int64_t noised_rows = batch.options.shared_sample ? batch.pairs() : batch.rows();
  require_f32(target.value, "target");
  require_rows(target.value, 4, batch.rows(), "target", images(batch) == 1 ? "[W,C,h,w]" : "[2W,C,h,w]");
  require_f32(noised.value, "noised");
  require_rows(noised.value, 4, noised_rows, "noised", batch.pairs() == noised_rows ? "[W,C,h,w]" : "[2W,C,h,w]");
  if (noised.value[0].sizes() != target.value[0].sizes()) {
    fail(SMPO_SHAPE_MISMATCH, "noised: expected the rows of target, ", shape_text(target.value), ", got ",
         shape_text(noised.value));
  }
  keep_predictions(batch, target.value);
  batch.noised_RCHW = noised.value.clone();
  batch.target_RCHW = target.value.clone();
}

void require_clean_latents(const PairBatch& batch) {
  if (batch.latents_RCHW.defined()) return;
  fail(SMPO_INVALID_ARGUMENT, "batch: expected one with clean latents, got one that smpo_pair_batch_set fills");
}

at::Tensor forward_normal(Session& session, const PairBatch& batch, const std::vector<int64_t>& items) {
  Tensor normal{at::empty_like(batch.latents_RCHW)};
  fill_normal(session, normal, kForwardNoise, batch.options.step, items);
  return normal.value;
}

at::Tensor mixed(const PairBatch& batch, const double* sample, const char* sample_name, const at::Tensor& normal_RCHW,
                 const double* scale, const char* scale_name) {
  const at::Tensor of_sample = column(batch, sample, sample_name), of_normal = column(batch, scale, scale_name);
  return batch.latents_RCHW.mul(of_sample).add_(normal_RCHW.mul(of_normal));
}

void add_noise(Session& session, PairBatch& batch, const smpo_forward_noise& noise) {
  require_clean_latents(batch);
  std::vector<int64_t> items = batch.options.items;
  if (noise.per_image == 0 && batch.options.images == 2) {
    const auto pairs = static_cast<std::ptrdiff_t>(batch.pairs());
    std::copy(items.begin(), items.begin() + pairs, items.begin() + pairs);
  }
  const at::Tensor normal = forward_normal(session, batch, items);
  at::Tensor noised = mixed(batch, noise.sample, "noise.sample", normal, noise.noise, "noise.noise");
  batch.target_RCHW =
      mixed(batch, noise.target_sample, "noise.target_sample", normal, noise.target_noise, "noise.target_noise");
  batch.noised_RCHW = std::move(noised);
}

void read(Session& session, const PairBatch& batch, smpo_pair_results& results) {
  const at::Tensor host = batch.results_on_host.defined() ? batch.results_on_host : download(session, batch.results);
  const auto* values = host.const_data_ptr<double>();
  const int64_t pairs = batch.pairs();
  std::copy_n(values, 4 * pairs, results.errors);
  std::copy_n(values + 4 * pairs, pairs, results.logits);
  std::copy_n(values + 5 * pairs, pairs, results.losses);
  results.loss_sum = values[6 * pairs];
}

std::shared_ptr<Tensor> pair_batch_tensor(const PairBatch& batch, int32_t which) {
  const at::Tensor* value = nullptr;
  switch (which) {
    case SMPO_PAIR_BATCH_NOISED:
      value = &batch.noised_RCHW;
      break;
    case SMPO_PAIR_BATCH_TARGET:
      value = &batch.target_RCHW;
      break;
    case SMPO_PAIR_BATCH_PREDICTION:
      value = &batch.prediction_RCHW;
      break;
    case SMPO_PAIR_BATCH_REFERENCE_PREDICTION:
      value = &batch.reference_prediction_RCHW;
      break;
    default:
      fail(SMPO_INTERNAL, "which: ", which);
  }
  if (!value->defined()) {
    const bool prediction = which >= SMPO_PAIR_BATCH_PREDICTION;
    fail(SMPO_INVALID_ARGUMENT, "which: expected a tensor that the batch has, got ", which, ", ",
         prediction ? "though predictions were not to be kept" : "though it was not noised, inverted or set");
  }
  return hold(value->clone());
}

}  // namespace smpo::engine
