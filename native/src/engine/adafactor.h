// Adafactor: layout of its factored second moments in one flat buffer, and the update of all parameters.
#ifndef SMPO_ENGINE_ADAFACTOR_H_
#define SMPO_ENGINE_ADAFACTOR_H_

#include "kernels/grad_norm.h"

namespace smpo::engine {

struct Optimizer;

// Allocates the second moments of every parameter and adds them to the optimizer's states.
void add_adafactor_state(Optimizer& optimizer);

// Queues one update. The kernels read the clip coefficient and the finite flag from `norm`, which is in device memory.
void update_adafactor(const Optimizer& optimizer, double learning_rate, const kernels::GradNormResult& norm);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_ADAFACTOR_H_
