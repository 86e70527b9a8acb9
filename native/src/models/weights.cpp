#include "models/weights.h"

#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <unordered_set>
#include <utility>

namespace smpo::models {
namespace {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(std::move(message).str());
}

}  // namespace

// ---- one set of buffers

// Row-major, except that convolution filters [out,in,kh,kw] are stored as [out,kh,kw,in].
at::Tensor ParameterGroup::view(const at::Tensor& flat, const Entry& entry) {
  const std::vector<int64_t>& shape = entry.shape;
  if (shape.size() != 4) return flat.narrow(0, entry.offset, entry.elements).view(shape);
  return flat.narrow(0, entry.offset, entry.elements)
      .view({shape[0], shape[2], shape[3], shape[1]})
      .permute({0, 3, 1, 2});
}

void ParameterGroup::declare(tape::Parameter* parameter, std::string name, std::vector<int64_t> shape) {
  if (compute_.defined()) throw std::logic_error("weights: " + name + " is declared after allocate()");
  Entry entry{.name = std::move(name), .shape = std::move(shape), .offset = end_, .elements = 1};
  for (const int64_t size : entry.shape) {
    if (size < 1) refuse(entry.name, ": expected sizes of at least 1, got ", size);
    if (__builtin_mul_overflow(entry.elements, size, &entry.elements) || entry.elements > (int64_t{1} << 40)) {
      refuse(entry.name, ": more than 2^40 elements");
    }
  }
  entry.parameter = parameter;
  parameter->name = entry.name;
  elements_ += entry.elements;
  end_ += (entry.elements + kAlignment - 1) / kAlignment * kAlignment;
  entries_.push_back(std::move(entry));
}

void ParameterGroup::allocate(const WeightOptions& options) {
  const at::TensorOptions memory = at::TensorOptions().device(options.device);
  const auto wide = options.precision == at::kDouble ? at::kDouble : at::kFloat;
  compute_ = at::zeros({end_}, memory.dtype(options.precision));
  if (options.precision == wide) {
    master_ = compute_;
  } else if (options.trainable) {
    master_ = at::zeros({end_}, memory.dtype(wide));
  }
  if (options.trainable) gradient_ = at::zeros({end_}, memory.dtype(wide));
  if (options.device.is_cpu()) packed_ = std::make_unique<tape::PackedWeights>(options.packing);
  for (Entry& entry : entries_) {
    entry.parameter->packed = packed_.get();
    entry.parameter->value = view(compute_, entry);
    entry.master = view(master_.defined() ? master_ : compute_, entry);
    if (options.trainable) entry.parameter->grad = view(gradient_, entry);
  }
}

void ParameterGroup::values_changed() {
  if (packed_ != nullptr) packed_->clear();
}

void ParameterGroup::refresh_compute_copy() {
  values_changed();
  if (master_.defined() && !master_.is_same(compute_)) compute_.copy_(master_);
}

int64_t ParameterGroup::bytes() const {
  int64_t bytes = 0;
  for (const at::Tensor& buffer : {compute_, gradient_}) bytes += buffer.defined() ? int64_t(buffer.nbytes()) : 0;
  if (master_.defined() && !master_.is_same(compute_)) bytes += int64_t(master_.nbytes());
  return bytes;
}

// ---- declaration

Weights::Weights(const WeightOptions& options) : options_(options) {
  if (options.precision != at::kFloat && options.precision != at::kBFloat16 && options.precision != at::kDouble) {
    refuse("precision: expected f32 or bf16, got ", at::toString(options.precision));
  }
}

tape::Layer& Weights::new_layer(const std::string& name) {
  tape::Layer& layer = layers_.emplace_back();
  if (!layer_of_name_.emplace(name, &layer).second) throw std::logic_error("weights: " + name + " is declared twice");
  return layer;
}

const tape::Layer& Weights::linear(const std::string& name, int64_t in, int64_t out, bool bias) {
  tape::Layer& layer = new_layer(name);
  base_.declare(&layer.weight, name + ".weight", {out, in});
  if (bias) base_.declare(&layer.bias, name + ".bias", {out});
  return layer;
}

const tape::Layer& Weights::conv2d(const std::string& name, int64_t in, int64_t out, int64_t kernel, bool bias) {
  tape::Layer& layer = new_layer(name);
  base_.declare(&layer.weight, name + ".weight", {out, in, kernel, kernel});
  if (bias) base_.declare(&layer.bias, name + ".bias", {out});
  return layer;
}

const tape::Layer& Weights::norm(const std::string& name, int64_t channels) {
  tape::Layer& layer = new_layer(name);
  base_.declare(&layer.weight, name + ".weight", {channels});
  base_.declare(&layer.bias, name + ".bias", {channels});
  return layer;
}

const tape::Parameter& Weights::parameter(const std::string& name, std::vector<int64_t> shape) {
  tape::Parameter& parameter = lone_parameters_.emplace_back();
  base_.declare(&parameter, name, std::move(shape));
  return parameter;
}

void Weights::allocate() {
  base_.allocate(options_);
  for (const ParameterGroup::Entry& entry : base_.entries()) {
    if (!index_of_name_.emplace(entry.name, index_of_name_.size()).second) {
      throw std::logic_error("weights: " + entry.name + " is declared twice");
    }
  }
}

// ---- access

const ParameterGroup::Entry& Weights::entry(size_t index) const {
  const size_t own = base_.entries().size();
  return index < own ? base_.entries().at(index) : adapters_->entries().at(index - own);
}

const ParameterGroup::Entry* Weights::find(std::string_view name) const {
  const auto found = index_of_name_.find(std::string(name));
  return found == index_of_name_.end() ? nullptr : &entry(found->second);
}

const ParameterGroup::Entry& Weights::existing(std::string_view name) const {
  const ParameterGroup::Entry* entry = find(name);
  if (entry == nullptr) refuse(name, ": the model has no such parameter");
  return *entry;
}

void Weights::write(std::string_view name, const at::Tensor& value) {
  // The only place that changes an entry; `existing` returns it as const.
  auto& entry = const_cast<ParameterGroup::Entry&>(existing(name));
  if (value.sizes() != at::IntArrayRef(entry.shape)) {
    std::ostringstream message;
    message << name << ": expected shape " << at::IntArrayRef(entry.shape) << ", got " << value.sizes();
    throw ShapeMismatch(message.str());
  }
  if (!at::isFloatingType(value.scalar_type())) {
    refuse(name, ": expected a float dtype, got ", at::toString(value.scalar_type()));
  }
  entry.master.copy_(value);
  // Each copy is rounded once, from the given values.
  if (entry.parameter->value.scalar_type() != entry.master.scalar_type()) entry.parameter->value.copy_(entry.master);
  entry.written = true;
  base_.values_changed();
}

at::Tensor Weights::read(std::string_view name) const {
  return existing(name).master.clone(at::MemoryFormat::Contiguous);
}

Weights::Frozen::Frozen(Weights& weights) {
  for (ParameterGroup* group : {&weights.base(), weights.adapters()}) {
    if (group == nullptr) continue;
    for (const ParameterGroup::Entry& entry : group->entries()) {
      if (!entry.parameter->trainable()) continue;
      gradients_.emplace_back(entry.parameter, std::exchange(entry.parameter->grad, at::Tensor()));
    }
  }
}

Weights::Frozen::~Frozen() {
  for (auto& [parameter, gradient] : gradients_) parameter->grad = std::move(gradient);
}

at::Tensor Weights::read_gradient(std::string_view name) const {
  const ParameterGroup::Entry& entry = existing(name);
  if (!entry.parameter->trainable()) refuse(name, ": the parameter is frozen and has no gradient");
  return entry.parameter->grad.clone(at::MemoryFormat::Contiguous);
}

void Weights::zero_gradients() {
  if (base_.gradient().defined()) at::Tensor(base_.gradient()).zero_();
  if (adapters_) at::Tensor(adapters_->gradient()).zero_();
}

void Weights::require_written(bool adapters) const {
  constexpr size_t kShown = 5;
  std::vector<std::string_view> missing;
  for (const ParameterGroup* group : {&base_, adapters ? this->adapters() : nullptr}) {
    if (group == nullptr) continue;
    for (const ParameterGroup::Entry& entry : group->entries()) {
      if (!entry.written) missing.push_back(entry.name);
    }
  }
  if (missing.empty()) return;
  std::ostringstream names;
  for (size_t i = 0; i < std::min(missing.size(), kShown); ++i) names << (i > 0 ? ", " : "") << missing[i];
  if (missing.size() > kShown) names << ", ...";
  refuse("model: ", missing.size(), " of ", size(), " parameters were never written: ", names.str());
}

ParameterGroup* Weights::trained() {
  if (adapters_) return adapters_.get();
  return base_.gradient().defined() ? &base_ : nullptr;
}

// ---- adapters

void Weights::add_lora(const LoraOptions& options) {
  if (options_.trainable) refuse("lora: expected a frozen model, got one whose own parameters train");
  if (adapters_) refuse("lora: the model has adapters already; merge them first");
  if (options.rank < 1) refuse("spec.rank: expected at least 1, got ", options.rank);
  if (options.modules.empty()) refuse("spec.modules: expected at least one");
  std::unordered_set<std::string_view> seen;
  for (const std::string& module : options.modules) {
    const auto layer = layer_of_name_.find(module);
    if (layer == layer_of_name_.end()) refuse("spec.modules: the model has no layer ", module);
    const auto rank = layer->second->weight.value.dim();
    if (rank != 2 && rank != 4) refuse("spec.modules: ", module, " is neither linear nor a convolution");
    if (!seen.insert(module).second) refuse("spec.modules: ", module, " is named twice");
  }
  adapters_ = std::make_unique<ParameterGroup>();
  lora_scale_ = 1.0;
  alpha_over_rank_ = options.alpha / static_cast<double>(options.rank);
  for (const std::string& module : options.modules) {
    tape::Layer* layer = layer_of_name_.at(module);
    tape::Lora& lora = layer->lora.emplace();
    lora.scale = alpha_over_rank_;
    std::vector<int64_t> down = layer->weight.value.sizes().vec();
    std::vector<int64_t> up(down.size(), 1);
    up[0] = down[0];
    up[1] = options.rank;
    down[0] = options.rank;
    adapters_->declare(&lora.down, module + ".lora_A.weight", std::move(down));
    adapters_->declare(&lora.up, module + ".lora_B.weight", std::move(up));
    adapted_.push_back(layer);
  }
  WeightOptions memory = options_;
  memory.trainable = true;
  adapters_->allocate(memory);
  for (size_t i = 0; i < adapters_->entries().size(); ++i) {
    ParameterGroup::Entry& entry = adapters_->entries()[i];
    entry.written = i % 2 == 1;  // B: zeros, so that training starts from the model itself.
    index_of_name_.emplace(entry.name, index_of_name_.size());
  }
}

void Weights::set_lora_scale(double scale) {
  if (!adapters_) refuse("lora: the model has no adapters");
  lora_scale_ = scale;
  for (tape::Layer* layer : adapted_) layer->lora->scale = scale * alpha_over_rank_;
}

void Weights::merge_lora(double weight) {
  if (!adapters_) refuse("lora: the model has no adapters");
  require_written();
  const std::vector<ParameterGroup::Entry>& entries = adapters_->entries();
  for (size_t i = 0; i < adapted_.size(); ++i) {
    const at::Tensor& down = entries[2 * i].master;
    const at::Tensor& up = entries[2 * i + 1].master;
    const ParameterGroup::Entry& base = existing(adapted_[i]->weight.name);
    const at::Tensor change = at::matmul(up.flatten(1), down.flatten(1)).mul_(weight * alpha_over_rank_);
    // A frozen bf16 model has no master: the sum is computed in f32 and rounded once.
    const at::Tensor sum = base.master.to(change.scalar_type()).add(change.view(base.shape));
    at::Tensor(base.master).copy_(sum);
    if (base.parameter->value.scalar_type() != base.master.scalar_type()) base.parameter->value.copy_(sum);
  }
  base_.values_changed();
  for (const ParameterGroup::Entry& entry : entries) index_of_name_.erase(entry.name);
  for (tape::Layer* layer : adapted_) layer->lora.reset();
  adapted_.clear();
  adapters_.reset();
  lora_scale_ = 1.0;
}

}  // namespace smpo::models
