#include "engine/optimizer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/failure.h"
#include "engine/model_value.h"
#include "engine/pair_batch_value.h"
#include "engine/session.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "kernels/adafactor.h"
#include "kernels/adamw.h"
#include "kernels/ema_update.h"
#include "kernels/grad_norm.h"
#include "tape/kernel_call.h"

namespace smpo::engine {

using kernels::Families;
using kernels::GradNormResult;
using models::ParameterGroup;

namespace {

constexpr int64_t kMostSteps = int64_t{1} << 53;  // from there on a double skips numbers

// What a checkpoint keeps: a view of one of the flat buffers, in the parameter's own shape.
struct State {
  std::string name;
  at::Tensor value;
  bool negative;  // whether values below zero make sense
};

// Where Adafactor keeps the second moment of one parameter: offsets into one buffer, in elements.
struct SecondMoment {
  kernels::AdafactorShape shape;
  int64_t row = 0;
  int64_t column = 0;
  int64_t v = 0;
  int64_t workspace = 0;  // in bytes, into a buffer of its own
};

float* floats(const at::Tensor& tensor) { return at::Tensor(tensor).mutable_data_ptr<float>(); }

}  // namespace

struct Optimizer {
  std::shared_ptr<Model> model;
  smpo_optimizer_options options;
  int64_t steps = 0;

  // Flat, laid out like the parameters: what lies between these is zero and stays so.
  at::Tensor exp_avg = {};     // undefined for Adafactor without a first moment
  at::Tensor exp_avg_sq = {};  // AdamW's
  at::Tensor ema = {};         // undefined without

  // Adafactor's: in the order of the parameters.
  std::vector<SecondMoment> second_moments = {};
  at::Tensor factors = {};
  at::Tensor workspace = {};

  std::vector<State> states = {};
  std::unordered_map<std::string, size_t> state_of_name = {};

  // Where the kernels run: a GradNormResult, and what summing takes.
  at::Tensor norm = {};
  at::Tensor norm_workspace = {};

  ParameterGroup& group() const { return *model->weights().trained(); }
};

namespace {

void require_number(bool good, const char* name, const char* expected, double got) {
  if (!good) fail(SMPO_INVALID_ARGUMENT, "options.", name, ": expected ", expected, ", got ", got);
}

// A positive number that stays one when it is narrowed to a float: the kernels divide by it.
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
  require_number(options.beta2 == 0, "beta2", "0, as Adafactor has none", options.beta2);
  require_number(positive(options.parameter_eps), "parameter_eps", "an f32 above 0", options.parameter_eps);
  require_number(positive(options.clip_threshold), "clip_threshold", "an f32 above 0", options.clip_threshold);
  require_number(options.decay_rate < 0 && std::isfinite(options.decay_rate), "decay_rate", "a finite number below 0",
                 options.decay_rate);
  require_number(options.warmup_init == 0 || options.relative_step == 1, "warmup_init", "0 without relative_step",
                 options.warmup_init);
}

void add_state(Optimizer& optimizer, std::string name, at::Tensor value, bool negative) {
  optimizer.state_of_name.emplace(name, optimizer.states.size());
  optimizer.states.push_back({std::move(name), std::move(value), negative});
}

// Views of the flat buffer for every parameter.
void add_states(Optimizer& optimizer, const char* kind, const at::Tensor& flat, bool negative) {
  for (const ParameterGroup::Entry& entry : optimizer.group().entries()) {
    add_state(optimizer, std::string(kind) + "." + entry.name, ParameterGroup::view(flat, entry), negative);
  }
}

// transformers factors over the last two dimensions; a filter has these before its channels in memory.
kernels::AdafactorShape factored_shape(const std::vector<int64_t>& shape) {
  if (shape.size() == 4) return {.outer = shape[0], .rows = shape[2], .columns = shape[3], .inner = shape[1]};
  if (shape.size() < 2) return {.columns = shape.empty() ? 1 : shape[0], .factored = false};
  kernels::AdafactorShape factored{.rows = shape[shape.size() - 2], .columns = shape.back()};
  for (size_t i = 0; i + 2 < shape.size(); ++i) factored.outer *= shape[i];
  return factored;
}

// A row or column mean, [outer,length,inner] in memory, as transformers has it: the parameter's shape without its
// dimension `gone`, which is the last or the one before it.
at::Tensor mean_view(const at::Tensor& flat, int64_t offset, int64_t length, const std::vector<int64_t>& shape,
                     bool gone_is_last) {
  std::vector<int64_t> sizes(shape.begin(), shape.end() - 2);
  sizes.push_back(gone_is_last ? shape[shape.size() - 2] : shape.back());
  if (shape.size() != 4) return flat.narrow(0, offset, length).view(sizes);
  return flat.narrow(0, offset, length).view({sizes[0], sizes[2], sizes[1]}).permute({0, 2, 1});
}

void add_adafactor_state(Optimizer& optimizer) {
  const ParameterGroup& group = optimizer.group();
  int64_t end = 0;
  int64_t workspace = 0;
  // A GPU works on all parameters at once; the CPU may use one workspace for all.
  const bool one_by_one = tape::kernels_of(group.master()).of_the_cpu();
  const auto reserve = [&end](int64_t elements) {
    const int64_t offset = end;
    end += (elements + ParameterGroup::kAlignment - 1) / ParameterGroup::kAlignment * ParameterGroup::kAlignment;
    return offset;
  };
  for (const ParameterGroup::Entry& entry : group.entries()) {
    SecondMoment moment{.shape = factored_shape(entry.shape)};
    moment.row = reserve(moment.shape.row_elements());
    moment.column = reserve(moment.shape.column_elements());
    moment.v = reserve(moment.shape.factored ? 0 : entry.elements);
    const int64_t bytes = (kernels::adafactor_workspace_bytes(moment.shape) + 15) / 16 * 16;
    if (one_by_one) {
      workspace = std::max(workspace, bytes);
    } else {
      moment.workspace = std::exchange(workspace, workspace + bytes);
    }
    optimizer.second_moments.push_back(moment);
  }
  optimizer.factors = at::zeros({end}, group.master().options());
  optimizer.workspace = at::empty({workspace}, group.master().options().dtype(at::kByte));
  for (size_t i = 0; i < group.entries().size(); ++i) {
    const ParameterGroup::Entry& entry = group.entries()[i];
    const SecondMoment& moment = optimizer.second_moments[i];
    if (!moment.shape.factored) {
      add_state(optimizer, "exp_avg_sq." + entry.name,
                optimizer.factors.narrow(0, moment.v, entry.elements).view(entry.shape), /*negative=*/false);
      continue;
    }
    add_state(optimizer, "exp_avg_sq_row." + entry.name,
              mean_view(optimizer.factors, moment.row, moment.shape.row_elements(), entry.shape, true),
              /*negative=*/false);
    add_state(optimizer, "exp_avg_sq_col." + entry.name,
              mean_view(optimizer.factors, moment.column, moment.shape.column_elements(), entry.shape, false),
              /*negative=*/false);
  }
}

const State& existing(const Optimizer& optimizer, std::string_view name) {
  const auto found = optimizer.state_of_name.find(std::string(name));
  if (found == optimizer.state_of_name.end()) fail(SMPO_INVALID_ARGUMENT, "name: the optimizer has no state ", name);
  return optimizer.states[found->second];
}

void require_host_spec(const State& state, const TensorSpec& spec) {
  if (spec.dtype() != SMPO_F32) {
    fail(SMPO_DTYPE_MISMATCH, state.name, ": expected f32, got ", dtype_name(spec.dtype()));
  }
  const at::IntArrayRef shape = state.value.sizes();
  if (!std::ranges::equal(spec.shape(), shape)) {
    fail(SMPO_SHAPE_MISMATCH, state.name, ": expected shape ", shape_text({shape.data(), shape.size()}), ", got ",
         shape_text(spec.shape()));
  }
}

// Leaves the norm, the clip coefficient and the flag where the update reads them.
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

// The compute copy, where it is one: else null.
void* copy_of(const ParameterGroup& group) {
  const at::Tensor& compute = group.compute();
  return compute.is_same(group.master()) ? nullptr : at::Tensor(compute).mutable_data_ptr();
}

void update_adamw(const Optimizer& optimizer, double learning_rate, const GradNormResult& norm) {
  const smpo_optimizer_options& options = optimizer.options;
  const ParameterGroup& group = optimizer.group();
  const auto step = static_cast<double>(optimizer.steps + 1);
  // What lies between parameters: 0 / (0 + eps), so the whole buffer is one array of parameters.
  const kernels::AdamWArgs args{.elements = group.master().numel(),
                                .parameter = floats(group.master()),
                                .gradient = group.gradient().const_data_ptr<float>(),
                                .m = floats(optimizer.exp_avg),
                                .v = floats(optimizer.exp_avg_sq),
                                .compute = copy_of(group),
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

void update_adafactor(const Optimizer& optimizer, double learning_rate, const GradNormResult& norm) {
  const smpo_optimizer_options& options = optimizer.options;
  const ParameterGroup& group = optimizer.group();
  auto* copy = static_cast<uint8_t*>(copy_of(group));
  std::vector<kernels::AdafactorTensor> tensors;
  tensors.reserve(group.entries().size());
  for (size_t i = 0; i < group.entries().size(); ++i) {
    const int64_t offset = group.entries()[i].offset;
    const SecondMoment& moment = optimizer.second_moments[i];
    const bool factored = moment.shape.factored;
    tensors.push_back(
        {.shape = moment.shape,
         .parameter = floats(group.master()) + offset,
         .gradient = group.gradient().const_data_ptr<float>() + offset,
         .m = optimizer.exp_avg.defined() ? floats(optimizer.exp_avg) + offset : nullptr,
         .row = factored ? floats(optimizer.factors) + moment.row : nullptr,
         .column = factored ? floats(optimizer.factors) + moment.column : nullptr,
         .v = factored ? nullptr : floats(optimizer.factors) + moment.v,
         .compute = copy == nullptr ? nullptr : copy + offset * kernels::size_of(kernels::DType::kBF16),
         .workspace = static_cast<uint8_t*>(at::Tensor(optimizer.workspace).mutable_data_ptr()) + moment.workspace});
  }
  kernels::AdafactorGroupArgs args{
      .count = static_cast<int64_t>(tensors.size()),
      .rule = {.compute_dtype = kernels::DType::kBF16,
               .lr = learning_rate,
               .beta1 = options.beta1,
               .beta2 = 1 - std::pow(static_cast<double>(optimizer.steps + 1), options.decay_rate),
               .eps = options.eps,
               .parameter_eps = options.parameter_eps,
               .clip_threshold = options.clip_threshold,
               .weight_decay = options.weight_decay,
               .scale_parameter = options.scale_parameter == 1,
               .grad_scale = &norm.clip_coefficient,
               .finite = &norm.finite},
      .copies = copy != nullptr};
  kernels::adafactor_place(tensors.data(), args.count, args.units);
  const at::Tensor table = copy_to<uint8_t>(
      group.master().device(), {reinterpret_cast<const uint8_t*>(tensors.data()), tensors.size() * sizeof tensors[0]});
  args.tensors = static_cast<const kernels::AdafactorTensor*>(table.const_data_ptr());
  tape::kernels_of(group.master())(&Families::adafactor_group, args);
}

// The learning rate of the next step.
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
  const kernels::EmaUpdateArgs args{.elements = master.numel(),
                                    .average = floats(optimizer.ema),
                                    .parameter = master.const_data_ptr<float>(),
                                    .decay = optimizer.options.ema_decay,
                                    .finite = &norm.finite};
  tape::kernels_of(master)(&Families::ema_update, args);
}

// The step's one read: the norm, and the results of the batches whose gradients it used.
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

std::shared_ptr<Optimizer> open_optimizer(Session&, std::shared_ptr<Model> model,
                                          const smpo_optimizer_options& options) {
  check_options(options);
  const ParameterGroup* group = model->weights().trained();
  if (group == nullptr) {
    fail(SMPO_INVALID_ARGUMENT, "model: expected one that trains or has adapters, got one where nothing trains");
  }
  if (!model->optimizer.expired()) {
    fail(SMPO_INVALID_ARGUMENT, "model: expected one without an optimizer, got one that has an open one");
  }
  model->weights().require_written();

  auto optimizer = std::make_shared<Optimizer>(Optimizer{.model = std::move(model), .options = options});
  const at::Tensor& master = group->master();
  if (options.kind == SMPO_OPTIMIZER_ADAMW || options.beta1 > 0) {
    optimizer->exp_avg = at::zeros_like(master);
    add_states(*optimizer, "exp_avg", optimizer->exp_avg, /*negative=*/true);
  }
  if (options.kind == SMPO_OPTIMIZER_ADAMW) {
    optimizer->exp_avg_sq = at::zeros_like(master);
    add_states(*optimizer, "exp_avg_sq", optimizer->exp_avg_sq, /*negative=*/false);
  } else {
    add_adafactor_state(*optimizer);
  }
  if (options.ema_decay > 0) {
    optimizer->ema = master.clone();
    add_states(*optimizer, "ema", optimizer->ema, /*negative=*/true);
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
  // Everything is queued before the one wait: the kernels read the flag themselves.
  const auto& on_device = *static_cast<const GradNormResult*>(optimizer.norm.const_data_ptr());
  if (optimizer.options.kind == SMPO_OPTIMIZER_ADAMW) {
    update_adamw(optimizer, learning_rate, on_device);
  } else {
    update_adafactor(optimizer, learning_rate, on_device);
  }
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

smpo_state_info describe_state(const Optimizer& optimizer, uint32_t index) {
  if (index >= optimizer.states.size()) {
    fail(SMPO_INVALID_ARGUMENT, "index: expected 0..", optimizer.states.size() - 1, ", got ", index);
  }
  const State& state = optimizer.states[index];
  smpo_state_info info{};
  info.size = sizeof info;
  for (const int64_t size : state.value.sizes()) info.shape[info.rank++] = size;
  copy_text(info.name, sizeof info.name, state.name.c_str());
  return info;
}

void read_state(Session& session, const Optimizer& optimizer, std::string_view name, const TensorSpec& spec,
                void* data) {
  const State& state = existing(optimizer, name);
  require_host_spec(state, spec);
  view_of_host(spec, data).copy_(download(session, state.value));
}

void write_state(Optimizer& optimizer, std::string_view name, const TensorSpec& spec, const void* data) {
  const State& state = existing(optimizer, name);
  require_host_spec(state, spec);
  const auto* values = static_cast<const float*>(data);
  for (int64_t i = 0; i < spec.elements(); ++i) {
    if (!std::isfinite(values[i])) {
      fail(SMPO_NON_FINITE, name, ": expected finite values, got ", values[i], " at element ", i);
    }
    if (values[i] < 0 && !state.negative) {
      fail(SMPO_INVALID_ARGUMENT, name, ": expected values of at least 0, got ", values[i], " at element ", i);
    }
  }
  at::Tensor(state.value).copy_(view_of_host(spec, const_cast<void*>(data)));
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
  // All checks before the first write.
  for (const ParameterGroup::Entry& entry : optimizer.group().entries()) {
    const ParameterGroup::Entry* twin = weights.find(entry.name);
    if (twin == nullptr) fail(SMPO_INVALID_ARGUMENT, "model: expected a parameter ", entry.name, ", it has none");
    if (twin->shape != entry.shape) {
      fail(SMPO_SHAPE_MISMATCH, "model: ", entry.name, ": expected shape ", shape_text(entry.shape), ", got ",
           shape_text(twin->shape));
    }
  }
  for (const ParameterGroup::Entry& entry : optimizer.group().entries()) {
    weights.write(entry.name, ParameterGroup::view(optimizer.ema, entry));
  }
}

}  // namespace smpo::engine
