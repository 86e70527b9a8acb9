#include "engine/optimizer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "engine/adafactor.h"
#include "engine/error.h"
#include "engine/optimizer_value.h"
#include "engine/pair_batch_value.h"
#include "engine/session.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "kernels/adamw.h"
#include "kernels/ema_update.h"
#include "kernels/grad_norm.h"
#include "tape/kernel_call.h"

namespace smpo::engine {

using kernels::Families;
using kernels::GradNormResult;
using models::ParameterGroup;

namespace {

constexpr int64_t kMostSteps = int64_t{1} << 53;  // beyond it a double skips integers

void require_number(bool good, const char* name, const char* expected, double got) {
  if (!good) fail(SMPO_INVALID_ARGUMENT, "options.", name, ": expected ", expected, ", got ", got);
}

// Whether the value is still a positive number after narrowing to f32; the kernels divide by it.
bool positive(double value) {
  return value >= std::numeric_limits<float>::min() && value <= std::numeric_limits<float>::max();
}

bool fraction(double value) { return value >= 0 && value < 1; }

void check_options(const smpo_optimizer_options& options) {
  const bool adamw = options.kind == SMPO_OPTIMIZER_ADAMW;
  require_number(fraction(options.beta1), "beta1", "a number in [0,1)", options.beta1);
  require_number(positive(options.eps), "eps", "an f32 above 0", options.eps);
  require_number(options.weight_decay >= 0 && std::isfinite(options.weight_decay), "weight_decay",
                 "a finite number of at least 0", options.weight_decay);
  require_number(fraction(options.ema_decay), "ema_decay", "a number in [0,1)", options.ema_decay);
  if (adamw) {
    require_number(fraction(options.beta2), "beta2", "a number in [0,1)", options.beta2);
    for (const auto& [name, value] : {std::pair{"parameter_eps", options.parameter_eps},
                                      {"clip_threshold", options.clip_threshold},
                                      {"decay_rate", options.decay_rate},
                                      {"scale_parameter", options.scale_parameter},
                                      {"relative_step", options.relative_step},
                                      {"warmup_init", options.warmup_init}}) {
      require_number(value == 0, name, "0, as AdamW has none", value);
    }
    return;
  }
  if (options.comm != 0) {
    fail(SMPO_INVALID_ARGUMENT,
         "options.comm: expected 0 for Adafactor, whose statistics are of whole matrices, got a group");
  }
  require_number(options.beta2 == 0, "beta2", "0, as Adafactor has none", options.beta2);
  require_number(positive(options.parameter_eps), "parameter_eps", "an f32 above 0", options.parameter_eps);
  require_number(positive(options.clip_threshold), "clip_threshold", "an f32 above 0", options.clip_threshold);
  require_number(options.decay_rate < 0 && std::isfinite(options.decay_rate), "decay_rate", "a finite number below 0",
                 options.decay_rate);
  require_number(options.warmup_init == 0 || options.relative_step == 1, "warmup_init", "0 without relative_step",
                 options.warmup_init);
}

// Adds one state per parameter, of a flat buffer or of this process's part of it.
void add_states(Optimizer& optimizer, const char* kind, const at::Tensor& flat, bool may_be_negative) {
  for (const ParameterGroup::Entry& entry : optimizer.group().entries()) {
    std::string name = std::string(kind) + "." + entry.name;
    if (optimizer.shard.shared()) {
      optimizer.add_state({std::move(name), flat, may_be_negative, entry.shape, &entry});
    } else {
      optimizer.add_state(std::move(name), ParameterGroup::view(flat, entry), may_be_negative);
    }
  }
}

// Computes the norm, the clip coefficient and the finite flag into device memory, where the update reads them.
void measure_gradient(const Optimizer& optimizer, double max_grad_norm) {
  const at::Tensor& gradient = optimizer.group().gradient();
  const kernels::GradNormArgs args{
      .gradient = gradient.const_data_ptr<float>(),
      .elements = gradient.numel(),
      .max_norm = max_grad_norm,
      .result = static_cast<GradNormResult*>(at::Tensor(optimizer.norm).mutable_data_ptr()),
      .workspace = at::Tensor(optimizer.norm_workspace).mutable_data_ptr()};
  tape::kernels_of(gradient)(&Families::grad_norm, args);
}

void update_adamw(const Optimizer& optimizer, double learning_rate, const GradNormResult& norm) {
  const smpo_optimizer_options& options = optimizer.options;
  const ParameterGroup& group = optimizer.group();
  const auto step = static_cast<double>(optimizer.steps + 1);
  auto* compute = static_cast<uint8_t*>(compute_copy(group));
  for (const Shard::Run& run : optimizer.shard.runs()) {
    // A run is updated as one array: in the gaps between parameters the update is 0 / (0 + eps) = 0.
    const kernels::AdamWArgs args{
        .elements = run.elements,
        .parameter = floats(group.master()) + run.flat,
        .gradient = group.gradient().const_data_ptr<float>() + run.flat,
        .m = floats(optimizer.exp_avg) + run.own,
        .v = floats(optimizer.exp_avg_sq) + run.own,
        .compute = compute == nullptr ? nullptr : compute + run.flat * kernels::size_of(kernels::DType::kBF16),
        .compute_dtype = kernels::DType::kBF16,
        .lr = learning_rate,
        .beta1 = options.beta1,
        .beta2 = options.beta2,
        .eps = options.eps,
        .weight_decay = options.weight_decay,
        .bias_correction1 = 1 - std::pow(options.beta1, step),
        .bias_correction2 = 1 - std::pow(options.beta2, step),
        .grad_scale = &norm.clip_coefficient,
        .finite = &norm.finite};
    tape::kernels_of(group.master())(&Families::adamw, args);
  }
}

// Returns the learning rate of the next step.
double learning_rate_of(const Optimizer& optimizer, double given) {
  const smpo_optimizer_options& options = optimizer.options;
  if (options.relative_step == 1) {
    if (given != 0) fail(SMPO_INVALID_ARGUMENT, "learning_rate: expected 0 with relative_step, got ", given);
    const auto step = static_cast<double>(optimizer.steps + 1);
    return std::min(options.warmup_init == 1 ? 1e-6 * step : 1e-2, 1 / std::sqrt(step));
  }
  if (!(given >= 0 && given <= std::numeric_limits<float>::max())) {
    fail(SMPO_INVALID_ARGUMENT, "learning_rate: expected a finite f32 of at least 0, got ", given);
  }
  return given;
}

void update_ema(const Optimizer& optimizer, const GradNormResult& norm) {
  const at::Tensor& master = optimizer.group().master();
  for (const Shard::Run& run : optimizer.shard.runs()) {
    const kernels::EmaUpdateArgs args{.elements = run.elements,
                                      .average = floats(optimizer.ema) + run.own,
                                      .parameter = master.const_data_ptr<float>() + run.flat,
                                      .decay = optimizer.options.ema_decay,
                                      .finite = &norm.finite};
    tape::kernels_of(master)(&Families::ema_update, args);
  }
}

// Downloads the norm, and the results of the pair batches whose gradients the step used, with one wait.
GradNormResult read_outcome(Session& session, Optimizer& optimizer) {
  std::vector<std::shared_ptr<PairBatch>> batches;
  std::vector<at::Tensor> values = {optimizer.norm};
  for (const std::weak_ptr<PairBatch>& accumulated : std::exchange(optimizer.model->accumulated, {})) {
    std::shared_ptr<PairBatch> batch = accumulated.lock();
    if (batch == nullptr) continue;
    values.push_back(batch->results);
    batches.push_back(std::move(batch));
  }
  const std::vector<at::Tensor> on_host = download_all(session, values);
  for (size_t i = 0; i < batches.size(); ++i) batches[i]->results_on_host = on_host[i + 1];
  GradNormResult norm;
  std::memcpy(&norm, on_host[0].const_data_ptr(), sizeof norm);
  return norm;
}

}  // namespace

std::shared_ptr<Optimizer> open_optimizer(Session&, std::shared_ptr<Model> model, const smpo_optimizer_options& options,
                                          std::shared_ptr<Comm> comm) {
  check_options(options);
  const ParameterGroup* group = model->weights().trained();
  if (group == nullptr) {
    fail(SMPO_INVALID_ARGUMENT, "model: expected one that trains or has adapters, got one where nothing trains");
  }
  if (!model->optimizer.expired()) {
    fail(SMPO_INVALID_ARGUMENT, "model: expected one without an optimizer, got one that has an open one");
  }
  model->weights().require_written();

  const at::Tensor& master = group->master();
  auto optimizer = std::make_shared<Optimizer>(
      Optimizer{.model = std::move(model), .options = options, .shard = Shard(std::move(comm), master.numel())});
  const auto zeros = [&] { return at::zeros({optimizer->shard.elements()}, master.options()); };
  if (options.kind == SMPO_OPTIMIZER_ADAMW || options.beta1 > 0) {
    optimizer->exp_avg = zeros();
    add_states(*optimizer, "exp_avg", optimizer->exp_avg, /*may_be_negative=*/true);
  }
  if (options.kind == SMPO_OPTIMIZER_ADAMW) {
    optimizer->exp_avg_sq = zeros();
    add_states(*optimizer, "exp_avg_sq", optimizer->exp_avg_sq, /*may_be_negative=*/false);
  } else {
    add_adafactor_state(*optimizer);
  }
  if (options.ema_decay > 0) {
    optimizer->ema = zeros();
    optimizer->shard.keep(master, 0, optimizer->ema);
    add_states(*optimizer, "ema", optimizer->ema, /*may_be_negative=*/true);
  }
  const auto bytes = master.options().dtype(at::kByte);
  optimizer->norm = at::empty({int64_t{sizeof(GradNormResult)}}, bytes);
  optimizer->norm_workspace = at::empty({kernels::grad_norm_workspace_bytes(master.numel())}, bytes);
  optimizer->model->optimizer = optimizer;
  return optimizer;
}

smpo_step_outcome step(Session& session, Optimizer& optimizer, double given_learning_rate, double max_grad_norm) {
  const double learning_rate = learning_rate_of(optimizer, given_learning_rate);
  if (!(max_grad_norm > 0)) {
    fail(SMPO_INVALID_ARGUMENT, "max_grad_norm: expected a number above 0, got ", max_grad_norm);
  }
  measure_gradient(optimizer, max_grad_norm);
  // Everything is queued before the only wait, since the kernels read the finite flag themselves.
  const auto& on_device = *static_cast<const GradNormResult*>(optimizer.norm.const_data_ptr());
  if (optimizer.options.kind == SMPO_OPTIMIZER_ADAMW) {
    update_adamw(optimizer, learning_rate, on_device);
  } else {
    update_adafactor(optimizer, learning_rate, on_device);
  }
  if (optimizer.shard.shared()) {
    optimizer.shard.complete(optimizer.group().master());
    optimizer.group().refresh_compute_copy();
  }
  optimizer.group().values_changed();
  if (optimizer.ema.defined()) update_ema(optimizer, on_device);

  const GradNormResult norm = read_outcome(session, optimizer);
  const bool finite = norm.finite != 0;
  if (finite) {
    at::Tensor(optimizer.group().gradient()).zero_();
    ++optimizer.steps;
  }
  smpo_step_outcome outcome{};
  outcome.size = sizeof outcome;
  outcome.finite = outcome.applied = finite ? 1 : 0;
  outcome.steps = optimizer.steps;
  outcome.grad_norm = norm.norm;
  outcome.clip_coefficient = static_cast<double>(norm.clip_coefficient);
  outcome.learning_rate = learning_rate;
  return outcome;
}

std::string find_non_finite(const Optimizer& optimizer) {
  for (const ParameterGroup::Entry& entry : optimizer.group().entries()) {
    if (!at::isfinite(entry.parameter->grad).all().item<bool>()) return entry.name;
  }
  return {};
}

smpo_optimizer_info describe(const Optimizer& optimizer) {
  smpo_optimizer_info info{};
  info.size = sizeof info;
  info.kind = optimizer.options.kind;
  info.state_count = static_cast<uint32_t>(optimizer.states.size());
  info.steps = optimizer.steps;
  for (const at::Tensor* buffer : {&optimizer.exp_avg, &optimizer.exp_avg_sq, &optimizer.factors, &optimizer.ema}) {
    if (buffer->defined()) info.bytes += buffer->nbytes();
  }
  return info;
}

void set_steps(Optimizer& optimizer, int64_t steps) {
  if (steps < 0 || steps >= kMostSteps) {
    fail(SMPO_INVALID_ARGUMENT, "steps: expected 0..", kMostSteps - 1, ", got ", steps);
  }
  optimizer.steps = steps;
}

void copy_ema(const Optimizer& optimizer, Model& target) {
  if (!optimizer.ema.defined()) {
    fail(SMPO_INVALID_ARGUMENT, "optimizer: expected one with an EMA, got one whose options.ema_decay is 0");
  }
  if (&target == optimizer.model.get()) {
    fail(SMPO_INVALID_ARGUMENT, "model: expected another one than the optimizer's own");
  }
  models::Weights& weights = target.weights();
  // Checked completely before the first write.
  for (const ParameterGroup::Entry& entry : optimizer.group().entries()) {
    const ParameterGroup::Entry* twin = weights.find(entry.name);
    if (twin == nullptr) fail(SMPO_INVALID_ARGUMENT, "model: expected a parameter ", entry.name, ", it has none");
    if (twin->shape != entry.shape) {
      fail(SMPO_SHAPE_MISMATCH, "model: ", entry.name, ": expected shape ", shape_text(entry.shape), ", got ",
           shape_text(twin->shape));
    }
  }
  for (const ParameterGroup::Entry& entry : optimizer.group().entries()) {
    weights.write(entry.name, whole(optimizer, optimizer.ema, entry));
  }
}

}  // namespace smpo::engine
