#include "engine/memory/arena_allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "engine/error.h"

#ifdef SMPO_SANITIZE
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace smpo::engine {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 47;
// Blocks of this size and more are mappings of their own, so that freeing them returns their pages.
constexpr size_t kMappedFrom = size_t{1} << 18;
constexpr size_t kHugeFrom = size_t{4} << 20;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr uint64_t kInUse = 0x534d504f'4c495645;   // "SMPOLIVE"
constexpr uint64_t kPooled = 0x534d504f'46524545;  // "SMPOFREE"

}  // namespace

// Header of a block; the data follows it.
struct alignas(64) ArenaAllocator::Block {
  uint64_t state;
  size_t capacity;
  size_t mapped;  // bytes of the mapping, header included; 0 for a block of the C library
  Block* newer;   // the four links are valid while the block is pooled
  Block* older;
  Block* next;
  Block* previous;

  void* data() { return this + 1; }
  static Block* of(void* data) { return static_cast<Block*>(data) - 1; }
};

ArenaAllocator::ArenaAllocator(const ArenaOptions& options) : options_(options) {
  static_assert(sizeof(Block) == kAlignment);
}

ArenaAllocator::~ArenaAllocator() { trim(); }

size_t ArenaAllocator::class_of(size_t bytes) {
  if (bytes <= 512) return (bytes + 63) / 64 - 1;
  // 2^power < bytes <= 2^(power + 1), divided into eight steps.
  const int power = std::bit_width(bytes - 1) - 1;
  const size_t step = (bytes - 1 - (size_t{1} << power)) >> (power - 3);
  return 8 + 8 * static_cast<size_t>(power - 9) + step;
}

size_t ArenaAllocator::block_bytes(size_t bytes) {
  if (bytes <= 512) return (bytes + 63) / 64 * 64;
  const size_t step = size_t{1} << (std::bit_width(bytes - 1) - 4);
  return (bytes + step - 1) / step * step;
}

void* ArenaAllocator::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  if (bytes > kMaxBytes) fail(SMPO_OUT_OF_MEMORY, "host memory: ", bytes, " bytes are more than the address space");
  const size_t size_class = class_of(bytes);
  const size_t capacity = block_bytes(bytes);
  Block* block = nullptr;
  Block* evicted = nullptr;
  bool fits = true;
  uint64_t in_use = 0;
  uint64_t limit = 0;
  {
    const std::lock_guard lock(mutex_);
    block = free_[size_class];
    if (block != nullptr) {
      unlink(block);
      ++statistics_.reused;
    } else {
      in_use = statistics_.in_use;
      limit = limit_for(capacity);
      fits = capacity <= limit && in_use <= limit - capacity;
      // Pooled memory counts towards the limit and the peak, but is freed first.
      if (fits) {
        const uint64_t used = in_use + capacity, highest = std::max(statistics_.peak, used);
        const uint64_t resident = std::min(limit, highest + highest / 128 + options_.slack_bytes);
        evict_to(resident - used, &evicted);
      }
    }
    if (fits) {
      statistics_.in_use += capacity;
      statistics_.peak = std::max(statistics_.peak, statistics_.in_use);
    }
  }
  destroy_list(evicted);
  if (!fits) {
    fail(SMPO_OUT_OF_MEMORY, "host memory: ", bytes, " bytes asked for, ", in_use, " in use, the limit is ", limit);
  }
  if (block == nullptr) {
    block = create(capacity);
    if (block == nullptr && trim() > 0) block = create(capacity);
    const std::lock_guard lock(mutex_);
    if (block == nullptr) {
      statistics_.in_use -= capacity;
      fail(SMPO_OUT_OF_MEMORY, "host memory: the system refused ", bytes, " bytes with ", statistics_.in_use,
           " in use");
    }
    ++statistics_.created;
  }
  block->state = kInUse;
  void* data = block->data();
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
  ASAN_POISON_MEMORY_REGION(block, sizeof(Block));
  return data;
}

void ArenaAllocator::deallocate(void* data) noexcept {
  if (data == nullptr) return;
  Block* block = Block::of(data);
  ASAN_UNPOISON_MEMORY_REGION(block, sizeof(Block));
  if (block->state != kInUse) {
    // A double free or a write before the block: a bug. The process belongs to the JVM, so it is not ended; the block
    // is reported, abandoned and never used again.
    std::fputs(block->state == kPooled ? "smpo: a tensor's memory was freed twice; left alone\n"
                                       : "smpo: the header before a tensor's memory was overwritten; block lost\n",
               stderr);
    return;
  }
  const size_t capacity = block->capacity;
  ASAN_POISON_MEMORY_REGION(data, capacity);
  Block* evicted = nullptr;
  {
    const std::lock_guard lock(mutex_);
    statistics_.in_use -= capacity;
    if (capacity <= options_.pool_bytes) {
      evict_to(options_.pool_bytes - capacity, &evicted);
      block->state = kPooled;
      Block*& first = free_[class_of(capacity)];
      block->previous = nullptr;
      block->next = first;
      if (first != nullptr) first->previous = block;
      first = block;
      block->newer = nullptr;
      block->older = newest_;
      (newest_ != nullptr ? newest_->newer : oldest_) = block;
      newest_ = block;
      statistics_.pooled += capacity;
    } else {
      block->next = evicted;
      evicted = block;
    }
  }
  destroy_list(evicted);
}

uint64_t ArenaAllocator::trim(uint64_t keep_bytes) noexcept {
  Block* evicted = nullptr;
  uint64_t given_back = 0;
  {
    const std::lock_guard lock(mutex_);
    const uint64_t before = statistics_.pooled;
    evict_to(keep_bytes, &evicted);
    given_back = before - statistics_.pooled;
  }
  destroy_list(evicted);
  return given_back;
}

ArenaStatistics ArenaAllocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

uint64_t ArenaAllocator::limit_for(size_t capacity) const noexcept {
  if (options_.process_bytes == nullptr || capacity < kMappedFrom) return options_.limit_bytes;
  const uint64_t own = statistics_.in_use + statistics_.pooled;
  const uint64_t process = options_.process_bytes();
  // The rest of the process may grow between two requests.
  const uint64_t others = (process > own ? process - own : 0) + options_.memory_bytes / 16;
  return std::min(options_.limit_bytes, options_.memory_bytes - std::min(options_.memory_bytes, others));
}

ArenaAllocator::Block* ArenaAllocator::create(size_t capacity) noexcept {
  const size_t total = sizeof(Block) + capacity;
  void* memory = nullptr;
  size_t mapped = 0;
  if (capacity < kMappedFrom) {
    memory = std::aligned_alloc(kAlignment, total);
    if (memory == nullptr) return nullptr;
  } else {
    const bool huge = options_.huge_pages && capacity >= kHugeFrom;
    // A huge page must be aligned to its size: map one more and unmap both ends.
    const size_t slack = huge ? kHugePage : 0;
    mapped = (total + 4095) / 4096 * 4096;
    memory = mmap(nullptr, mapped + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    if (huge) {
      auto* start = static_cast<std::byte*>(memory);
      const size_t before = -reinterpret_cast<uintptr_t>(start) % kHugePage;
      if (before > 0) munmap(start, before);
      if (before < slack) munmap(start + before + mapped, slack - before);
      memory = start + before;
      madvise(memory, mapped, MADV_HUGEPAGE);  // If refused, small pages serve.
    }
  }
  auto* block = new (memory) Block{};
  block->capacity = capacity;
  block->mapped = mapped;
  ASAN_POISON_MEMORY_REGION(block->data(), capacity);
  return block;
}

void ArenaAllocator::destroy_list(Block* first) noexcept {
  while (first != nullptr) {
    Block* next = first->next;
    const size_t mapped = first->mapped;
    ASAN_UNPOISON_MEMORY_REGION(first, sizeof(Block) + first->capacity);
    if (mapped > 0) {
      munmap(first, mapped);
    } else {
      std::free(first);
    }
    first = next;
  }
}

void ArenaAllocator::unlink(Block* block) noexcept {
  (block->previous != nullptr ? block->previous->next : free_[class_of(block->capacity)]) = block->next;
  if (block->next != nullptr) block->next->previous = block->previous;
  (block->newer != nullptr ? block->newer->older : newest_) = block->older;
  (block->older != nullptr ? block->older->newer : oldest_) = block->newer;
  statistics_.pooled -= block->capacity;
}

void ArenaAllocator::evict_to(uint64_t pooled_bytes, Block** evicted) noexcept {
  while (statistics_.pooled > pooled_bytes) {
    Block* block = oldest_;
    unlink(block);
    block->next = *evicted;
    *evicted = block;
  }
}

}  // namespace smpo::engine
