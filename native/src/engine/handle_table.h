#ifndef SMPO_ENGINE_HANDLE_TABLE_H_
#define SMPO_ENGINE_HANDLE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace smpo::engine {

enum class HandleKind : uint8_t {
  kSession = 1,
  kTensor = 2,
  kModel = 3,
  kSampler = 4,
  kPairBatch = 5,
  kOptimizer = 6,
  kComm = 7
};

// Maps checked 64-bit handles to objects: kind (8 bits) | generation (24) | slot (32).
//
// Closing a handle increments the generation of its slot, so an old handle never names a newer object; a slot that has
// used all generations is retired. Every handle has an owner (the handle of a session, or 0) and resolves for that
// owner only. All functions may be called from any thread; objects are destroyed outside the lock.
class HandleTable final {
 public:
  static constexpr uint32_t kLastGeneration = (1u << 24) - 1;

  HandleTable() = default;
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  // Returns a new handle, which is never 0.
  uint64_t open(HandleKind kind, uint64_t owner, std::shared_ptr<void> object);

  // Returns the object of a handle. Throws Error(SMPO_INVALID_HANDLE), with a message that begins with `argument`, for
  // a handle that is null, was never issued, is closed, is of another kind, or belongs to another owner.
  std::shared_ptr<void> resolve(uint64_t handle, HandleKind kind, uint64_t owner, const char* argument) const;

  // Returns the object like resolve, and closes the handle.
  std::shared_ptr<void> close(uint64_t handle, HandleKind kind, uint64_t owner, const char* argument);

  // Closes every handle of an owner and returns their objects.
  std::vector<std::shared_ptr<void>> close_all_of(uint64_t owner);

  // Calls the function, which must not throw or use the table, with every object of a kind.
  void for_each(HandleKind kind, void (*function)(void* object)) const noexcept;

  size_t open_handles() const;
  // Number of slots ever allocated, including retired ones. A leak would make it grow.
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

// The table of this process. Never destroyed, because handles may be closed while the process exits.
HandleTable& handles();

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_HANDLE_TABLE_H_
