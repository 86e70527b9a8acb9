#include "tape/tape.h"

#include <ATen/ops/add.h>
#include <ATen/ops/zeros_like.h>

#include <stdexcept>
#include <string>

namespace smpo::tape {
namespace {

/// Nobody else can see the memory, so that a sum may be written into it.
bool sole_owner(const at::Tensor& tensor) { return tensor.use_count() == 1 && tensor.storage().use_count() == 1; }

void check_no_autograd(const at::Tensor& value) {
  if (value.requires_grad()) {
    throw std::logic_error("tape: a value requires grad: run ops under InferenceMode and on detached weights");
  }
}

}  // namespace

int32_t Tape::new_node() {
  gradients_.emplace_back();
  return first_node_ + static_cast<int32_t>(gradients_.size()) - 1;
}

void Tape::check_own(int32_t node) const {
  if (node < 0) {
    return;
  }
  if (!options_.record) {
    throw std::logic_error("tape: a value of a recording tape met a tape that does not record");
  }
  if (node < first_node_ || node >= first_node_ + static_cast<int32_t>(gradients_.size())) {
    throw std::logic_error("tape: a value of another tape (a checkpointed segment gets its inputs as arguments)");
  }
}

Var Tape::input(at::Tensor value) {
  check_no_autograd(value);
  if (!options_.record) {
    return {std::move(value)};
  }
  const int32_t node = new_node();
  return {std::move(value), node};
}

Var Tape::parameter(const Parameter& parameter) {
  if (!trains(parameter)) {
    return {parameter.value};
  }
  return record(parameter.value,
                [&parameter](Tape&, const at::Tensor& gradient) { accumulate_parameter(parameter, gradient); });
}

bool Tape::tracks(const Var& value) const {
  check_own(value.node);
  return value.node >= 0;
}

bool Tape::tracks(std::initializer_list<std::reference_wrapper<const Var>> values) const {
  bool any = false;
  for (const Var& value : values) {
    any = tracks(value) || any;
  }
  return any;
}

bool Tape::trains(const Layer& layer) const {
  const Lora* lora = adapter(layer);
  return options_.record && (layer.trainable() || (lora != nullptr && lora->trainable()));
}

const Lora* Tape::adapter(const Layer& layer) const {
  return options_.adapters && layer.lora.has_value() ? &*layer.lora : nullptr;
}

Var Tape::record(at::Tensor value, Backward backward) {
  std::vector<at::Tensor> values;
  values.push_back(std::move(value));
  return record(std::move(values), [backward = std::move(backward)](Tape& tape, std::span<const at::Tensor> gradients) {
    backward(tape, gradients[0]);
  })[0];
}

Var Tape::record_recomputed(at::Tensor value, std::function<at::Tensor()> compute, Backward backward) {
  auto again = std::make_shared<Recomputed>(std::move(compute));
  Var output =
      record(std::move(value), [again, backward = std::move(backward)](Tape& tape, const at::Tensor& gradient) {
        again->release();
        backward(tape, gradient);
      });
  output.again = std::move(again);
  return output;
}

std::vector<Var> Tape::record(std::vector<at::Tensor> values, BackwardOfMany backward) {
  if (!options_.record || spent_) {
    throw std::logic_error(spent_ ? "tape: recording after backward" : "tape: recording on an inference tape");
  }
  std::vector<Var> outputs;
  outputs.reserve(values.size());
  for (at::Tensor& value : values) {
    check_no_autograd(value);
    const int32_t node = new_node();
    outputs.emplace_back(std::move(value), node);
  }
  records_.push_back({outputs.front().node, static_cast<int32_t>(outputs.size()), std::move(backward)});
  return outputs;
}

void Tape::accumulate(int32_t node, at::Tensor gradient) {
  if (node < 0 || !gradient.defined()) {
    return;
  }
  check_own(node);
  at::Tensor& sum = gradients_[node - first_node_];
  if (!sum.defined()) {
    sum = std::move(gradient);
  } else if (sole_owner(sum)) {
    sum.add_(gradient);
  } else if (sole_owner(gradient)) {
    gradient.add_(sum);  // Addition commutes: the same bits.
    sum = std::move(gradient);
  } else {
    sum = at::add(sum, gradient);
  }
}

void Tape::accumulate_parameter(const Parameter& parameter, const at::Tensor& gradient) {
  if (parameter.trainable()) {
    at::Tensor grad = parameter.grad;
    grad.add_(gradient);
  }
}

void Tape::run_records() {
  spent_ = true;
  std::vector<at::Tensor> gradients;
  while (!records_.empty()) {
    const Record record = std::move(records_.back());
    records_.pop_back();
    gradients.resize(record.outputs);
    bool any = false;
    for (int32_t i = 0; i < record.outputs; ++i) {
      gradients[i] = std::exchange(gradients_[record.first_node + i - first_node_], at::Tensor());
      any = any || gradients[i].defined();
    }
    if (any) {
      record.backward(*this, gradients);
    }
    gradients.clear();
  }
}

void Tape::backward(std::span<const Seed> seeds) {
  if (!options_.record || spent_) {
    throw std::logic_error(spent_ ? "tape: backward runs once" : "tape: backward on an inference tape");
  }
  for (const Seed& seed : seeds) {
    if (!seed.gradient.defined() || seed.gradient.sizes() != seed.output.value.sizes()) {
      throw std::invalid_argument("tape: a seed's gradient must have the shape of its output");
    }
    accumulate(seed.output, seed.gradient);
  }
  run_records();
}

at::Tensor Tape::gradient(const Var& input) const {
  check_own(input.node);
  if (input.node < 0) {
    throw std::invalid_argument("tape: a constant has no gradient");
  }
  const at::Tensor& gradient = gradients_[input.node - first_node_];
  return gradient.defined() ? gradient : at::zeros_like(input.value);
}

std::vector<Var> Tape::checkpoint(std::vector<Var> inputs, Segment segment) {
  std::vector<at::Tensor> values;
  {
    Tape discard({.record = false, .adapters = options_.adapters});
    std::vector<Var> constants;
    for (const Var& input : inputs) {
      check_own(input.node);
      constants.emplace_back(input.value);
    }
    for (Var& output : segment(discard, constants)) {
      values.push_back(std::move(output.value));
    }
  }
  if (!options_.record) {
    return {values.begin(), values.end()};
  }
  return record(std::move(values), [inputs = std::move(inputs), segment = std::move(segment)](
                                       Tape& outer, std::span<const at::Tensor> gradients) {
    Tape inner(outer.options_);
    inner.first_node_ = outer.first_node_ + static_cast<int32_t>(outer.gradients_.size());
    std::vector<Var> own;
    for (const Var& input : inputs) {
      own.push_back(input.node < 0 ? input : inner.input(input.value));
    }
    const std::vector<Var> outputs = segment(inner, own);
    // The gradient that has already reached an input is summed further inside, so that the sum has the order it would
    // have had without the checkpoint.
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].node >= 0) {
        inner.accumulate(own[i], std::exchange(outer.gradients_[inputs[i].node - outer.first_node_], at::Tensor()));
      }
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      inner.accumulate(outputs[i], gradients[i]);
    }
    inner.run_records();
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].node >= 0) {
        outer.accumulate(inputs[i], std::exchange(inner.gradients_[own[i].node - inner.first_node_], at::Tensor()));
      }
    }
  });
}

}  // namespace smpo::tape
