#include <vector>

#include "c_api/guard.h"
#include "c_api/unet_tensors.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "engine/tensor.h"

using smpo::c_api::guarded;
using smpo::c_api::optional_tensor;
using smpo::c_api::require_pointer;
using smpo::c_api::require_range;
using smpo::c_api::require_struct;
using smpo::engine::fail;
using smpo::engine::require_finite;
using smpo::engine::SamplerOptions;
using smpo::engine::Session;
using smpo::engine::UNetTensors;

namespace {

void decode(const smpo_sampler_plan* plan, SamplerOptions& options) {
  require_struct(plan, "plan");
  require_range(plan->steps, 1, SMPO_SAMPLER_MAX_STEPS, "plan.steps");
  require_pointer(plan->rows, "plan.rows");
  for (uint32_t i = 0; i < plan->steps; ++i) {
    const smpo_sampler_row& row = plan->rows[i];
    if (row.size != sizeof row) {
      fail(SMPO_INVALID_ARGUMENT, "plan.rows[", i, "].size: expected ", sizeof row, ", got ", row.size);
    }
    require_range(row.saves, 0, 1, "plan.rows.saves");
    require_range(row.keeps, 0, 1, "plan.rows.keeps");
    require_range(row.drops, 0, SMPO_SAMPLER_MAX_HISTORY - 1, "plan.rows.drops");
  }
  options.initial_noise_scale = plan->initial_noise_scale;
  options.rows.assign(plan->rows, plan->rows + plan->steps);
}

}  // namespace

SMPO_EXPORT smpo_status smpo_sampler_open(smpo_session session, smpo_model model, const smpo_sampler_plan* plan,
                                          const smpo_sampler_inputs* inputs, smpo_sampler* sampler, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    auto unet = s.model(model);
    SamplerOptions options;
    decode(plan, options);
    require_struct(inputs, "inputs");
    require_range(inputs->negative_adapters, 0, 1, "inputs.negative_adapters");
    require_pointer(sampler, "sampler");
    options.guidance_scale = inputs->guidance_scale;
    options.guidance_rescale = inputs->guidance_rescale;
    require_finite(inputs->guidance_scale, "inputs.guidance_scale");
    const bool guided = inputs->guidance_scale != 1.0;
    if (!(inputs->guidance_rescale >= 0 && inputs->guidance_rescale <= (guided ? 1 : 0))) {
      fail(SMPO_INVALID_ARGUMENT, "inputs.guidance_rescale: expected ", guided ? "0..1" : "0 without guidance",
           ", got ", inputs->guidance_rescale);
    }
    const UNetTensors prompt{
        .sample = s.tensor(inputs->noise, "inputs.noise"),
        .timesteps = nullptr,
        .encoder_hidden_states = s.tensor(inputs->encoder_hidden_states, "inputs.encoder_hidden_states"),
        .text_embeds = optional_tensor(s, inputs->text_embeds, "inputs.text_embeds"),
        .time_ids = optional_tensor(s, inputs->time_ids, "inputs.time_ids")};
    UNetTensors negative;
    if (guided) {
      negative.encoder_hidden_states =
          s.tensor(inputs->negative_encoder_hidden_states, "inputs.negative_encoder_hidden_states");
      negative.text_embeds = optional_tensor(s, inputs->negative_text_embeds, "inputs.negative_text_embeds");
      negative.time_ids = optional_tensor(s, inputs->negative_time_ids, "inputs.negative_time_ids");
    } else if (inputs->negative_encoder_hidden_states != 0 || inputs->negative_text_embeds != 0 ||
               inputs->negative_time_ids != 0) {
      fail(SMPO_INVALID_ARGUMENT, "inputs: expected no negative tensors, since guidance_scale is 1");
    }
    if (inputs->negative_model != 0) {
      options.negative_model = s.model(inputs->negative_model, "inputs.negative_model");
    }
    options.negative_adapters = inputs->negative_adapters == 1;
    if (inputs->items != nullptr) {
      const auto spec = smpo::engine::describe(*prompt.sample);
      if (!spec.shape().empty()) options.items.assign(inputs->items, inputs->items + spec.shape()[0]);
    }
    *sampler = s.adopt(smpo::engine::open_sampler(std::move(unet), std::move(options), prompt, negative));
  });
}

SMPO_EXPORT smpo_status smpo_sampler_step(smpo_session session, smpo_sampler sampler, uint32_t steps,
                                          smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { smpo::engine::step(s, *s.sampler(sampler), steps); });
}

SMPO_EXPORT smpo_status smpo_sampler_latents(smpo_session session, smpo_sampler sampler, smpo_tensor* latents,
                                             smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto run = s.sampler(sampler);
    require_pointer(latents, "latents");
    *latents = s.adopt(smpo::engine::latents(*run));
  });
}

SMPO_EXPORT smpo_status smpo_sampler_fork(smpo_session session, smpo_sampler sampler,
                                          const smpo_sampler_candidates* candidates, smpo_tensor* clean,
                                          smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto run = s.sampler(sampler);
    require_struct(candidates, "candidates");
    require_range(candidates->candidates, 1, SMPO_SAMPLER_MAX_CANDIDATES, "candidates.candidates");
    require_pointer(candidates->items, "candidates.items");
    require_finite(candidates->clean_sample, "candidates.clean_sample");
    require_finite(candidates->clean_output, "candidates.clean_output");
    require_pointer(clean, "clean");
    const auto rows = static_cast<size_t>(candidates->candidates * smpo::engine::images(*run));
    *clean = s.adopt(smpo::engine::fork(s, *run,
                                        {.items = {candidates->items, candidates->items + rows},
                                         .clean_sample = candidates->clean_sample,
                                         .clean_output = candidates->clean_output}));
  });
}

SMPO_EXPORT smpo_status smpo_sampler_candidate(smpo_session session, smpo_sampler sampler, const int32_t* which,
                                               smpo_tensor* latents, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto run = s.sampler(sampler);
    require_pointer(which, "which");
    require_pointer(latents, "latents");
    *latents = s.adopt(smpo::engine::candidate(*run, {which, static_cast<size_t>(smpo::engine::images(*run))}));
  });
}

SMPO_EXPORT smpo_status smpo_sampler_move(smpo_session session, smpo_sampler sampler, const int32_t* which,
                                          smpo_tensor move, smpo_tensor* clean, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto run = s.sampler(sampler);
    require_pointer(which, "which");
    const auto moves = s.tensor(move, "move");
    require_pointer(clean, "clean");
    const auto images = static_cast<size_t>(smpo::engine::images(*run));
    *clean = s.adopt(smpo::engine::add_moved(s, *run, {which, images}, *moves));
  });
}

SMPO_EXPORT smpo_status smpo_sampler_pairs(smpo_session session, smpo_sampler sampler, const int32_t* winner,
                                           const int32_t* loser, smpo_tensor* noised, smpo_tensor* target,
                                           smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto run = s.sampler(sampler);
    require_pointer(winner, "winner");
    require_pointer(loser, "loser");
    require_pointer(noised, "noised");
    require_pointer(target, "target");
    const auto images = static_cast<size_t>(smpo::engine::images(*run));
    const auto pairs = smpo::engine::pairs_of(*run, {winner, images}, {loser, images});
    *noised = s.adopt(pairs.noised);
    *target = s.adopt(pairs.target);
  });
}

SMPO_EXPORT smpo_status smpo_sampler_select(smpo_session session, smpo_sampler sampler, const int32_t* chosen,
                                            smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto run = s.sampler(sampler);
    require_pointer(chosen, "chosen");
    smpo::engine::select(*run, {chosen, static_cast<size_t>(smpo::engine::images(*run))});
  });
}

SMPO_EXPORT smpo_status smpo_sampler_close(smpo_session session, smpo_sampler sampler, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { s.close_sampler(sampler); });
}
