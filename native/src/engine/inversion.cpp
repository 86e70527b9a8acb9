// DDIM inversion of the images of a pair batch, and rollouts, which differ in where they start and in what their
// targets are made of. inversion_schedule.h decides which images share a UNet evaluation; this
// file holds their latents and prompts, evaluates the UNet and updates the latents.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/failure.h"
#include "engine/inversion_schedule.h"
#include "engine/model_value.h"
#include "engine/pair_batch.h"
#include "engine/pair_batch_value.h"
#include "engine/session.h"
#include "engine/tensor.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "kernels/renoise_update.h"
#include "tape/kernel_call.h"

// Legend: R images of the pair batch, S places of the inversion batch, N elements of a latent.
namespace smpo::engine {
namespace {

using kernels::RenoiseSlot;

// Purpose of the random numbers that steps add; the same number as in org.smpo.random.Purpose.
constexpr uint32_t kInversionNoise = 6;

using Clock = std::chrono::steady_clock;
using Place = InversionSchedule::Place;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check(const PairBatch& batch, const smpo_inversion_plan& plan) {
  const int32_t* start = plan.row_start;
  if (start[0] != 0) fail(SMPO_INVALID_ARGUMENT, "plan.row_start[0]: expected 0, got ", start[0]);
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const int64_t steps = int64_t{start[row + 1]} - start[row];
    if (steps < 0 || steps > SMPO_MAX_INVERSION_STEPS) {
      fail(SMPO_INVALID_ARGUMENT, "plan.row_start[", row + 1, "]: expected ", start[row], " to ",
           int64_t{start[row]} + SMPO_MAX_INVERSION_STEPS, ", got ", start[row + 1]);
    }
  }
  const int64_t steps = start[batch.rows()];
  require_all_finite(plan.timestep, steps, "plan.timestep");
  require_all_finite(plan.sample, steps, "plan.sample");
  require_all_finite(plan.output, steps, "plan.output");
  require_all_finite(plan.noise, steps, "plan.noise");
  for (int64_t i = 0; i < steps; ++i) {
    if (plan.averages[i] > 1) {
      fail(SMPO_INVALID_ARGUMENT, "plan.averages[", i, "]: expected 0..1, got ", int{plan.averages[i]});
    }
  }
  require_all_finite(plan.target_sample, batch.rows(), "plan.target_sample");
  require_all_finite(plan.target_clean, batch.rows(), "plan.target_clean");
}

// The plan's tables as the schedule reads them.
InversionSchedule schedule_of(const PairBatch& batch, const smpo_inversion_plan& plan) {
  const std::span row_start(plan.row_start, static_cast<size_t>(batch.rows()) + 1);
  return {row_start,
          {plan.averages, static_cast<size_t>(row_start.back())},
          int64_t{plan.inversion_batch},
          batch.options.images};
}

// What a rollout has besides a plan; the tensors are the text of its one prompt.
struct Rollout {
  const smpo_rollout& plan;
  at::Tensor encoder_hidden_states_1SD;
  at::Tensor text_embeds_1E;
};

void check(const PairBatch& batch, const smpo_inversion_plan& plan, const Rollout& rollout) {
  for (int64_t row = 0; row < batch.rows(); ++row) {
    if (plan.row_start[row + 1] > plan.row_start[row]) continue;
    fail(SMPO_INVALID_ARGUMENT, "plan.row_start[", row + 1, "]: expected more than ", plan.row_start[row],
         ", since every image of a rollout takes a step, got ", plan.row_start[row + 1]);
  }
  require_all_finite(rollout.plan.target_output, batch.rows(), "rollout.target_output");
  require_all_finite(rollout.plan.target_noise, batch.rows(), "rollout.target_noise");
  const auto require_prompt = [](const at::Tensor& one, const at::Tensor& many, const char* name) {
    if (one.defined() != many.defined()) {
      fail(SMPO_INVALID_ARGUMENT, "rollout.", name, ": expected ", many.defined() ? "a tensor" : "none",
           " as for the batch");
    }
    if (one.defined() && one.sizes() != many.narrow(0, 0, 1).sizes()) {
      fail(SMPO_SHAPE_MISMATCH, "rollout.", name, ": expected one row of ", shape_text(many), ", got ",
           shape_text(one));
    }
  };
  require_prompt(rollout.encoder_hidden_states_1SD, batch.encoder_hidden_states_WSD, "encoder_hidden_states");
  require_prompt(rollout.text_embeds_1E, batch.text_embeds_WE, "text_embeds");
}

// Evaluates the UNet and updates every image. Queues device work only and touches this memory only, so that it can be
// recorded.
void advance(const Model& model, InversionMemory& memory) {
  tape::Tape tape = tape::Tape::inference(model.uses_adapters());
  const at::Tensor prediction_SN = require_unet(model).forward(tape, memory.inputs).value.contiguous();
  at::Tensor& sample = memory.inputs.sample_BCHW.value;
  tape::kernels_of(sample)(&kernels::Families::renoise_update,
                           {.slots = sample.size(0),
                            .elements = sample[0].numel(),
                            .slot_S = static_cast<const RenoiseSlot*>(memory.schedule.const_data_ptr()),
                            .latents_RN = memory.latents_SN.const_data_ptr<float>(),
                            .prediction_SN = prediction_SN.const_data_ptr(),
                            .kept_prediction_SN = memory.kept_SN.mutable_data_ptr(),
                            .prediction_dtype = tape::dtype_of(prediction_SN),
                            .noise_SN = memory.noise_SN.const_data_ptr<float>(),
                            .clean_latents_RN = memory.clean_SN.const_data_ptr<float>(),
                            .updated_RN = memory.latents_SN.mutable_data_ptr<float>(),
                            .unet_input_SN = sample.mutable_data_ptr(),
                            .unet_input_dtype = tape::dtype_of(sample),
                            .target_RN = memory.target_SN.mutable_data_ptr<float>()});
}

class Run final {
 public:
  // `rollout` is null for an inversion.
  Run(Session& session, const PairBatch& batch, const Model& model, const smpo_inversion_plan& plan,
      const Rollout* rollout)
      : session_(session),
        batch_(batch),
        model_(model),
        unet_(require_unet(model)),
        plan_(plan),
        rollout_(rollout),
        schedule_(schedule_of(batch, plan)) {
    latents_RN_ = rollout == nullptr ? batch.latents_RCHW.clone()
                                     : mixed(batch, rollout->plan.start_sample, "rollout.start_sample",
                                             forward_normal(session, batch, batch.options.items),
                                             rollout->plan.start_noise, "rollout.start_noise");
    target_RN_ = at::empty_like(latents_RN_);
  }

  void run() {
    write_targets_without_steps();
    if (schedule_.images() > 0) unet_.check_inputs(inputs_of(schedule_.any_row()));
    while (const int64_t images = schedule_.images()) {
      session_.stop_if_cancelled();
      in_context([&] { return "UNet evaluation " + std::to_string(batches_ + 1) + " of the inversion"; },
                 [&] {
                   make_places(images);
                   admit();
                   evaluate();
                 });
      for (const auto& [place, row] : schedule_.advance()) {
        latents_RN_[row].copy_(memory_->latents_SN[place]);
        target_RN_[row].copy_(memory_->target_SN[place]);
      }
    }
    session_.log(SMPO_LOG_DEBUG, "inversion: " + std::to_string(evaluations_) + " evaluations in " +
                                     std::to_string(batches_) + " batches, keys and values of " +
                                     std::to_string(projected_) + " prompts");
  }

  at::Tensor latents() const { return latents_RN_; }
  at::Tensor target() const { return target_RN_; }
  smpo_inversion_report report() const {
    smpo_inversion_report report{};
    report.size = sizeof report;
    report.batches = batches_;
    report.evaluations = evaluations_;
    report.unet_seconds = unet_seconds_;
    return report;
  }

 private:
  // Index of the prompt under which the network evaluates an image: that of its pair, or the rollout's own.
  int64_t prompt_of(int64_t row) const { return rollout_ == nullptr ? row % batch_.pairs() : 0; }
  const at::Tensor& states() const {
    return rollout_ == nullptr ? batch_.encoder_hidden_states_WSD : rollout_->encoder_hidden_states_1SD;
  }
  const at::Tensor& text_embeds() const {
    return rollout_ == nullptr ? batch_.text_embeds_WE : rollout_->text_embeds_1E;
  }
  int64_t row_at(int64_t place) const { return schedule_.places()[static_cast<size_t>(place)].row; }

  void write_targets_without_steps() {
    std::vector<RenoiseSlot> updates;
    for (const int64_t row : schedule_.rows_without_steps()) {
      updates.push_back(with_target(row, RenoiseSlot{.row = static_cast<int32_t>(row)}));
    }
    // One launch of the kernel takes at most 65535 rows.
    for (size_t first = 0; first < updates.size(); first += 65535) {
      const size_t count = std::min<size_t>(65535, updates.size() - first);
      const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(updates.data() + first),
                                           count * sizeof(RenoiseSlot));
      const at::Tensor table = copy_to<uint8_t>(latents_RN_.device(), bytes);
      tape::kernels_of(latents_RN_)(&kernels::Families::renoise_update,
                                    {.slots = static_cast<int64_t>(count),
                                     .elements = batch_.elements(),
                                     .slot_S = static_cast<const RenoiseSlot*>(table.const_data_ptr()),
                                     .latents_RN = latents_RN_.const_data_ptr<float>(),
                                     .clean_latents_RN = batch_.latents_RCHW.const_data_ptr<float>(),
                                     .target_RN = target_RN_.mutable_data_ptr<float>()});
    }
  }

  // UNet inputs of one image.
  models::UNet::Inputs inputs_of(int64_t row) const {
    const auto of = [](const at::Tensor& all, int64_t i) { return all.defined() ? all.narrow(0, i, 1) : all; };
    return unet_inputs(unet_, of(latents_RN_, row), at::empty({1}, latents_RN_.options()), of(states(), prompt_of(row)),
                       of(text_embeds(), prompt_of(row)), of(batch_.time_ids_RK, row));
  }

  // Allocates memory for this many images and moves those under way into it. Where batches are recorded, the memory is
  // that of a recorded size: a recording for every number of images would be made and never played back. Places beyond
  // the images are empty.
  void make_places(int64_t images) {
    const bool recorded = session_.recorder() != nullptr;
    const int64_t places = recorded ? schedule_.recorded_size(images) : images;
    if (places == static_cast<int64_t>(schedule_.places().size())) return;
    InversionMemory* const before = memory_;
    InversionMemory own;
    if (recorded) {
      entry_ = &model_.inversions.entry(key_of(places));
      memory_ = &entry_->memory;
    } else {
      memory_ = &own;
    }
    if (!memory_->latents_SN.defined()) *memory_ = memory_for(places);

    std::vector<int64_t> prompts(static_cast<size_t>(places), -1);
    for (const auto& [from, to] : schedule_.resize(places)) {
      move_image(*before, from, *memory_, to);
      prompts[static_cast<size_t>(to)] = text_of_[static_cast<size_t>(from)];
    }
    text_of_ = std::move(prompts);
    if (!recorded) {
      own_ = std::move(own);
      memory_ = &own_;
    }
  }

  GraphKey key_of(int64_t places) const {
    GraphKey key;
    key.add(places);
    const models::UNet::Inputs inputs = inputs_of(schedule_.any_row());
    for (const at::Tensor& value : {inputs.sample_BCHW.value, inputs.encoder_hidden_states_BTD.value,
                                    inputs.text_embeds_BE.value, inputs.time_ids_BK}) {
      key.add_all(value.defined() ? value.sizes().slice(1) : at::IntArrayRef());
    }
    return key;
  }

  // Filled with zeros, so that empty places hold finite numbers.
  InversionMemory memory_for(int64_t rows) const {
    const models::UNet::Inputs one = inputs_of(0);
    const auto many = [rows](const at::Tensor& value) {
      if (!value.defined()) return at::Tensor();
      std::vector<int64_t> shape = value.sizes().vec();
      shape[0] = rows;
      return at::zeros(shape, value.options());
    };
    InversionMemory memory;
    const int64_t table = rows * static_cast<int64_t>(sizeof(RenoiseSlot));
    memory.schedule = at::zeros({table + rows * int64_t{sizeof(float)}}, latents_RN_.options().dtype(at::kByte));
    const at::Tensor& states = one.encoder_hidden_states_BTD.value;
    memory.inputs.sample_BCHW = tape::Var(many(one.sample_BCHW.value));
    memory.inputs.timesteps_B = memory.schedule.narrow(0, table, rows * int64_t{sizeof(float)}).view(at::kFloat);
    memory.inputs.text_keys_values_BTK =
        at::zeros({rows, states.size(1), unet_.text_keys_values_channels()}, states.options());
    memory.inputs.text_embeds_BE = tape::Var(many(one.text_embeds_BE.value));
    memory.inputs.time_ids_BK = many(one.time_ids_BK);
    memory.latents_SN = many(latents_RN_);
    memory.clean_SN = many(latents_RN_);
    memory.noise_SN = many(latents_RN_);
    memory.target_SN = many(latents_RN_);
    memory.kept_SN = at::zeros_like(memory.inputs.sample_BCHW.value);
    return memory;
  }

  // Tensors that move with an image, one row per place.
  static std::vector<at::Tensor> tensors_of_places(const InversionMemory& memory) {
    return {memory.inputs.sample_BCHW.value,
            memory.inputs.text_keys_values_BTK,
            memory.inputs.text_embeds_BE.value,
            memory.inputs.time_ids_BK,
            memory.latents_SN,
            memory.clean_SN,
            memory.kept_SN};
  }

  static void move_image(const InversionMemory& from, int64_t from_place, InversionMemory& to, int64_t to_place) {
    const std::vector<at::Tensor> sources = tensors_of_places(from), targets = tensors_of_places(to);
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].defined()) targets[i][to_place].copy_(sources[i][from_place]);
    }
  }

  // Writes the inputs of images that enter the batch.
  void admit() {
    const std::vector<int64_t> filled = schedule_.admit();
    if (filled.empty()) return;
    write_text(filled);
    for (const int64_t place : filled) {
      const models::UNet::Inputs inputs = inputs_of(row_at(place));
      memory_->latents_SN[place].copy_(latents_RN_[row_at(place)]);
      memory_->clean_SN[place].copy_(batch_.latents_RCHW[row_at(place)]);
      memory_->inputs.sample_BCHW.value[place].copy_(inputs.sample_BCHW.value[0]);
      if (inputs.text_embeds_BE.defined()) {
        memory_->inputs.text_embeds_BE.value[place].copy_(inputs.text_embeds_BE.value[0]);
        memory_->inputs.time_ids_BK[place].copy_(inputs.time_ids_BK[0]);
      }
    }
  }

  // Writes the keys and values of the prompts of these places. A prompt is projected once, unless a place still holds
  // its keys and values from another image of the same prompt.
  void write_text(const std::vector<int64_t>& filled) {
    at::Tensor& all_STK = memory_->inputs.text_keys_values_BTK;
    std::vector<int64_t> missing;                           // prompts
    std::vector<std::pair<int64_t, at::Tensor>> available;  // prompt, its keys and values
    const auto find_prompt = [](const auto& list, int64_t prompt) {
      return std::ranges::find(list, prompt, [](const auto& entry) { return entry.first; });
    };
    for (const int64_t place : filled) {
      const int64_t prompt = prompt_of(row_at(place));
      if (find_prompt(available, prompt) != available.end()) continue;
      if (std::ranges::find(missing, prompt) != missing.end()) continue;
      const auto held = std::ranges::find(text_of_, prompt);
      if (held == text_of_.end()) {
        missing.push_back(prompt);
      } else {
        // A copy, because this place may be overwritten below.
        available.emplace_back(prompt, all_STK[held - text_of_.begin()].clone());
      }
    }
    if (!missing.empty()) {
      std::vector<at::Tensor> states;
      // Image p has prompt p.
      for (const int64_t prompt : missing) states.push_back(inputs_of(prompt).encoder_hidden_states_BTD.value);
      const at::Tensor projected = unet_.text_keys_values(at::cat(states), model_.uses_adapters());
      for (size_t i = 0; i < missing.size(); ++i) {
        available.emplace_back(missing[i], projected[static_cast<int64_t>(i)]);
      }
      projected_ += missing.size();
    }
    for (const int64_t place : filled) {
      const int64_t prompt = prompt_of(row_at(place));
      all_STK[place].copy_(find_prompt(available, prompt)->second);
      text_of_[static_cast<size_t>(place)] = prompt;
    }
  }

  // Evaluates the UNet once on the whole batch and updates every image under way.
  void evaluate() {
    write_updates();
    const Clock::time_point start = Clock::now();
    if (session_.recorder() == nullptr) {
      advance(model_, *memory_);
    } else {
      model_.inversions.run(
          *entry_, *session_.recorder(), [&model = model_, memory = memory_] { advance(model, *memory); },
          [this](const char* why) { log_refusal(session_, "an inversion batch", why); });
    }
    unet_seconds_ += seconds_since(start);
    ++batches_;
  }

  // Uploads the update and the timestep of every place.
  void write_updates() {
    const std::vector<Place>& places = schedule_.places();
    const size_t count = places.size();
    std::vector<uint8_t> bytes(count * (sizeof(RenoiseSlot) + sizeof(float)));
    bool any_noise = false;
    for (size_t i = 0; i < count; ++i) {
      RenoiseSlot update;
      float timestep = 0;
      if (const Place& place = places[i]; !place.empty()) {
        update = update_of(place, static_cast<int32_t>(i));
        timestep = static_cast<float>(plan_.timestep[place.step]);
        any_noise = any_noise || (update.flags & (RenoiseSlot::kNoise | RenoiseSlot::kMix)) != 0;
        ++evaluations_;
      }
      std::memcpy(bytes.data() + i * sizeof update, &update, sizeof update);
      std::memcpy(bytes.data() + count * sizeof update + i * sizeof timestep, &timestep, sizeof timestep);
    }
    upload_into(memory_->schedule, at::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size())}, at::kByte));
    if (any_noise) sample_noise();
  }

  RenoiseSlot update_of(const Place& place, int32_t index) const {
    const int32_t k = place.step;
    RenoiseSlot update{.row = index,
                       .flags = RenoiseSlot::kActive,
                       .a = static_cast<float>(plan_.sample[k]),
                       .b = static_cast<float>(plan_.output[k])};
    if (schedule_.is_first_guess(place)) {
      update.flags |= RenoiseSlot::kGuess;
      return update;
    }
    if (place.second) update.flags |= RenoiseSlot::kAverage;
    if (plan_.noise[k] != 0) {
      update.flags |= RenoiseSlot::kNoise;
      update.noise_scale = static_cast<float>(plan_.noise[k]);
    }
    return schedule_.is_last_step(place) ? with_target(place.row, update) : update;
  }

  void sample_noise() {
    std::vector<int64_t> items;
    for (const Place& place : schedule_.places()) {
      const int64_t item = place.empty() ? 0 : batch_.options.items[static_cast<size_t>(place.row)];
      items.push_back(item * SMPO_MAX_INVERSION_STEPS + (place.empty() ? 0 : schedule_.step_of_image(place)));
    }
    Tensor noise{memory_->noise_SN};
    fill_normal(session_, noise, kInversionNoise, batch_.options.step, items);
  }

  RenoiseSlot with_target(int64_t row, RenoiseSlot update) const {
    update.flags |= RenoiseSlot::kTarget;
    update.target_x = plan_.target_sample[row];
    update.target_x0 = plan_.target_clean[row];
    if (rollout_ != nullptr) {
      update.flags |= RenoiseSlot::kMix;
      update.target_e = rollout_->plan.target_output[row];
      update.target_noise = rollout_->plan.target_noise[row];
    }
    return update;
  }

  Session& session_;
  const PairBatch& batch_;
  const Model& model_;
  const models::UNet& unet_;
  const smpo_inversion_plan& plan_;
  const Rollout* rollout_;
  InversionSchedule schedule_;

  at::Tensor latents_RN_, target_RN_;
  // By place: the prompt whose keys and values it holds, even after its image has left; -1: none.
  std::vector<int64_t> text_of_;

  InversionMemory own_;  // where nothing is recorded
  InversionMemory* memory_ = nullptr;
  Graphs<InversionMemory>::Entry* entry_ = nullptr;

  uint32_t batches_ = 0;
  uint64_t evaluations_ = 0;
  uint64_t projected_ = 0;
  double unet_seconds_ = 0;
};

smpo_inversion_report run(Session& session, PairBatch& batch, const Model& model, const smpo_inversion_plan& plan,
                          const Rollout* rollout) {
  const Clock::time_point start = Clock::now();
  Run run(session, batch, model, plan, rollout);
  with_memory_advice([&run] { run.run(); }, "plan.inversion_batch: " + std::to_string(plan.inversion_batch) +
                                                " images in one UNet evaluation do not fit into memory; lower it");
  batch.noised_RCHW = run.latents();
  batch.target_RCHW = run.target();
  smpo_inversion_report report = run.report();
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace

smpo_inversion_report invert(Session& session, PairBatch& batch, const Model& model, const smpo_inversion_plan& plan) {
  require_denoiser(model, "model");
  require_clean_latents(batch);
  check(batch, plan);
  return run(session, batch, model, plan, nullptr);
}

smpo_inversion_report roll_out(Session& session, PairBatch& batch, const Model& model, const smpo_inversion_plan& plan,
                               const smpo_rollout& rollout, const UNetTensors& prompt) {
  require_denoiser(model, "model");
  require_clean_latents(batch);
  check(batch, plan);
  const Rollout with_prompt{.plan = rollout,
                            .encoder_hidden_states_1SD = prompt.encoder_hidden_states->value,
                            .text_embeds_1E = value_of(prompt.text_embeds)};
  check(batch, plan, with_prompt);
  return run(session, batch, model, plan, &with_prompt);
}

}  // namespace smpo::engine
