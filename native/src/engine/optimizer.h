#ifndef SMPO_ENGINE_OPTIMIZER_H_
#define SMPO_ENGINE_OPTIMIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/tensor_spec.h"
#include "smpo.h"

namespace smpo::engine {

class Session;
struct Model;

// An update rule and its state for the parameters of one model that train, in flat buffers laid out like theirs.
struct Optimizer;

// The structs are those of smpo.h, with sizes, flags and reserved fields already checked. All of these throw Error as
// smpo.h says of the functions of the same name.

std::shared_ptr<Optimizer> open_optimizer(Session& session, std::shared_ptr<Model> model,
                                          const smpo_optimizer_options& options);

smpo_step_outcome step(Session& session, Optimizer& optimizer, double learning_rate, double max_grad_norm);

// Empty when every gradient is finite.
std::string find_non_finite(const Optimizer& optimizer);

smpo_optimizer_info describe(const Optimizer& optimizer);
smpo_state_info describe_state(const Optimizer& optimizer, uint32_t index);

// `data` holds or takes spec.bytes() bytes.
void read_state(Session& session, const Optimizer& optimizer, std::string_view name, const TensorSpec& spec,
                void* data);
void write_state(Optimizer& optimizer, std::string_view name, const TensorSpec& spec, const void* data);
void set_steps(Optimizer& optimizer, int64_t steps);

void copy_ema(const Optimizer& optimizer, Model& target);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_OPTIMIZER_H_
