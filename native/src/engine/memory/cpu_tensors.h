#ifndef SMPO_ENGINE_MEMORY_CPU_TENSORS_H_
#define SMPO_ENGINE_MEMORY_CPU_TENSORS_H_

#include "engine/memory/arena_allocator.h"

namespace smpo::engine {

// The allocator of this process's CPU tensors. The first call installs it as LibTorch's CPU allocator, with a pool of
// at most a quarter of the memory of the machine or container and all of it as the limit. Tensors allocated earlier
// keep their memory.
ArenaAllocator& cpu_tensors();

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_MEMORY_CPU_TENSORS_H_
