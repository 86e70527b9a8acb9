// State of an optimizer (optimizer.h), for the files that implement it.
#ifndef SMPO_ENGINE_OPTIMIZER_VALUE_H_
#define SMPO_ENGINE_OPTIMIZER_VALUE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/model_value.h"
#include "engine/shard.h"
#include "kernels/adafactor.h"
#include "models/weights.h"
#include "smpo.h"

namespace smpo::engine {

// One state tensor of a checkpoint.
struct OptimizerState {
  std::string name;
  // A view of one of the flat buffers, in the shape of its parameter. Where ranks share the state: this process's part
  // of the flat buffer.
  at::Tensor value;
  bool may_be_negative;
  std::vector<int64_t> shape;
  // Where ranks share the state: its parameter, which has a place in the flat buffer.
  const models::ParameterGroup::Entry* entry = nullptr;
};

// Adafactor's second moment of one parameter: offsets into Optimizer::factors, in elements.
struct SecondMoment {
  kernels::AdafactorShape shape;
  int64_t row = 0;
  int64_t column = 0;
  int64_t v = 0;
  int64_t workspace = 0;  // offset into Optimizer::workspace, in bytes
};

struct Optimizer {
  std::shared_ptr<Model> model;
  smpo_optimizer_options options;
  Shard shard;
  int64_t steps = 0;

  // Flat and laid out like the parameters, of which they hold the shard. The gaps between parameters are zero and stay
  // zero.
  at::Tensor exp_avg = {};     // undefined for Adafactor without a first moment
  at::Tensor exp_avg_sq = {};  // AdamW only
  at::Tensor ema = {};         // undefined without EMA weights

  // Adafactor only, in the order of the parameters.
  std::vector<SecondMoment> second_moments = {};
  at::Tensor factors = {};
  at::Tensor workspace = {};

  std::vector<OptimizerState> states = {};
  std::unordered_map<std::string, size_t> state_of_name = {};

  // On the device of the weights: one GradNormResult, and the workspace of the reduction that computes it.
  at::Tensor norm = {};
  at::Tensor norm_workspace = {};

  models::ParameterGroup& group() const { return *model->weights().trained(); }

  void add_state(std::string name, at::Tensor value, bool may_be_negative) {
    std::vector<int64_t> shape = value.sizes().vec();
    add_state({std::move(name), std::move(value), may_be_negative, std::move(shape)});
  }
  void add_state(OptimizerState state) {
    state_of_name.emplace(state.name, states.size());
    states.push_back(std::move(state));
  }
};

// The parameter's values of a flat buffer, given this process's part of it. A view where ranks share nothing; else a
// copy, for which all ranks must ask.
inline at::Tensor whole(const Optimizer& optimizer, const at::Tensor& part,
                        const models::ParameterGroup::Entry& entry) {
  if (!optimizer.shard.shared()) return models::ParameterGroup::view(part, entry);
  return models::ParameterGroup::view(optimizer.shard.whole(part, entry.offset, entry.elements),
                                      {.name = {}, .shape = entry.shape, .offset = 0, .elements = entry.elements});
}

inline float* floats(const at::Tensor& tensor) { return at::Tensor(tensor).mutable_data_ptr<float>(); }

// The compute copy of the weights; null where the weights have no separate copy.
inline void* compute_copy(const models::ParameterGroup& group) {
  const at::Tensor& compute = group.compute();
  return compute.is_same(group.master()) ? nullptr : at::Tensor(compute).mutable_data_ptr();
}

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_OPTIMIZER_VALUE_H_
