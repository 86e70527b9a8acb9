// Collectives on LibTorch's tensors, for other parts of the engine; see comm.h.
#ifndef SMPO_ENGINE_COMM_COLLECTIVES_H_
#define SMPO_ENGINE_COMM_COLLECTIVES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/comm/comm.h"

namespace smpo::engine {

// Replaces the tensor by that of one rank.
void broadcast(Comm& comm, const at::Tensor& value, int32_t root);
// Fills `whole`, [size n], with the `own` tensors [n] of all ranks, in order of rank. `own` may be its place in
// `whole`.
void all_gather(Comm& comm, const at::Tensor& own, const at::Tensor& whole);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_COMM_COLLECTIVES_H_
