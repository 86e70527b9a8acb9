#ifndef SMPO_ENGINE_PACKING_H_
#define SMPO_ENGINE_PACKING_H_

#include "tape/packed_weights.h"

namespace smpo::engine {

class Session;

// Packed weights take at most half of the memory that is free when they are made, so that activations keep the rest.
// Any other is logged once and runs on plain weights: slower, with the same bits. The session must outlive the
// model.
tape::PackingOptions packing_for(Session& session);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_PACKING_H_
