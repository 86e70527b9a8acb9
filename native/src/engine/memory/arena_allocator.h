#ifndef SMPO_ENGINE_MEMORY_ARENA_ALLOCATOR_H_
#define SMPO_ENGINE_MEMORY_ARENA_ALLOCATOR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace smpo::engine {

struct ArenaOptions {
  uint64_t pool_bytes;   // most bytes kept for reuse
  uint64_t limit_bytes;  // most bytes in use; a request beyond it is out of memory
  // Memory of the machine or container, and a function that returns the bytes of it that this process holds. What the
  // process holds beside the arena then lowers the limit for large blocks. 0 and nullptr: the limit is fixed.
  uint64_t memory_bytes = 0;
  uint64_t (*process_bytes)() noexcept = nullptr;
  // Bytes in use and pooled together exceed the peak by at most 1/128 plus this.
  uint64_t slack_bytes = uint64_t{32} << 20;
  bool huge_pages = true;  // advise transparent huge pages for blocks of 4 MiB and more
};

// Sizes are in bytes of whole blocks, without their headers.
struct ArenaStatistics {
  uint64_t in_use;
  uint64_t peak;     // highest in_use
  uint64_t pooled;   // kept for reuse
  uint64_t reused;   // allocations that the pool served
  uint64_t created;  // allocations that the operating system served
};

// A pooling allocator for CPU tensors. A freed block serves the next request of the same size class (eight classes per
// doubling), so a training step, which requests the same sizes again and again, causes no page faults. The pool is
// bounded: when it is full, the least recently used block returns to the system. The pool also shrinks before a new
// block is allocated: a forward pass and its backward pass request different sizes, and memory that one has freed must
// not stay resident beside memory that the other needs.
//
// Blocks are aligned to 64 bytes. A header before the data holds their bookkeeping, so a block can be freed by its
// address alone, as c10::Allocator's raw_deallocate requires. Thread-safe. Under AddressSanitizer the free part of
// every block is poisoned.
class ArenaAllocator final {
 public:
  static constexpr size_t kAlignment = 64;

  explicit ArenaAllocator(const ArenaOptions& options);
  // Frees the pool. Blocks still in use must not be freed afterwards.
  ~ArenaAllocator();
  ArenaAllocator(const ArenaAllocator&) = delete;
  ArenaAllocator& operator=(const ArenaAllocator&) = delete;

  // Returns uninitialized memory; nullptr for 0 bytes. Throws Error(SMPO_OUT_OF_MEMORY).
  void* allocate(size_t bytes);
  // Frees a block of this allocator; ignores nullptr.
  void deallocate(void* data) noexcept;
  // Returns pooled blocks to the operating system, least recently used first, until at most `keep_bytes` are pooled.
  // Returns the number of bytes freed.
  uint64_t trim(uint64_t keep_bytes = 0) noexcept;

  ArenaStatistics statistics() const;

  // Capacity of the block that serves a request: at most one eighth more, rounded up to the alignment.
  static size_t block_bytes(size_t bytes);

 private:
  struct Block;
  // 64, 128, ..., 512, then eight classes per doubling up to 2^47, the address space.
  static constexpr size_t kClasses = 8 + 8 * (47 - 9);

  static size_t class_of(size_t bytes);
  // Most bytes that may be in use when a block of this size is created.
  uint64_t limit_for(size_t capacity) const noexcept;
  Block* create(size_t capacity) noexcept;
  static void destroy_list(Block* first) noexcept;
  void unlink(Block* block) noexcept;
  void evict_to(uint64_t pooled_bytes, Block** evicted) noexcept;

  const ArenaOptions options_;
  mutable std::mutex mutex_;
  std::array<Block*, kClasses> free_{};  // per class, most recently freed first, because it is warmest in the caches
  Block* newest_ = nullptr;              // all free blocks by age
  Block* oldest_ = nullptr;
  ArenaStatistics statistics_{};
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_MEMORY_ARENA_ALLOCATOR_H_
