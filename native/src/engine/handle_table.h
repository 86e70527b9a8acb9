#ifndef SMPO_ENGINE_HANDLE_TABLE_H_
#define SMPO_ENGINE_HANDLE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace smpo::engine {

enum class HandleKind : uint8_t { kSession = 1, kTensor = 2, kModel = 3, kSampler = 4, kPairBatch = 5, kOptimizer = 6 };

// Turns objects into checked 64-bit numbers and back: kind (8 bits) | generation (24) | slot (32).
//
// A slot's generation is raised when its handle is closed, so an old handle never names a newer object; a slot whose
// generations are used up is retired. A handle also has an owner (the handle of a session, or 0), and resolves for
// that owner only. All functions may be called from any thread; the objects themselves are destroyed outside the lock.
class HandleTable final {
 public:
  static constexpr uint32_t kLastGeneration = (1u << 24) - 1;

  HandleTable() = default;
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  // The new handle is never 0.
  uint64_t open(HandleKind kind, uint64_t owner, std::shared_ptr<void> object);

  // Throws Error(SMPO_INVALID_HANDLE), whose message begins with `argument`, for a handle that is null, was never
  // issued, is closed, is of another kind, or belongs to another owner.
  std::shared_ptr<void> resolve(uint64_t handle, HandleKind kind, uint64_t owner, const char* argument) const;

  // Like resolve, and the handle is closed when it returns.
  std::shared_ptr<void> close(uint64_t handle, HandleKind kind, uint64_t owner, const char* argument);

  // Closes every handle of an owner and returns what they named.
  std::vector<std::shared_ptr<void>> close_all_of(uint64_t owner);

  size_t open_handles() const;
  // Slots ever made, retired ones included: what a leak would make grow.
  size_t slots() const;

 private:
  struct Entry {
    std::shared_ptr<void> object;  // null while the slot is free
    uint64_t owner = 0;
    uint32_t generation = 1;
    uint32_t next_free = 0;
    HandleKind kind{};
  };

  const Entry& checked(uint64_t handle, HandleKind kind, uint64_t owner, const char* argument) const;
  std::shared_ptr<void> release(uint32_t slot);

  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  uint32_t first_free_ = kNoSlot;
  size_t open_ = 0;

  static constexpr uint32_t kNoSlot = UINT32_MAX;
};

// The table of this process. Never destroyed: handles may be closed while the process winds down.
HandleTable& handles();

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_HANDLE_TABLE_H_
