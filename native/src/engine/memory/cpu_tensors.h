#ifndef SMPO_ENGINE_MEMORY_CPU_TENSORS_H_
#define SMPO_ENGINE_MEMORY_CPU_TENSORS_H_

#include <cstdint>

#include "engine/memory/arena_allocator.h"

namespace smpo::engine {

// Most bytes that CPU tensors may use of a machine's or container's memory. The rest is for the JVM, the libraries'
// scratch memory and the tables of the kernel: a quarter, at most 1 GiB. Without it, a container would kill the process
// before the arena could refuse a request. A process that holds more than this share beside its tensors lowers the
// limit further.
uint64_t tensor_limit(uint64_t total_memory);

// The allocator of this process's CPU tensors. The first call installs it as LibTorch's CPU allocator, with a pool of
// at most a quarter of the memory of the machine or container and `tensor_limit` as the limit. Tensors allocated
// earlier keep their memory.
ArenaAllocator& cpu_tensors();

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_MEMORY_CPU_TENSORS_H_
