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
struct Comm;
struct Model;

// An update rule and its state for the trainable parameters of one model, in flat buffers laid out like the parameters.
struct Optimizer;

// These functions implement the functions of smpo.h with the same names and throw Error as documented there. Sizes,
// flags and reserved fields of the structs have been checked.

// `comm` is the group of options.comm, or null.
std::shared_ptr<Optimizer> open_optimizer(Session& session, std::shared_ptr<Model> model,
                                          const smpo_optimizer_options& options, std::shared_ptr<Comm> comm);

smpo_step_outcome step(Session& session, Optimizer& optimizer, double learning_rate, double max_grad_norm);

// Returns the first parameter with a gradient that is not finite; empty if there is none.
std::string find_non_finite(const Optimizer& optimizer);

smpo_optimizer_info describe(const Optimizer& optimizer);
smpo_state_info describe_state(const Optimizer& optimizer, uint32_t index);

// `data` points to spec.bytes() bytes.
void read_state(Session& session, const Optimizer& optimizer, std::string_view name, const TensorSpec& spec,
                void* data);
void write_state(Optimizer& optimizer, std::string_view name, const TensorSpec& spec, const void* data);
void set_steps(Optimizer& optimizer, int64_t steps);

void copy_ema(const Optimizer& optimizer, Model& target);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_OPTIMIZER_H_
