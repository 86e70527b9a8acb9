#ifndef SMPO_ENGINE_MEMORY_CPU_TENSORS_H_
#define SMPO_ENGINE_MEMORY_CPU_TENSORS_H_

#include "engine/memory/arena_allocator.h"

namespace smpo::engine {

// The arena that holds this process's CPU tensors. The first call makes it LibTorch's CPU allocator, with a pool of a
// quarter of the machine's (or container's) memory and all of it as the limit. Tensors that were made before keep
// their own memory.
ArenaAllocator& cpu_tensors();

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_MEMORY_CPU_TENSORS_H_
