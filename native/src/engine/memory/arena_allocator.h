#ifndef SMPO_ENGINE_MEMORY_ARENA_ALLOCATOR_H_
#define SMPO_ENGINE_MEMORY_ARENA_ALLOCATOR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace smpo::engine {

struct ArenaOptions {
  uint64_t pool_bytes;   // bytes kept for reuse at most
  uint64_t limit_bytes;  // bytes in use at most: beyond it, out of memory
  // What is in use and what is pooled together exceed the highest use by a 128th part and this much at most.
  uint64_t slack_bytes = uint64_t{32} << 20;
  bool huge_pages = true;  // advise transparent huge pages for blocks of 4 MiB and more
};

// Bytes are those of whole blocks, headers not counted.
struct ArenaStatistics {
  uint64_t in_use;
  uint64_t peak;     // highest in_use
  uint64_t pooled;   // kept for reuse
  uint64_t reused;   // allocations that the pool served
  uint64_t created;  // allocations that the operating system served
};

// A pooling allocator for CPU tensors. A freed block is kept and handed out again for a request of the same size
// class (eight classes per doubling), so that a training step, which asks for the same sizes again and again, takes no
// page faults. The pool is bounded: when it is full, the block that lay unused longest goes back to the system. It also
// gives way before a new block is made: a forward pass and its backward ask for different sizes, and what one has freed
// must not be resident beside what the other needs.
//
// Blocks are aligned to 64 bytes. Their bookkeeping lies in a header before the data, so that a block can be freed
// knowing nothing but its address, which is what c10::Allocator's raw_deallocate demands. Thread-safe. Under
// AddressSanitizer the free part of every block is poisoned.
class ArenaAllocator final {
 public:
  static constexpr size_t kAlignment = 64;

  explicit ArenaAllocator(const ArenaOptions& options);
  // Gives the pool back. Blocks still in use must not be freed any more.
  ~ArenaAllocator();
  ArenaAllocator(const ArenaAllocator&) = delete;
  ArenaAllocator& operator=(const ArenaAllocator&) = delete;

  // Uninitialized memory; nullptr for 0 bytes. Throws Error(SMPO_OUT_OF_MEMORY).
  void* allocate(size_t bytes);
  // Of this allocator's blocks only; nullptr is ignored.
  void deallocate(void* data) noexcept;
  // Gives the pool back to the operating system, longest unused first, until at most `keep_bytes` are pooled.
  // Returns the bytes given back.
  uint64_t trim(uint64_t keep_bytes = 0) noexcept;

  ArenaStatistics statistics() const;

  // The capacity of the block that a request gets: at most an eighth more, rounded up to whole alignments.
  static size_t block_bytes(size_t bytes);

 private:
  struct Block;
  // 64, 128, ..., 512, then eight classes per doubling up to 2^47, the address space.
  static constexpr size_t kClasses = 8 + 8 * (47 - 9);

  static size_t class_of(size_t bytes);
  Block* create(size_t capacity) noexcept;
  static void destroy_list(Block* first) noexcept;
  void unlink(Block* block) noexcept;
  void evict_to(uint64_t pooled_bytes, Block** evicted) noexcept;

  const ArenaOptions options_;
  mutable std::mutex mutex_;
  std::array<Block*, kClasses> free_{};  // per class, latest freed first: its pages and cache lines are the warmest
  Block* newest_ = nullptr;              // all free blocks by age
  Block* oldest_ = nullptr;
  ArenaStatistics statistics_{};
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_MEMORY_ARENA_ALLOCATOR_H_
