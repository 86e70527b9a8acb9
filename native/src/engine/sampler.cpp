#include "engine/sampler.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/std.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "engine/error.h"
#include "engine/failure.h"
#include "engine/model_value.h"
#include "engine/session.h"
#include "engine/tensor.h"
#include "engine/torch_tensor.h"

// Legend: B images, C channels, H W size of a latent.
namespace smpo::engine {

namespace {

// A network and the conditions of its predictions. Sample and timesteps are set at every step.
struct Side {
  std::shared_ptr<Model> unet;
  bool adapters;
  models::UNet::Inputs conditions;
};

// Candidates for the next row, between fork and select: K tensors each.
struct Candidates {
  double clean_sample, clean_output;  // coefficients of a candidate's clean latents
  std::vector<at::Tensor> noise_BCHW;
  std::vector<at::Tensor> latents_BCHW;
  std::vector<at::Tensor> output_BCHW;  // guided predictions of the row after; undefined on the last row
};

}  // namespace

struct Sampler {
  SamplerOptions options;
  // With guidance but without a negative side of its own: B rows of the negative prompt, then B rows of the prompt.
  Side prompt;
  std::optional<Side> negative;

  size_t next = 0;
  at::Tensor latents_BCHW;  // f32
  at::Tensor saved_BCHW = {};
  std::deque<at::Tensor> history = {};  // most recent first

  at::Tensor output_BCHW = {};  // guided prediction of the next row; undefined until it is needed
  std::optional<Candidates> candidates = {};

  bool guided() const { return options.guidance_scale != 1.0; }
};

namespace {

// Purpose of the random numbers that steps add; the same number as in org.smpo.random.Purpose.
constexpr uint32_t kSamplerNoise = 8;

// Checks the plan: numbers are finite, and each row reads only entries that exist by then.
void check_rows(const SamplerOptions& options) {
  require_finite(options.initial_noise_scale, "plan.initial_noise_scale");
  size_t entries = 0;
  bool saved = false;
  for (size_t i = 0; i < options.rows.size(); ++i) {
    const smpo_sampler_row& row = options.rows[i];
    const std::pair<const char*, double> numbers[] = {{"timestep", row.timestep},
                                                      {"input_scale", row.input_scale},
                                                      {"history_sample", row.history_sample},
                                                      {"history_output", row.history_output},
                                                      {"sample", row.sample},
                                                      {"saved", row.saved},
                                                      {"noise", row.noise},
                                                      {"history[0]", row.history[0]},
                                                      {"history[1]", row.history[1]},
                                                      {"history[2]", row.history[2]},
                                                      {"history[3]", row.history[3]}};
    for (const auto& [name, number] : numbers) {
      if (!std::isfinite(number)) {
        fail(SMPO_INVALID_ARGUMENT, "plan.rows[", i, "].", name, ": expected a finite number, got ", number);
      }
    }
    for (size_t back = entries + 1; back < SMPO_SAMPLER_MAX_HISTORY; ++back) {
      if (row.history[back] != 0) {
        fail(SMPO_INVALID_ARGUMENT, "plan.rows[", i, "].history[", back, "]: expected 0, since only ", entries + 1,
             " entries exist then, got ", row.history[back]);
      }
    }
    if (row.saved != 0 && !saved) {
      fail(SMPO_INVALID_ARGUMENT, "plan.rows[", i, "].saved: expected 0, since no row before it saves, got ",
           row.saved);
    }
    if (row.noise != 0 && options.items.empty()) {
      fail(SMPO_INVALID_ARGUMENT, "inputs.items: expected items, since plan.rows[", i, "].noise is ", row.noise,
           ", got null");
    }
    if (static_cast<size_t>(row.drops) > entries) {
      fail(SMPO_INVALID_ARGUMENT, "plan.rows[", i, "].drops: expected at most the ", entries,
           " older entries that exist then, got ", row.drops);
    }
    entries = std::min<size_t>(entries, SMPO_SAMPLER_MAX_HISTORY) - row.drops + row.keeps;
    if (row.saves == 1) saved = true;
  }
}

at::Tensor joined(const at::Tensor& negative, const at::Tensor& positive, const char* name) {
  if (negative.defined() != positive.defined()) {
    fail(SMPO_INVALID_ARGUMENT, "inputs.negative_", name, ": expected ", positive.defined() ? "a tensor" : "none",
         " as for inputs.", name);
  }
  if (!positive.defined()) return positive;
  if (negative.sizes() != positive.sizes()) {
    fail(SMPO_SHAPE_MISMATCH, "inputs.negative_", name, ": expected ", shape_text(positive), ", got ",
         shape_text(negative));
  }
  return at::cat({negative, positive});
}

at::Tensor guided_prediction(const SamplerOptions& options, const at::Tensor& negative, const at::Tensor& positive) {
  at::Tensor guided = negative.add(positive.sub(negative).mul_(options.guidance_scale));
  const double rescale = options.guidance_rescale;
  if (rescale == 0) return guided;
  // Guidance increases the standard deviation of a prediction, which over-exposes the image. Rescaling moves it back
  // towards that of the prompt's own prediction.
  const auto spread = [](const at::Tensor& x_BCHW) { return at::std(x_BCHW, {1, 2, 3}, /*unbiased=*/true, true); };
  const at::Tensor rescaled = guided.mul(spread(positive).div(spread(guided)));
  return rescaled.mul_(rescale).add_(guided, 1.0 - rescale);
}

at::Tensor predict(Session& session, const Side& side, const at::Tensor& sample_BCHW, double timestep) {
  models::UNet::Inputs inputs = side.conditions;
  inputs.sample_BCHW = sample_BCHW.to(require_unet(*side.unet).weights().options().precision);
  inputs.timesteps_B = at::full({sample_BCHW.size(0)}, timestep, sample_BCHW.options());
  return unet_prediction(session, *side.unet, inputs, side.adapters);
}

at::Tensor predict(Session& session, const Sampler& sampler, const at::Tensor& latents_BCHW,
                   const smpo_sampler_row& row) {
  const at::Tensor sample = latents_BCHW.mul(row.input_scale);
  if (!sampler.guided()) return predict(session, sampler.prompt, sample, row.timestep);
  if (sampler.negative) {
    const at::Tensor negative = predict(session, *sampler.negative, sample, row.timestep);
    return guided_prediction(sampler.options, negative, predict(session, sampler.prompt, sample, row.timestep));
  }
  const std::vector<at::Tensor> sides =
      predict(session, sampler.prompt, at::cat({sample, sample}), row.timestep).chunk(2);
  return guided_prediction(sampler.options, sides[0], sides[1]);
}

// The network's output for the row: the one that is kept, or a new one.
at::Tensor output_of(Session& session, const Sampler& sampler, const smpo_sampler_row& row) {
  return sampler.output_BCHW.defined() ? sampler.output_BCHW : predict(session, sampler, sampler.latents_BCHW, row);
}

// What the row adds to the history.
at::Tensor entry_of(const at::Tensor& x, const at::Tensor& output, const smpo_sampler_row& row) {
  if (row.history_sample == 0 && row.history_output == 1) return output;
  return x.mul(row.history_sample).add_(output, row.history_output);
}

// Takes one row of the plan. Changes the sampler only after everything has been computed, so a row that throws leaves
// it unchanged.
void take_row(Session& session, Sampler& sampler) {
  const smpo_sampler_row& row = sampler.options.rows[sampler.next];
  const at::Tensor& x = sampler.latents_BCHW;
  at::Tensor entry = entry_of(x, output_of(session, sampler, row), row);
  std::deque<at::Tensor> history = sampler.history;
  history.push_front(std::move(entry));

  at::Tensor next = x.mul(row.sample);
  if (row.saved != 0) next.add_(sampler.saved_BCHW, row.saved);
  for (size_t back = 0; back < SMPO_SAMPLER_MAX_HISTORY; ++back) {
    if (row.history[back] != 0) next.add_(history[back], row.history[back]);
  }
  if (row.noise != 0) {
    Tensor noise{at::empty_like(x)};
    fill_normal(session, noise, kSamplerNoise, static_cast<uint32_t>(sampler.next), sampler.options.items);
    next.add_(noise.value, row.noise);
  }

  history.erase(history.begin() + 1, history.begin() + 1 + row.drops);
  if (row.keeps == 0) {
    history.pop_front();
  } else if (history.size() > SMPO_SAMPLER_MAX_HISTORY) {
    history.pop_back();
  }
  sampler.history = std::move(history);
  if (row.saves == 1) sampler.saved_BCHW = x;
  sampler.output_BCHW.reset();
  sampler.latents_BCHW = std::move(next);
  ++sampler.next;
}

void require_no_candidates(const Sampler& sampler) {
  if (!sampler.candidates) return;
  fail(SMPO_INVALID_ARGUMENT, "sampler: expected smpo_sampler_select first, since candidates await a choice");
}

const Candidates& require_candidates(const Sampler& sampler) {
  if (sampler.candidates) return *sampler.candidates;
  fail(SMPO_INVALID_ARGUMENT, "sampler: expected smpo_sampler_fork first, since there are no candidates");
}

// Requires rows between which nothing but the latents is carried over.
void require_one_step(const std::vector<smpo_sampler_row>& rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const smpo_sampler_row& row = rows[i];
    const bool other =
        std::any_of(row.history + 1, row.history + SMPO_SAMPLER_MAX_HISTORY, [](double weight) { return weight != 0; });
    if (row.saves != 0 || row.saved != 0 || row.drops != 0 || other || row.input_scale != 1) {
      fail(SMPO_UNSUPPORTED, "plan.rows[", i, "]: expected a rule of one step with input_scale 1, such as DDIM's, ",
           "since candidates are asked for");
    }
  }
}

double output_coefficient(const smpo_sampler_row& row) { return row.history[0] * row.history_output; }

// Adds the prediction of the row after for candidates that have their latents, and returns their clean latents.
at::Tensor look_ahead(Session& session, const Sampler& sampler, Candidates& candidates) {
  const at::Tensor& next = candidates.latents_BCHW.back();
  const std::vector<smpo_sampler_row>& rows = sampler.options.rows;
  if (sampler.next + 1 == rows.size()) return next;
  session.stop_if_cancelled();
  at::Tensor output = predict(session, sampler, next, rows[sampler.next + 1]);
  at::Tensor clean = next.mul(candidates.clean_sample).add_(output, candidates.clean_output);
  candidates.output_BCHW.push_back(std::move(output));
  return clean;
}

// Row b of the result is row b of tensor which[b].
at::Tensor gathered(const std::vector<at::Tensor>& tensors, std::span<const int32_t> which) {
  std::vector<at::Tensor> rows;
  for (size_t b = 0; b < which.size(); ++b) {
    rows.push_back(tensors[static_cast<size_t>(which[b])].narrow(0, static_cast<int64_t>(b), 1));
  }
  return at::cat(rows);
}

void require_candidate(int32_t candidate, int32_t first, size_t count, const char* name, size_t image) {
  if (candidate >= first && candidate < static_cast<int32_t>(count)) return;
  fail(SMPO_INVALID_ARGUMENT, name, "[", image, "]: expected ", first, "..", count - 1, ", got ", candidate);
}

struct Conditions {
  at::Tensor encoder_hidden_states;
  at::Tensor text_embeds;
  at::Tensor time_ids;
};

Conditions conditions_of(const UNetTensors& tensors) {
  return {value_of(tensors.encoder_hidden_states), value_of(tensors.text_embeds), value_of(tensors.time_ids)};
}

Conditions joined(const Conditions& negative, const Conditions& positive) {
  return {joined(negative.encoder_hidden_states, positive.encoder_hidden_states, "encoder_hidden_states"),
          joined(negative.text_embeds, positive.text_embeds, "text_embeds"),
          joined(negative.time_ids, positive.time_ids, "time_ids")};
}

// Checks the inputs against the network.
Side open_side(std::shared_ptr<Model> unet, bool adapters, const at::Tensor& sample, const Conditions& conditions) {
  const models::UNet& network = require_unet(*unet);
  const int64_t rows = sample.dim() > 0 ? sample.size(0) : 0;
  models::UNet::Inputs inputs =
      unet_inputs(network, sample, at::zeros({rows}, sample.options().dtype(at::kFloat)),
                  conditions.encoder_hidden_states, conditions.text_embeds, conditions.time_ids);
  network.check_inputs(inputs);
  inputs.sample_BCHW = tape::Var();
  inputs.timesteps_B = at::Tensor();
  return {.unet = std::move(unet), .adapters = adapters, .conditions = std::move(inputs)};
}

// Returns the network of the negative side; null without guidance, or if the model predicts both sides in one batch.
std::shared_ptr<Model> negative_network(const std::shared_ptr<Model>& unet, const SamplerOptions& options) {
  const bool guided = options.guidance_scale != 1.0;
  if (options.negative_model != nullptr) {
    if (!guided) {
      fail(SMPO_INVALID_ARGUMENT, "inputs.negative_model: expected 0 without guidance (guidance_scale 1), got a model");
    }
    if (options.negative_adapters) {
      fail(SMPO_INVALID_ARGUMENT, "inputs.negative_adapters: expected 0 with a negative model, got 1");
    }
    const int64_t channels = require_denoiser(*options.negative_model, "inputs.negative_model").spec().in_channels;
    const int64_t own = require_unet(*unet).spec().in_channels;
    if (channels != own) {
      fail(SMPO_SHAPE_MISMATCH, "inputs.negative_model: expected ", own, " channels like the model, got ", channels);
    }
    return options.negative_model;
  }
  if (!options.negative_adapters) return nullptr;
  if (!guided) {
    fail(SMPO_INVALID_ARGUMENT, "inputs.negative_adapters: expected 0 without guidance (guidance_scale 1), got 1");
  }
  if (unet->weights().adapters() == nullptr) {
    fail(SMPO_INVALID_ARGUMENT, "inputs.negative_adapters: expected 0, since the model has no adapters, got 1");
  }
  return unet;
}

}  // namespace

std::shared_ptr<Sampler> open_sampler(std::shared_ptr<Model> unet, SamplerOptions options, const UNetTensors& prompt,
                                      const UNetTensors& negative) {
  require_denoiser(*unet, "model");
  check_rows(options);
  const std::shared_ptr<Model> other = negative_network(unet, options);
  const bool both_at_once = options.guidance_scale != 1.0 && other == nullptr;
  const at::Tensor& noise = prompt.sample->value;
  const int64_t batch = noise.dim() > 0 ? noise.size(0) : 0;
  if (!options.items.empty() && static_cast<int64_t>(options.items.size()) != batch) {
    fail(SMPO_INTERNAL, "sampler: ", options.items.size(), " items for ", batch, " images");
  }
  const Conditions wanted = conditions_of(prompt), unwanted = conditions_of(negative);
  Side prompt_side =
      open_side(unet, /*adapters=*/!options.negative_adapters, both_at_once ? at::cat({noise, noise}) : noise,
                both_at_once ? joined(unwanted, wanted) : wanted);
  std::optional<Side> negative_side;
  if (other != nullptr) {
    in_context([] { return std::string("negative side"); },
               [&] { negative_side = open_side(other, /*adapters=*/true, noise, unwanted); });
  }
  const double scale = options.initial_noise_scale;
  return std::make_shared<Sampler>(Sampler{.options = std::move(options),
                                           .prompt = std::move(prompt_side),
                                           .negative = std::move(negative_side),
                                           .latents_BCHW = noise.to(at::kFloat).mul(scale)});
}

void step(Session& session, Sampler& sampler, uint32_t steps) {
  require_no_candidates(sampler);
  const size_t left = sampler.options.rows.size() - sampler.next;
  if (steps > left) fail(SMPO_INVALID_ARGUMENT, "steps: expected at most the ", left, " that are left, got ", steps);
  for (uint32_t i = 0; i < steps; ++i) {
    session.stop_if_cancelled();
    in_context(
        [&] {
          return "row " + std::to_string(sampler.next + 1) + " of " + std::to_string(sampler.options.rows.size());
        },
        [&] { take_row(session, sampler); });
  }
}

int64_t images(const Sampler& sampler) { return sampler.latents_BCHW.size(0); }

std::shared_ptr<Tensor> fork(Session& session, Sampler& sampler, const CandidateOptions& options) {
  require_no_candidates(sampler);
  const std::vector<smpo_sampler_row>& rows = sampler.options.rows;
  require_one_step(rows);
  if (sampler.next == rows.size()) fail(SMPO_INVALID_ARGUMENT, "sampler: expected a row that is left, got none");
  const smpo_sampler_row& row = rows[sampler.next];
  if (row.noise == 0 || output_coefficient(row) == 0) {
    fail(SMPO_INVALID_ARGUMENT, "plan.rows[", sampler.next, "]: expected noise and history[0] history_output other ",
         "than 0, since candidates are asked for, got ", row.noise, " and ", output_coefficient(row));
  }
  const at::Tensor& x = sampler.latents_BCHW;
  session.stop_if_cancelled();
  at::Tensor output = output_of(session, sampler, row);
  const at::Tensor entry = entry_of(x, output, row);
  // The operations of take_row, so that one candidate with the sampler's own items has the bits of a plain step.
  const at::Tensor mean = x.mul(row.sample).add_(entry, row.history[0]);
  const auto batch = static_cast<size_t>(x.size(0));
  Candidates made{.clean_sample = options.clean_sample,
                  .clean_output = options.clean_output,
                  .noise_BCHW = {},
                  .latents_BCHW = {},
                  .output_BCHW = {}};
  std::vector<at::Tensor> clean;
  for (size_t first = 0; first < options.items.size(); first += batch) {
    Tensor noise{at::empty_like(x)};
    fill_normal(session, noise, kSamplerNoise, static_cast<uint32_t>(sampler.next),
                std::span(options.items).subspan(first, batch));
    made.noise_BCHW.push_back(noise.value);
    made.latents_BCHW.push_back(mean.add(noise.value, row.noise));
    clean.push_back(look_ahead(session, sampler, made));
  }
  std::shared_ptr<Tensor> result = hold(at::cat(clean));
  sampler.output_BCHW = std::move(output);
  sampler.candidates = std::move(made);
  return result;
}

std::shared_ptr<Tensor> candidate(const Sampler& sampler, std::span<const int32_t> which) {
  const Candidates& candidates = require_candidates(sampler);
  for (size_t b = 0; b < which.size(); ++b) require_candidate(which[b], 0, candidates.latents_BCHW.size(), "which", b);
  return hold(gathered(candidates.latents_BCHW, which));
}

std::shared_ptr<Tensor> add_moved(Session& session, Sampler& sampler, std::span<const int32_t> which,
                                  const Tensor& move) {
  const std::shared_ptr<Tensor> from = candidate(sampler, which);
  require_f32(move.value, "move");
  if (move.value.sizes() != sampler.latents_BCHW.sizes()) {
    fail(SMPO_SHAPE_MISMATCH, "move: expected ", shape_text(sampler.latents_BCHW), " as the latents, got ",
         shape_text(move.value));
  }
  Candidates more = *sampler.candidates;
  if (more.latents_BCHW.size() == SMPO_SAMPLER_MAX_CANDIDATES) {
    fail(SMPO_INVALID_ARGUMENT, "sampler: expected fewer than ", int{SMPO_SAMPLER_MAX_CANDIDATES},
         " candidates to add one, got as many");
  }
  const double noise = sampler.options.rows[sampler.next].noise;
  more.noise_BCHW.push_back(gathered(more.noise_BCHW, which).add_(move.value, 1.0 / noise));
  more.latents_BCHW.push_back(from->value.add(move.value));
  std::shared_ptr<Tensor> clean = hold(look_ahead(session, sampler, more).clone());
  sampler.candidates = std::move(more);
  return clean;
}

CandidatePairs pairs_of(const Sampler& sampler, std::span<const int32_t> winner, std::span<const int32_t> loser) {
  const Candidates& candidates = require_candidates(sampler);
  const smpo_sampler_row& row = sampler.options.rows[sampler.next];
  const size_t count = candidates.noise_BCHW.size();
  std::vector<at::Tensor> noised, winners, losers;
  const auto target = [&](int32_t candidate, int64_t image) {
    return sampler.output_BCHW.narrow(0, image, 1)
        .add(candidates.noise_BCHW[static_cast<size_t>(candidate)].narrow(0, image, 1),
             row.noise / output_coefficient(row));
  };
  for (size_t b = 0; b < winner.size(); ++b) {
    require_candidate(winner[b], -1, count, "winner", b);
    require_candidate(loser[b], -1, count, "loser", b);
    if ((winner[b] == -1) != (loser[b] == -1)) {
      fail(SMPO_INVALID_ARGUMENT, "loser[", b, "]: expected -1 where winner is -1, and only there, got ", loser[b]);
    }
    if (winner[b] == -1) continue;
    const auto image = static_cast<int64_t>(b);
    noised.push_back(sampler.latents_BCHW.narrow(0, image, 1));
    winners.push_back(target(winner[b], image));
    losers.push_back(target(loser[b], image));
  }
  if (noised.empty()) fail(SMPO_INVALID_ARGUMENT, "winner: expected at least one image that is not left out");
  winners.insert(winners.end(), losers.begin(), losers.end());
  return {.noised = hold(at::cat(noised)), .target = hold(at::cat(winners))};
}

void select(Sampler& sampler, std::span<const int32_t> chosen) {
  const Candidates& candidates = require_candidates(sampler);
  for (size_t b = 0; b < chosen.size(); ++b) {
    require_candidate(chosen[b], 0, candidates.latents_BCHW.size(), "chosen", b);
  }
  at::Tensor next = gathered(candidates.latents_BCHW, chosen);
  at::Tensor output = candidates.output_BCHW.empty() ? at::Tensor() : gathered(candidates.output_BCHW, chosen);
  sampler.latents_BCHW = std::move(next);
  sampler.output_BCHW = std::move(output);
  sampler.candidates.reset();
  ++sampler.next;
}

std::shared_ptr<Tensor> latents(const Sampler& sampler) { return hold(sampler.latents_BCHW.clone()); }

}  // namespace smpo::engine
