#include <utility>

#include "c_api/guard.h"
#include "c_api/unet_tensors.h"
#include "engine/pair_batch.h"
#include "engine/session.h"
#include "engine/tensor.h"

using smpo::c_api::guarded;
using smpo::c_api::optional_tensor;
using smpo::c_api::require_pointer;
using smpo::c_api::require_range;
using smpo::c_api::require_struct;
using smpo::engine::fail;
using smpo::engine::PairBatchOptions;
using smpo::engine::require_all_finite;
using smpo::engine::require_finite;
using smpo::engine::Session;
using smpo::engine::UNetTensors;

namespace {

void check(const smpo_pair_loss* loss) {
  require_struct(loss, "loss");
  require_range(loss->kind, 1, SMPO_PAIR_LOSS_KINDS, "loss.kind");
  require_range(loss->safeguard, 0, 1, "loss.safeguard");
  require_finite(loss->strength, "loss.strength");
  require_all_finite(loss->parameters, SMPO_MAX_LOSS_PARAMETERS, "loss.parameters");
  require_finite(loss->safeguard_mu, "loss.safeguard_mu");
  require_finite(loss->budget_weight, "loss.budget_weight");
  require_finite(loss->budget, "loss.budget");
}

void check(const smpo_micro_batch* micro_batch, int64_t batch_pairs) {
  require_struct(micro_batch, "micro_batch");
  require_range(micro_batch->first_pair, 0, batch_pairs - 1, "micro_batch.first_pair");
  require_range(micro_batch->pairs, 1, batch_pairs - micro_batch->first_pair, "micro_batch.pairs");
  require_range(micro_batch->backward, 0, 1, "micro_batch.backward");
  require_finite(micro_batch->gradient_scale, "micro_batch.gradient_scale");
  require_all_finite(micro_batch->label, micro_batch->pairs, "micro_batch.label");
  require_all_finite(micro_batch->logit_scale, micro_batch->pairs, "micro_batch.logit_scale");
  require_all_finite(micro_batch->weight, micro_batch->pairs, "micro_batch.weight");
  require_all_finite(micro_batch->mean_gain, 1, "micro_batch.mean_gain");
  require_all_finite(micro_batch->error_scale, micro_batch->pairs, "micro_batch.error_scale");
}

void check(const smpo_inversion_plan* plan) {
  require_struct(plan, "plan");
  require_range(plan->inversion_batch, 1, 65535, "plan.inversion_batch");
  require_pointer(plan->row_start, "plan.row_start");
  require_pointer(plan->timestep, "plan.timestep");
  require_pointer(plan->sample, "plan.sample");
  require_pointer(plan->output, "plan.output");
  require_pointer(plan->noise, "plan.noise");
  require_pointer(plan->averages, "plan.averages");
  require_pointer(plan->target_sample, "plan.target_sample");
  require_pointer(plan->target_clean, "plan.target_clean");
}

}  // namespace

SMPO_EXPORT smpo_status smpo_posterior_sample(smpo_session session, smpo_tensor mean, smpo_tensor logvar, double scale,
                                              uint32_t step, const int64_t* items, uint64_t count, smpo_tensor* latents,
                                              smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto mean_tensor = s.tensor(mean, "mean");
    const auto logvar_tensor = s.tensor(logvar, "logvar");
    smpo::c_api::require_memory(items, count * sizeof(int64_t), "items");
    require_pointer(latents, "latents");
    *latents = s.adopt(smpo::engine::posterior_sample(s, *mean_tensor, *logvar_tensor, scale, step, {items, count}));
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_open(smpo_session session, const smpo_pair_batch_inputs* inputs,
                                             smpo_pair_batch* batch, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    require_struct(inputs, "inputs");
    require_range(inputs->pairs, 1, SMPO_MAX_BATCH_PAIRS, "inputs.pairs");
    require_range(inputs->keep_predictions, 0, 1, "inputs.keep_predictions");
    require_range(inputs->single_images, 0, 1, "inputs.single_images");
    require_pointer(inputs->timesteps, "inputs.timesteps");
    require_pointer(inputs->items, "inputs.items");
    require_pointer(batch, "batch");
    const int64_t images = inputs->single_images == 1 ? 1 : 2;
    const size_t rows = static_cast<size_t>(images) * inputs->pairs;
    require_finite(inputs->guidance_scale, "inputs.guidance_scale");
    require_range(inputs->shared_sample, 0, inputs->single_images == 1 ? 0 : 1, "inputs.shared_sample");
    PairBatchOptions options{.pairs = inputs->pairs,
                             .images = images,
                             .step = inputs->step,
                             .keep_predictions = inputs->keep_predictions == 1,
                             .timesteps = {inputs->timesteps, inputs->timesteps + rows},
                             .items = {inputs->items, inputs->items + rows},
                             .guidance_scale = inputs->guidance_scale,
                             .shared_sample = inputs->shared_sample == 1};
    const UNetTensors tensors{
        .sample = optional_tensor(s, inputs->latents, "inputs.latents"),
        .timesteps = nullptr,
        .encoder_hidden_states = s.tensor(inputs->encoder_hidden_states, "inputs.encoder_hidden_states"),
        .text_embeds = optional_tensor(s, inputs->text_embeds, "inputs.text_embeds"),
        .time_ids = optional_tensor(s, inputs->time_ids, "inputs.time_ids")};
    UNetTensors negative;
    if (inputs->guidance_scale != 0) {
      negative.encoder_hidden_states =
          s.tensor(inputs->negative_encoder_hidden_states, "inputs.negative_encoder_hidden_states");
      negative.text_embeds = optional_tensor(s, inputs->negative_text_embeds, "inputs.negative_text_embeds");
    } else if (inputs->negative_encoder_hidden_states != 0 || inputs->negative_text_embeds != 0) {
      fail(SMPO_INVALID_ARGUMENT, "inputs: expected no negative tensors, since guidance_scale is 0");
    }
    *batch = s.adopt(smpo::engine::open_pair_batch(std::move(options), tensors, negative));
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_set(smpo_session session, smpo_pair_batch batch, smpo_tensor noised,
                                            smpo_tensor target, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto pairs = s.pair_batch(batch);
    const auto noised_tensor = s.tensor(noised, "noised");
    const auto target_tensor = s.tensor(target, "target");
    smpo::engine::set(*pairs, *noised_tensor, *target_tensor);
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_add_noise(smpo_session session, smpo_pair_batch batch,
                                                  const smpo_forward_noise* noise, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto pairs = s.pair_batch(batch);
    require_struct(noise, "noise");
    require_range(noise->per_image, 0, 1, "noise.per_image");
    require_pointer(noise->sample, "noise.sample");
    require_pointer(noise->noise, "noise.noise");
    require_pointer(noise->target_sample, "noise.target_sample");
    require_pointer(noise->target_noise, "noise.target_noise");
    smpo::engine::add_noise(s, *pairs, *noise);
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_invert(smpo_session session, smpo_pair_batch batch, smpo_model model,
                                               const smpo_inversion_plan* plan, smpo_inversion_report* report,
                                               smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto pairs = s.pair_batch(batch);
    const auto unet = s.model(model);
    check(plan);
    if (report != nullptr) require_struct(report, "report");
    const smpo_inversion_report result = smpo::engine::invert(s, *pairs, *unet, *plan);
    if (report != nullptr) *report = result;
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_rollout(smpo_session session, smpo_pair_batch batch, smpo_model model,
                                                const smpo_inversion_plan* plan, const smpo_rollout* rollout,
                                                smpo_inversion_report* report, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto pairs = s.pair_batch(batch);
    const auto unet = s.model(model);
    check(plan);
    require_struct(rollout, "rollout");
    require_pointer(rollout->start_sample, "rollout.start_sample");
    require_pointer(rollout->start_noise, "rollout.start_noise");
    require_pointer(rollout->target_output, "rollout.target_output");
    require_pointer(rollout->target_noise, "rollout.target_noise");
    UNetTensors prompt;
    prompt.encoder_hidden_states = s.tensor(rollout->encoder_hidden_states, "rollout.encoder_hidden_states");
    prompt.text_embeds = optional_tensor(s, rollout->text_embeds, "rollout.text_embeds");
    if (report != nullptr) require_struct(report, "report");
    const smpo_inversion_report result = smpo::engine::roll_out(s, *pairs, *unet, *plan, *rollout, prompt);
    if (report != nullptr) *report = result;
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_accumulate(smpo_session session, smpo_pair_batch batch, smpo_model policy,
                                                   smpo_model reference, const smpo_pair_loss* loss,
                                                   const smpo_micro_batch* micro_batch, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto pairs = s.pair_batch(batch);
    const auto trained = s.model(policy, "policy");
    const auto frozen = reference == 0 ? nullptr : s.model(reference, "reference");
    check(loss);
    check(micro_batch, smpo::engine::pairs(*pairs));
    smpo::engine::accumulate(s, pairs, *trained, frozen.get(), *loss, *micro_batch);
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_read(smpo_session session, smpo_pair_batch batch, smpo_pair_results* results,
                                             smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto pairs = s.pair_batch(batch);
    require_struct(results, "results");
    const int64_t own = smpo::engine::pairs(*pairs);
    require_range(results->pairs, own, own, "results.pairs");
    require_pointer(results->errors, "results.errors");
    require_pointer(results->logits, "results.logits");
    require_pointer(results->losses, "results.losses");
    smpo::engine::read(s, *pairs, *results);
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_tensor(smpo_session session, smpo_pair_batch batch, int32_t which,
                                               smpo_tensor* tensor, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto pairs = s.pair_batch(batch);
    require_range(which, SMPO_PAIR_BATCH_NOISED, SMPO_PAIR_BATCH_REFERENCE_PREDICTION, "which");
    require_pointer(tensor, "tensor");
    *tensor = s.adopt(smpo::engine::pair_batch_tensor(*pairs, which));
  });
}

SMPO_EXPORT smpo_status smpo_pair_batch_close(smpo_session session, smpo_pair_batch batch, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { s.close_pair_batch(batch); });
}
