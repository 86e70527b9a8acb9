#include "engine/window.h"

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
#include "engine/session.h"
#include "engine/tensor.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "engine/window_value.h"

namespace smpo::engine {
namespace {

// Of the random numbers; org.smpo.random.Purpose has the same numbers.
constexpr uint32_t kVaeSample = 4;
constexpr uint32_t kForwardNoise = 5;

constexpr int64_t kItemEnd = int64_t{1} << 44;
constexpr int32_t kTimestepEnd = 1 << 24;  // exact in f32

// `rank` dimensions, the first of `first` entries, and something in each.
void require_rows(const at::Tensor& value, int64_t rank, int64_t first, const char* name, const char* shape) {
  if (value.dim() != rank || value.size(0) != first || value.numel() == 0) {
    fail(SMPO_SHAPE_MISMATCH, name, ": expected ", shape, " with ", first, " in front, got ", shape_text(value));
  }
}

// A coefficient of every row, as a column that broadcasts over [R,C,H,W].
at::Tensor column(const Window& window, const double* values, const char* name) {
  require_all_finite(values, window.rows(), name);
  const std::vector<float> narrowed(values, values + window.rows());
  return copy_to<float>(window.latents_RCHW.device(), narrowed).view({-1, 1, 1, 1});
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

std::shared_ptr<Window> open_window(WindowOptions options, const UNetTensors& tensors) {
  const int64_t pairs = options.pairs;
  const at::Tensor& latents = tensors.sample->value;
  require_f32(latents, "inputs.latents");
  require_rows(latents, 4, 2 * pairs, "inputs.latents", "[2W,C,h,w]");
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
  const auto f64 = latents.options().dtype(at::kDouble);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  auto window = std::make_shared<Window>(Window{.options = std::move(options),
                                                .latents_RCHW = latents.clone(),
                                                .encoder_hidden_states_WSD = states.clone(),
                                                .results = at::full({6 * pairs + 1}, nan, f64)});
  window->loss_sum.zero_();
  if (tensors.text_embeds != nullptr) {
    require_rows(tensors.text_embeds->value, 2, pairs, "inputs.text_embeds", "[W,E]");
    window->text_embeds_WE = tensors.text_embeds->value.clone();
  }
  if (tensors.time_ids != nullptr) {
    require_f32(tensors.time_ids->value, "inputs.time_ids");
    require_rows(tensors.time_ids->value, 2, 2 * pairs, "inputs.time_ids", "[2W,K]");
    window->time_ids_RK = tensors.time_ids->value.clone();
  }
  if (window->options.keep_predictions) {
    window->prediction_RCHW = at::zeros_like(window->latents_RCHW);
    window->reference_prediction_RCHW = at::zeros_like(window->latents_RCHW);
  }
  return window;
}

int64_t rows(const Window& window) { return window.rows(); }

void add_noise(Session& session, Window& window, const smpo_forward_noise& noise) {
  const at::Tensor sample = column(window, noise.sample, "noise.sample");
  const at::Tensor scale = column(window, noise.noise, "noise.noise");
  const at::Tensor target_sample = column(window, noise.target_sample, "noise.target_sample");
  const at::Tensor target_noise = column(window, noise.target_noise, "noise.target_noise");
  std::vector<int64_t> items = window.options.items;
  if (noise.per_image == 0) {
    const auto pairs = static_cast<std::ptrdiff_t>(window.pairs());
    std::copy(items.begin(), items.begin() + pairs, items.begin() + pairs);
  }
  Tensor normal{at::empty_like(window.latents_RCHW)};
  fill_normal(session, normal, kForwardNoise, window.options.step, items);
  const at::Tensor& x0 = window.latents_RCHW;
  at::Tensor target = x0.mul(target_sample).add_(normal.value.mul(target_noise));
  window.noised_RCHW = x0.mul(sample).add_(normal.value.mul_(scale));
  window.target_RCHW = std::move(target);
}

void read(Session& session, const Window& window, smpo_window_results& results) {
  const at::Tensor host = window.results_on_host.defined() ? window.results_on_host : download(session, window.results);
  const auto* values = host.const_data_ptr<double>();
  const int64_t pairs = window.pairs();
  std::copy_n(values, 4 * pairs, results.errors);
  std::copy_n(values + 4 * pairs, pairs, results.logits);
  std::copy_n(values + 5 * pairs, pairs, results.losses);
  results.loss_sum = values[6 * pairs];
}

std::shared_ptr<Tensor> window_tensor(const Window& window, int32_t which) {
  const at::Tensor* value = nullptr;
  switch (which) {
    case SMPO_WINDOW_NOISED:
      value = &window.noised_RCHW;
      break;
    case SMPO_WINDOW_TARGET:
      value = &window.target_RCHW;
      break;
    case SMPO_WINDOW_PREDICTION:
      value = &window.prediction_RCHW;
      break;
    case SMPO_WINDOW_REFERENCE_PREDICTION:
      value = &window.reference_prediction_RCHW;
      break;
    default:
      fail(SMPO_INTERNAL, "which: ", which);
  }
  if (!value->defined()) {
    const bool prediction = which >= SMPO_WINDOW_PREDICTION;
    fail(SMPO_INVALID_ARGUMENT, "which: expected a tensor that the window has, got ", which, ", ",
         prediction ? "though predictions were not to be kept" : "though it was neither noised nor inverted");
  }
  return hold(value->clone());
}

}  // namespace smpo::engine
