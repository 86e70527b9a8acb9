// State tensors of an optimizer, as a checkpoint reads and writes them.
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "engine/error.h"
#include "engine/failure.h"
#include "engine/optimizer.h"
#include "engine/optimizer_value.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"

namespace smpo::engine {
namespace {

const OptimizerState& existing(const Optimizer& optimizer, std::string_view name) {
  const auto found = optimizer.state_of_name.find(std::string(name));
  if (found == optimizer.state_of_name.end()) fail(SMPO_INVALID_ARGUMENT, "name: the optimizer has no state ", name);
  return optimizer.states[found->second];
}

void require_host_spec(const OptimizerState& state, const TensorSpec& spec) {
  if (spec.dtype() != SMPO_F32) {
    fail(SMPO_DTYPE_MISMATCH, state.name, ": expected f32, got ", dtype_name(spec.dtype()));
  }
  if (!std::ranges::equal(spec.shape(), state.shape)) {
    fail(SMPO_SHAPE_MISMATCH, state.name, ": expected shape ", shape_text(state.shape), ", got ",
         shape_text(spec.shape()));
  }
}

}  // namespace

smpo_state_info describe_state(const Optimizer& optimizer, uint32_t index) {
  if (index >= optimizer.states.size()) {
    fail(SMPO_INVALID_ARGUMENT, "index: expected 0..", optimizer.states.size() - 1, ", got ", index);
  }
  const OptimizerState& state = optimizer.states[index];
  smpo_state_info info{};
  info.size = sizeof info;
  for (const int64_t size : state.shape) info.shape[info.rank++] = size;
  copy_text(info.name, sizeof info.name, state.name.c_str());
  return info;
}

void read_state(Session& session, const Optimizer& optimizer, std::string_view name, const TensorSpec& spec,
                void* data) {
  const OptimizerState& state = existing(optimizer, name);
  require_host_spec(state, spec);
  const at::Tensor value = state.entry == nullptr ? state.value : whole(optimizer, state.value, *state.entry);
  view_of_host(spec, data).copy_(download(session, value));
}

void write_state(Optimizer& optimizer, std::string_view name, const TensorSpec& spec, const void* data) {
  const OptimizerState& state = existing(optimizer, name);
  require_host_spec(state, spec);
  const auto* values = static_cast<const float*>(data);
  for (int64_t i = 0; i < spec.elements(); ++i) {
    if (!std::isfinite(values[i])) {
      fail(SMPO_NON_FINITE, name, ": expected finite values, got ", values[i], " at element ", i);
    }
    if (values[i] < 0 && !state.may_be_negative) {
      fail(SMPO_INVALID_ARGUMENT, name, ": expected values of at least 0, got ", values[i], " at element ", i);
    }
  }
  const at::Tensor given = view_of_host(spec, const_cast<void*>(data));
  if (state.entry == nullptr) {
    at::Tensor(state.value).copy_(given);
    return;
  }
  // In the order of the flat buffer.
  const at::Tensor flat = at::empty({state.entry->elements}, state.value.options());
  models::ParameterGroup::view(flat, {.name = {}, .shape = state.shape, .offset = 0, .elements = state.entry->elements})
      .copy_(given);
  optimizer.shard.keep(flat, state.entry->offset, state.value);
}

}  // namespace smpo::engine
