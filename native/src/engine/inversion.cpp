// DDIM inversion of a window's images through a fixed number of slots: each image has steps of its own, and as soon as
// one is done the next takes its slot, so that the UNet's batch stays full until the last few.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/failure.h"
#include "engine/model_value.h"
#include "engine/session.h"
#include "engine/tensor.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "engine/window.h"
#include "engine/window_value.h"
#include "kernels/renoise_update.h"
#include "tape/kernel_call.h"

// Legend: R images of the window, S slots in use, N elements of a latent.
namespace smpo::engine {
namespace {

using kernels::RenoiseSlot;

// Of the random numbers; org.smpo.random.Purpose has the same number.
constexpr uint32_t kInversionNoise = 6;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// An image on its way: its next step, and whether that step's first prediction is there already.
struct Place {
  int64_t row = 0;
  int32_t step = 0;
  bool second = false;
};

void check(const Window& window, const smpo_inversion_plan& plan) {
  const int32_t* start = plan.row_start;
  if (start[0] != 0) fail(SMPO_INVALID_ARGUMENT, "plan.row_start[0]: expected 0, got ", start[0]);
  for (int64_t row = 0; row < window.rows(); ++row) {
    const int64_t steps = int64_t{start[row + 1]} - start[row];
    if (steps < 0 || steps > SMPO_MAX_INVERSION_STEPS) {
      fail(SMPO_INVALID_ARGUMENT, "plan.row_start[", row + 1, "]: expected ", start[row], " to ",
           int64_t{start[row]} + SMPO_MAX_INVERSION_STEPS, ", got ", start[row + 1]);
    }
  }
  const int64_t steps = start[window.rows()];
  require_all_finite(plan.timestep, steps, "plan.timestep");
  require_all_finite(plan.sample, steps, "plan.sample");
  require_all_finite(plan.output, steps, "plan.output");
  require_all_finite(plan.noise, steps, "plan.noise");
  for (int64_t i = 0; i < steps; ++i) {
    if (plan.averages[i] > 1) {
      fail(SMPO_INVALID_ARGUMENT, "plan.averages[", i, "]: expected 0..1, got ", int{plan.averages[i]});
    }
  }
  require_all_finite(plan.target_sample, window.rows(), "plan.target_sample");
  require_all_finite(plan.target_clean, window.rows(), "plan.target_clean");
}

// The smallest of slots, slots / 2, slots / 4, ... (rounded up) that holds so many images.
int64_t recorded_rows(int64_t used, int64_t slots) {
  int64_t rows = slots;
  while (rows > 1 && (rows + 1) / 2 >= used) rows = (rows + 1) / 2;
  return rows;
}

class Run final {
 public:
  Run(Session& session, const Window& window, const Model& model, const smpo_inversion_plan& plan)
      : session_(session), window_(window), model_(model), plan_(plan) {
    latents_RN_ = window.latents_RCHW.clone();
    target_RN_ = at::empty_like(latents_RN_);
  }

  void run() {
    std::vector<int64_t> waiting = start();
    const size_t slots = std::min<size_t>(plan_.slots, waiting.size());
    // Taken from the back: the longest come first, so that few are left to run alone at the end.
    while (places_.size() < slots) admit(waiting);
    while (!places_.empty()) {
      session_.stop_if_cancelled();
      if (changed_) gather();
      predict();
      take(waiting);
    }
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

  // Writes the targets of images without a step and returns the others, those of most evaluations last.
  std::vector<int64_t> start() {
    std::vector<int64_t> waiting;
    std::vector<RenoiseSlot> still;
    std::vector<int64_t> evaluations(static_cast<size_t>(window_.rows()));
    for (int64_t row = 0; row < window_.rows(); ++row) {
      if (last_step(row) < first_step(row)) {
        still.push_back(target_slot(row, RenoiseSlot{.row = static_cast<int32_t>(row)}));
        continue;
      }
      for (int32_t k = first_step(row); k <= last_step(row); ++k) {
        evaluations[static_cast<size_t>(row)] += plan_.averages[k] == 0 ? 1 : 2;
      }
      waiting.push_back(row);
    }
    // In pieces: the kernel takes at most 65535 slots.
    for (size_t first = 0; first < still.size(); first += 65535) {
      const size_t count = std::min<size_t>(65535, still.size() - first);
      update(std::vector<RenoiseSlot>(still.begin() + static_cast<std::ptrdiff_t>(first),
                                      still.begin() + static_cast<std::ptrdiff_t>(first + count)),
             {}, {}, {}, /*writes_latents=*/true, /*writes_input=*/false);
    }
    std::ranges::reverse(waiting);
    std::ranges::stable_sort(waiting, [&evaluations](int64_t a, int64_t b) {
      return evaluations[static_cast<size_t>(a)] < evaluations[static_cast<size_t>(b)];
    });
    return waiting;
  }

  void admit(std::vector<int64_t>& waiting) {
    places_.push_back({.row = waiting.back(), .step = first_step(waiting.back())});
    waiting.pop_back();
    changed_ = true;
  }

  // What belongs to the slots' images, after an image came or went: conditions, and the latents that the UNet sees.
  void gather() {
    const auto slots = static_cast<int64_t>(places_.size());
    std::vector<int64_t> images, pairs;
    for (const Place& place : places_) {
      images.push_back(place.row);
      pairs.push_back(place.row % window_.pairs());
    }
    const at::Tensor pair_index = copy_to<int64_t>(latents_RN_.device(), pairs);
    const auto of = [](const at::Tensor& all, const at::Tensor& which) {
      return all.defined() ? all.index_select(0, which) : at::Tensor();
    };
    const models::UNet& unet = require_unet(model_);
    const at::Tensor image_index = copy_to<int64_t>(latents_RN_.device(), images);
    inputs_ =
        unet_inputs(unet, latents_RN_.index_select(0, image_index), at::empty({slots}, window_.latents_RCHW.options()),
                    of(window_.encoder_hidden_states_WSD, pair_index), of(window_.text_embeds_WE, pair_index),
                    of(window_.time_ids_RK, image_index));
    // A slot in the middle of a step sees its guess, which an earlier batch left at the slot's old place.
    at::Tensor sample = inputs_.sample_BCHW.value.clone(at::MemoryFormat::Contiguous);
    at::Tensor first = at::empty_like(sample);
    for (int64_t slot = 0; slot < slots; ++slot) {
      if (!places_[static_cast<size_t>(slot)].second) continue;
      const int64_t from = came_from_[static_cast<size_t>(slot)];
      sample[slot].copy_(input_SN_[from]);
      first[slot].copy_(first_SN_[from]);
    }
    input_SN_ = std::move(sample);
    first_SN_ = std::move(first);
    unet.check_inputs(inputs_);
    changed_ = false;
  }

  void predict() {
    std::vector<float> t;
    for (const Place& place : places_) t.push_back(static_cast<float>(plan_.timestep[place.step]));
    inputs_.timesteps_B = copy_to<float>(latents_RN_.device(), t);
    inputs_.sample_BCHW = tape::Var(input_SN_);
    const Clock::time_point start = Clock::now();
    prediction_SN_ = session_.recorder() == nullptr ? forward(model_, inputs_) : recorded_forward(*session_.recorder());
    unet_seconds_ += seconds_since(start);
    ++batches_;
    evaluations_ += places_.size();
  }

  static at::Tensor forward(const Model& model, const models::UNet::Inputs& inputs) {
    tape::Tape tape = tape::Tape::inference(model.uses_adapters());
    return require_unet(model).forward(tape, inputs).value.contiguous();
  }

  // The same in a recorded batch of the slots' number or, when few images are left, of a half, a quarter of it: a shape
  // for each number would be recorded and never come again. The rows beyond hold what was there, and say nothing.
  at::Tensor recorded_forward(Recorder& recorder) {
    const auto used = static_cast<int64_t>(places_.size());
    const int64_t rows = recorded_rows(used, plan_.slots);
    const auto padded = [rows](const at::Tensor& value) {
      if (!value.defined()) return at::Tensor();
      std::vector<int64_t> shape = value.sizes().vec();
      shape[0] = rows;
      return at::zeros(shape, value.options());
    };
    const auto in_front = [used](const at::Tensor& all) { return all.defined() ? all.narrow(0, 0, used) : all; };

    GraphKey key;
    key.add(rows);
    for (const at::Tensor& value : {inputs_.sample_BCHW.value, inputs_.encoder_hidden_states_BTD.value,
                                    inputs_.text_embeds_BE.value, inputs_.time_ids_BK}) {
      key.add_all(value.defined() ? value.sizes().slice(1) : at::IntArrayRef());
    }
    auto& entry = model_.predictions.entry(key);
    PredictionMemory& memory = entry.memory;
    if (!memory.inputs.sample_BCHW.defined()) {
      memory.inputs = {.sample_BCHW = padded(inputs_.sample_BCHW.value),
                       .timesteps_B = padded(inputs_.timesteps_B),
                       .encoder_hidden_states_BTD = padded(inputs_.encoder_hidden_states_BTD.value),
                       .text_embeds_BE = padded(inputs_.text_embeds_BE.value),
                       .time_ids_BK = padded(inputs_.time_ids_BK)};
    }
    models::UNet::Inputs front{.sample_BCHW = in_front(memory.inputs.sample_BCHW.value),
                               .timesteps_B = in_front(memory.inputs.timesteps_B),
                               .encoder_hidden_states_BTD = in_front(memory.inputs.encoder_hidden_states_BTD.value),
                               .text_embeds_BE = in_front(memory.inputs.text_embeds_BE.value),
                               .time_ids_BK = in_front(memory.inputs.time_ids_BK)};
    take_inputs(front, inputs_);
    model_.predictions.run(
        entry, recorder, [&model = model_, &memory] { memory.prediction_BCHW = forward(model, memory.inputs); },
        [this](const char* why) { log_refusal(session_, "an inversion batch", why); });
    // A copy: the next batch's prediction comes to the same place.
    return memory.prediction_BCHW.narrow(0, 0, used).clone();
  }

  // Every slot's half step with the prediction that has just been made.
  void take(std::vector<int64_t>& waiting) {
    const size_t slots = places_.size();
    const auto averages = [this](const Place& place) { return plan_.averages[place.step] != 0; };
    const auto guesses = [&](const Place& place) { return averages(place) && !place.second; };
    std::vector<RenoiseSlot> guess(slots), whole(slots);
    bool any_guess = false, any_whole = false, any_noise = false;
    for (size_t slot = 0; slot < slots; ++slot) {
      const Place& place = places_[slot];
      const int32_t k = place.step;
      RenoiseSlot step{.row = static_cast<int32_t>(place.row),
                       .flags = RenoiseSlot::kActive,
                       .a = static_cast<float>(plan_.sample[k]),
                       .b = static_cast<float>(plan_.output[k])};
      if (guesses(place)) {
        guess[slot] = step;
        any_guess = true;
        continue;
      }
      if (place.second) step.flags |= RenoiseSlot::kAverage;
      if (plan_.noise[k] != 0) {
        step.flags |= RenoiseSlot::kNoise;
        step.noise_scale = static_cast<float>(plan_.noise[k]);
        any_noise = true;
      }
      whole[slot] = k == last_step(place.row) ? target_slot(place.row, step) : step;
      any_whole = true;
    }

    // First predictions, where each slot keeps its own until the second is there.
    if (std::ranges::none_of(places_, &Place::second)) {
      first_SN_ = prediction_SN_;
    } else {
      for (size_t slot = 0; slot < slots; ++slot) {
        if (places_[slot].second) continue;
        first_SN_[static_cast<int64_t>(slot)].copy_(prediction_SN_[static_cast<int64_t>(slot)]);
      }
    }
    at::Tensor next_input_SN = at::empty_like(input_SN_);
    std::swap(input_SN_, next_input_SN);
    if (any_guess) update(guess, first_SN_, prediction_SN_, {}, /*writes_latents=*/false, /*writes_input=*/true);
    if (any_whole) {
      update(whole, first_SN_, prediction_SN_, any_noise ? noise() : at::Tensor(), /*writes_latents=*/true,
             /*writes_input=*/true);
    }

    std::vector<Place> next;
    came_from_.clear();
    for (size_t slot = 0; slot < slots; ++slot) {
      Place place = places_[slot];
      if (guesses(place)) {
        place.second = true;
      } else {
        place.second = false;
        if (place.step++ == last_step(place.row)) {
          changed_ = true;
          continue;
        }
      }
      next.push_back(place);
      came_from_.push_back(static_cast<int64_t>(slot));
    }
    places_ = std::move(next);
    while (places_.size() < slots && !waiting.empty()) {
      admit(waiting);
      came_from_.push_back(-1);
    }
  }

  at::Tensor noise() {
    std::vector<int64_t> items;
    for (const Place& place : places_) {
      const int64_t item = window_.options.items[static_cast<size_t>(place.row)];
      items.push_back(item * SMPO_MAX_INVERSION_STEPS + (place.step - first_step(place.row)));
    }
    std::vector<int64_t> shape = latents_RN_.sizes().vec();
    shape[0] = static_cast<int64_t>(items.size());
    Tensor drawn{at::empty(shape, latents_RN_.options())};
    fill_normal(session_, drawn, kInversionNoise, window_.options.step, items);
    return drawn.value;
  }

  RenoiseSlot target_slot(int64_t row, RenoiseSlot slot) const {
    slot.flags |= RenoiseSlot::kTarget;
    slot.target_x = plan_.target_sample[row];
    slot.target_x0 = plan_.target_clean[row];
    return slot;
  }

  void update(const std::vector<RenoiseSlot>& slots, const at::Tensor& first, const at::Tensor& second,
              const at::Tensor& noise, bool writes_latents, bool writes_input) {
    kernels::RenoiseUpdateArgs args{.slots = static_cast<int64_t>(slots.size()),
                                    .elements = window_.elements(),
                                    .slot_S = slots.data(),
                                    .latents_RN = latents_RN_.const_data_ptr<float>(),
                                    .first_prediction_SN = tape::data_of(first),
                                    .second_prediction_SN = tape::data_of(second),
                                    .prediction_dtype = tape::dtype_of(first),
                                    .noise_SN = tape::data_of<float>(noise),
                                    .clean_latents_RN = window_.latents_RCHW.const_data_ptr<float>(),
                                    .updated_RN = writes_latents ? latents_RN_.mutable_data_ptr<float>() : nullptr,
                                    .unet_input_SN = writes_input ? input_SN_.mutable_data_ptr() : nullptr,
                                    .unet_input_dtype = tape::dtype_of(input_SN_),
                                    .target_RN = target_RN_.mutable_data_ptr<float>()};
    const auto bytes = static_cast<int64_t>(slots.size() * sizeof(RenoiseSlot));
    const at::Tensor table = copy_to<uint8_t>(
        latents_RN_.device(), {reinterpret_cast<const uint8_t*>(slots.data()), static_cast<size_t>(bytes)});
    args.slot_S = static_cast<const RenoiseSlot*>(table.const_data_ptr());
    tape::kernels_of(latents_RN_)(&kernels::Families::renoise_update, args);
  }

  Session& session_;
  const Window& window_;
  const Model& model_;
  const smpo_inversion_plan& plan_;

  at::Tensor latents_RN_, target_RN_;
  std::vector<Place> places_;
  // Of each place in the batch before; -1 for an image that has just come.
  std::vector<int64_t> came_from_;
  bool changed_ = true;
  models::UNet::Inputs inputs_;
  at::Tensor input_SN_, first_SN_, prediction_SN_;

  uint32_t batches_ = 0;
  uint64_t evaluations_ = 0;
  double unet_seconds_ = 0;
};

}  // namespace

smpo_inversion_report invert(Session& session, Window& window, const Model& model, const smpo_inversion_plan& plan) {
  require_denoiser(model, "model");
  check(window, plan);
  const Clock::time_point start = Clock::now();
  Run run(session, window, model, plan);
  with_memory_advice([&run] { run.run(); },
                     "plan.slots: " + std::to_string(plan.slots) +
                         " images at once do not fit into memory: lower inversion.slots, and resume");
  window.noised_RCHW = run.latents();
  window.target_RCHW = run.target();
  smpo_inversion_report report = run.report();
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace smpo::engine
