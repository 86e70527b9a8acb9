// DDIM inversion of a batch's images through a fixed number of slots: each image has steps of its own, and as soon as
// one is done the next takes its slot, so that the UNet's batch stays full until the last few.
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
#include "engine/model_value.h"
#include "engine/pair_batch.h"
#include "engine/pair_batch_value.h"
#include "engine/session.h"
#include "engine/tensor.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "kernels/renoise_update.h"
#include "tape/kernel_call.h"

// Legend: R images of the batch, S slots in use, N elements of a latent.
namespace smpo::engine {
namespace {

using kernels::RenoiseSlot;

// Of the random numbers; org.smpo.random.Purpose has the same number.
constexpr uint32_t kInversionNoise = 6;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// An image on its way: its next step, and whether that step's first prediction is there already. Or nobody.
struct Place {
  int64_t row = -1;
  int32_t step = 0;
  bool second = false;

  bool empty() const { return row < 0; }
};

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

// The smallest of slots, slots / 2, slots / 4, ... (rounded up) that holds so many images.
int64_t recorded_rows(int64_t used, int64_t slots) {
  int64_t rows = slots;
  while (rows > 1 && (rows + 1) / 2 >= used) rows = (rows + 1) / 2;
  return rows;
}

// Device work alone, on this memory alone: it may be recorded.
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
  Run(Session& session, const PairBatch& batch, const Model& model, const smpo_inversion_plan& plan)
      : session_(session), batch_(batch), model_(model), unet_(require_unet(model)), plan_(plan) {
    latents_RN_ = batch.latents_RCHW.clone();
    target_RN_ = at::empty_like(latents_RN_);
  }

  void run() {
    start();
    if (!waiting_.empty()) check_conditions();
    for (int64_t used = most_places(); used > 0; used = most_places()) {
      session_.stop_if_cancelled();
      make_places(used);
      admit(used);
      evaluate();
      move_on();
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
  int32_t first_step(int64_t row) const { return plan_.row_start[row]; }
  int32_t last_step(int64_t row) const { return plan_.row_start[row + 1] - 1; }
  int64_t pair_of(int64_t row) const { return row % batch_.pairs(); }
  bool averages(const Place& place) const { return plan_.averages[place.step] != 0; }
  bool guesses(const Place& place) const { return averages(place) && !place.second; }

  // Images to come and under way, but no more than there are slots. Never grows.
  int64_t most_places() const {
    const auto under_way = std::ranges::count_if(places_, [](const Place& place) { return !place.empty(); });
    return std::min<int64_t>(plan_.inversion_batch, under_way + static_cast<int64_t>(waiting_.size()));
  }

  // Writes the targets of images without a step. The others wait, those of most evaluations last, where they are taken
  // from: so that few are left to run alone at the end. The two images of a pair come one after the other, since they
  // share their prompt.
  void start() {
    std::vector<RenoiseSlot> still;
    std::vector<int64_t> evaluations(static_cast<size_t>(batch_.rows()));
    for (int64_t i = 0; i < batch_.rows(); ++i) {
      const int64_t row = i % 2 == 0 ? i / 2 : batch_.pairs() + i / 2;
      if (last_step(row) < first_step(row)) {
        still.push_back(target_slot(row, RenoiseSlot{.row = static_cast<int32_t>(row)}));
        continue;
      }
      for (int32_t k = first_step(row); k <= last_step(row); ++k) {
        evaluations[static_cast<size_t>(row)] += plan_.averages[k] == 0 ? 1 : 2;
      }
      waiting_.push_back(row);
    }
    // In pieces: the kernel takes at most 65535 slots.
    for (size_t first = 0; first < still.size(); first += 65535) {
      const size_t count = std::min<size_t>(65535, still.size() - first);
      const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(still.data() + first),
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
    std::ranges::reverse(waiting_);
    std::ranges::stable_sort(waiting_, [&evaluations](int64_t a, int64_t b) {
      return evaluations[static_cast<size_t>(a)] < evaluations[static_cast<size_t>(b)];
    });
  }

  // One row's inputs as the UNet takes them.
  models::UNet::Inputs inputs_of(int64_t row) const {
    const auto of = [](const at::Tensor& all, int64_t i) { return all.defined() ? all.narrow(0, i, 1) : all; };
    return unet_inputs(unet_, of(batch_.latents_RCHW, row), at::empty({1}, batch_.latents_RCHW.options()),
                       of(batch_.encoder_hidden_states_WSD, pair_of(row)), of(batch_.text_embeds_WE, pair_of(row)),
                       of(batch_.time_ids_RK, row));
  }

  void check_conditions() { unet_.check_inputs(inputs_of(waiting_.back())); }

  // Memory for so many images; those under way move to its front when it is another than before. A recorded batch has
  // the plan's slots or, when few images are left, a half or a quarter of them: a shape for each number would be
  // recorded and never come again. The rows beyond hold what was there, and say nothing.
  void make_places(int64_t used) {
    const int64_t rows = session_.recorder() == nullptr ? used : recorded_rows(used, plan_.inversion_batch);
    if (rows == static_cast<int64_t>(places_.size())) return;
    InversionMemory* const before = memory_;
    InversionMemory own;
    if (session_.recorder() == nullptr) {
      memory_ = &own;
    } else {
      GraphKey key;
      key.add(rows);
      const models::UNet::Inputs inputs = inputs_of(waiting_.empty() ? any_under_way() : waiting_.back());
      for (const at::Tensor& value : {inputs.sample_BCHW.value, inputs.encoder_hidden_states_BTD.value,
                                      inputs.text_embeds_BE.value, inputs.time_ids_BK}) {
        key.add_all(value.defined() ? value.sizes().slice(1) : at::IntArrayRef());
      }
      entry_ = &model_.inversions.entry(key);
      memory_ = &entry_->memory;
    }
    if (!memory_->latents_SN.defined()) *memory_ = memory_for(rows);

    std::vector<Place> places(static_cast<size_t>(rows));
    std::vector<int64_t> pairs(static_cast<size_t>(rows), -1);
    int64_t next = 0;
    for (size_t slot = 0; slot < places_.size(); ++slot) {
      if (places_[slot].empty()) continue;
      move_image(*before, static_cast<int64_t>(slot), *memory_, next);
      places[static_cast<size_t>(next)] = places_[slot];
      pairs[static_cast<size_t>(next)] = text_of_[slot];
      ++next;
    }
    places_ = std::move(places);
    text_of_ = std::move(pairs);
    if (session_.recorder() == nullptr) {
      own_ = std::move(own);
      memory_ = &own_;
    }
  }

  int64_t any_under_way() const {
    return std::ranges::find_if(places_, [](const Place& place) { return !place.empty(); })->row;
  }

  // Zeros, so that rows which nobody uses are numbers.
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

  // All that belongs to an image on its way.
  static std::vector<at::Tensor> of_image(const InversionMemory& memory) {
    return {memory.inputs.sample_BCHW.value,
            memory.inputs.text_keys_values_BTK,
            memory.inputs.text_embeds_BE.value,
            memory.inputs.time_ids_BK,
            memory.latents_SN,
            memory.clean_SN,
            memory.kept_SN};
  }

  static void move_image(const InversionMemory& from, int64_t from_slot, InversionMemory& to, int64_t to_slot) {
    const std::vector<at::Tensor> sources = of_image(from), targets = of_image(to);
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].defined()) targets[i][to_slot].copy_(sources[i][from_slot]);
    }
  }

  // Fills free places, up to `used` images in all.
  void admit(int64_t used) {
    int64_t under_way = std::ranges::count_if(places_, [](const Place& place) { return !place.empty(); });
    std::vector<int64_t> fresh;
    for (size_t slot = 0; slot < places_.size() && under_way < used; ++slot) {
      if (!places_[slot].empty()) continue;
      places_[slot] = {.row = waiting_.back(), .step = first_step(waiting_.back())};
      waiting_.pop_back();
      fresh.push_back(static_cast<int64_t>(slot));
      ++under_way;
    }
    if (fresh.empty()) return;
    write_text(fresh);
    for (const int64_t slot : fresh) {
      const models::UNet::Inputs inputs = inputs_of(places_[static_cast<size_t>(slot)].row);
      const at::Tensor clean = batch_.latents_RCHW[places_[static_cast<size_t>(slot)].row];
      memory_->latents_SN[slot].copy_(clean);
      memory_->clean_SN[slot].copy_(clean);
      memory_->inputs.sample_BCHW.value[slot].copy_(inputs.sample_BCHW.value[0]);
      if (inputs.text_embeds_BE.defined()) {
        memory_->inputs.text_embeds_BE.value[slot].copy_(inputs.text_embeds_BE.value[0]);
        memory_->inputs.time_ids_BK[slot].copy_(inputs.time_ids_BK[0]);
      }
    }
  }

  // Keys and values of the prompts that have come: of each once, unless a slot still has them from the pair's other
  // image.
  void write_text(const std::vector<int64_t>& fresh) {
    at::Tensor& all_STK = memory_->inputs.text_keys_values_BTK;
    std::vector<int64_t> missing;                       // pairs
    std::vector<std::pair<int64_t, at::Tensor>> there;  // pair, its rows
    const auto find_pair = [](const auto& list, int64_t pair) {
      return std::ranges::find(list, pair, [](const auto& entry) { return entry.first; });
    };
    for (const int64_t slot : fresh) {
      const int64_t pair = pair_of(places_[static_cast<size_t>(slot)].row);
      if (find_pair(there, pair) != there.end() || std::ranges::find(missing, pair) != missing.end()) continue;
      const auto held = std::ranges::find(text_of_, pair);
      if (held == text_of_.end()) {
        missing.push_back(pair);
      } else {
        // A copy: the slot may be one that is about to be written.
        there.emplace_back(pair, all_STK[held - text_of_.begin()].clone());
      }
    }
    if (!missing.empty()) {
      std::vector<at::Tensor> states;
      for (const int64_t pair : missing) states.push_back(inputs_of(pair).encoder_hidden_states_BTD.value);
      const at::Tensor projected = unet_.text_keys_values(at::cat(states), model_.uses_adapters());
      for (size_t i = 0; i < missing.size(); ++i) {
        there.emplace_back(missing[i], projected[static_cast<int64_t>(i)]);
      }
      projected_ += missing.size();
    }
    for (const int64_t slot : fresh) {
      const int64_t pair = pair_of(places_[static_cast<size_t>(slot)].row);
      all_STK[slot].copy_(find_pair(there, pair)->second);
      text_of_[static_cast<size_t>(slot)] = pair;
    }
  }

  // A prediction for every place, and each image's half step with it.
  void evaluate() {
    write_schedule();
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

  void write_schedule() {
    const size_t rows = places_.size();
    std::vector<uint8_t> bytes(rows * (sizeof(RenoiseSlot) + sizeof(float)));
    bool any_noise = false;
    for (size_t slot = 0; slot < rows; ++slot) {
      RenoiseSlot update;
      float timestep = 0;
      if (const Place& place = places_[slot]; !place.empty()) {
        update = update_of(place, static_cast<int32_t>(slot));
        timestep = static_cast<float>(plan_.timestep[place.step]);
        any_noise = any_noise || (update.flags & RenoiseSlot::kNoise) != 0;
        ++evaluations_;
      }
      std::memcpy(bytes.data() + slot * sizeof update, &update, sizeof update);
      std::memcpy(bytes.data() + rows * sizeof update + slot * sizeof timestep, &timestep, sizeof timestep);
    }
    upload_into(memory_->schedule, at::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size())}, at::kByte));
    if (any_noise) draw_noise();
  }

  RenoiseSlot update_of(const Place& place, int32_t slot) const {
    const int32_t k = place.step;
    RenoiseSlot update{.row = slot,
                       .flags = RenoiseSlot::kActive,
                       .a = static_cast<float>(plan_.sample[k]),
                       .b = static_cast<float>(plan_.output[k])};
    if (guesses(place)) {
      update.flags |= RenoiseSlot::kGuess;
      return update;
    }
    if (place.second) update.flags |= RenoiseSlot::kAverage;
    if (plan_.noise[k] != 0) {
      update.flags |= RenoiseSlot::kNoise;
      update.noise_scale = static_cast<float>(plan_.noise[k]);
    }
    return k == last_step(place.row) ? target_slot(place.row, update) : update;
  }

  void draw_noise() {
    std::vector<int64_t> items;
    for (const Place& place : places_) {
      const int64_t item = place.empty() ? 0 : batch_.options.items[static_cast<size_t>(place.row)];
      items.push_back(item * SMPO_MAX_INVERSION_STEPS + (place.empty() ? 0 : place.step - first_step(place.row)));
    }
    Tensor drawn{memory_->noise_SN};
    fill_normal(session_, drawn, kInversionNoise, batch_.options.step, items);
  }

  RenoiseSlot target_slot(int64_t row, RenoiseSlot slot) const {
    slot.flags |= RenoiseSlot::kTarget;
    slot.target_x = plan_.target_sample[row];
    slot.target_x0 = plan_.target_clean[row];
    return slot;
  }

  // To each image's next half step; those that are done leave.
  void move_on() {
    for (size_t slot = 0; slot < places_.size(); ++slot) {
      Place& place = places_[slot];
      if (place.empty()) continue;
      if (guesses(place)) {
        place.second = true;
        continue;
      }
      place.second = false;
      if (place.step++ != last_step(place.row)) continue;
      latents_RN_[place.row].copy_(memory_->latents_SN[static_cast<int64_t>(slot)]);
      target_RN_[place.row].copy_(memory_->target_SN[static_cast<int64_t>(slot)]);
      place = {};
    }
  }

  Session& session_;
  const PairBatch& batch_;
  const Model& model_;
  const models::UNet& unet_;
  const smpo_inversion_plan& plan_;

  at::Tensor latents_RN_, target_RN_;
  std::vector<int64_t> waiting_;
  std::vector<Place> places_;
  // The pair whose prompt a slot has keys and values of, be its image there or gone; -1: none.
  std::vector<int64_t> text_of_;

  InversionMemory own_;  // of a session that records nothing
  InversionMemory* memory_ = nullptr;
  Graphs<InversionMemory>::Entry* entry_ = nullptr;

  uint32_t batches_ = 0;
  uint64_t evaluations_ = 0;
  uint64_t projected_ = 0;
  double unet_seconds_ = 0;
};

}  // namespace

smpo_inversion_report invert(Session& session, PairBatch& batch, const Model& model, const smpo_inversion_plan& plan) {
  require_denoiser(model, "model");
  check(batch, plan);
  const Clock::time_point start = Clock::now();
  Run run(session, batch, model, plan);
  with_memory_advice([&run] { run.run(); },
                     "plan.inversion_batch: " + std::to_string(plan.inversion_batch) +
                         " images at once do not fit into memory: lower inversion.slots, and resume");
  batch.noised_RCHW = run.latents();
  batch.target_RCHW = run.target();
  smpo_inversion_report report = run.report();
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace smpo::engine
