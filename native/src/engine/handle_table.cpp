#include "engine/handle_table.h"

#include <string>
#include <utility>

#include "engine/error.h"

namespace smpo::engine {
namespace {

constexpr int kGenerationShift = 32;
constexpr int kKindShift = 56;

uint64_t encode(HandleKind kind, uint32_t generation, uint32_t slot) {
  return static_cast<uint64_t>(kind) << kKindShift | static_cast<uint64_t>(generation) << kGenerationShift | slot;
}

// Returns null for a value that is not a kind.
const char* name(HandleKind kind) {
  switch (kind) {
    case HandleKind::kSession:
      return "session";
    case HandleKind::kTensor:
      return "tensor";
    case HandleKind::kModel:
      return "model";
    case HandleKind::kSampler:
      return "sampler";
    case HandleKind::kPairBatch:
      return "pair batch";
    case HandleKind::kOptimizer:
      return "optimizer";
    case HandleKind::kComm:
      return "comm";
  }
  return nullptr;
}

// "a tensor", "an optimizer"
std::string one(HandleKind kind) { return std::string(kind == HandleKind::kOptimizer ? "an " : "a ") + name(kind); }

}  // namespace

uint64_t HandleTable::open(HandleKind kind, uint64_t owner, std::shared_ptr<void> object) {
  const std::lock_guard lock(mutex_);
  uint32_t slot = first_free_;
  if (slot == kNoSlot) {
    if (entries_.size() >= kNoSlot) fail(SMPO_OUT_OF_MEMORY, "handles: all ", entries_.size(), " slots are in use");
    slot = static_cast<uint32_t>(entries_.size());
    entries_.emplace_back();
  } else {
    first_free_ = entries_[slot].next_free;
  }
  Entry& entry = entries_[slot];
  entry.object = std::move(object);
  entry.owner = owner;
  entry.kind = kind;
  ++open_;
  return encode(kind, entry.generation, slot);
}

const HandleTable::Entry& HandleTable::checked(uint64_t handle, HandleKind kind, uint64_t owner,
                                               const char* argument) const {
  const auto found_kind = static_cast<HandleKind>(handle >> kKindShift);
  const auto generation = static_cast<uint32_t>(handle >> kGenerationShift) & kLastGeneration;
  const auto slot = static_cast<uint32_t>(handle);
  if (handle == 0) fail(SMPO_INVALID_HANDLE, argument, ": expected ", one(kind), " handle, got the null handle");
  if (name(found_kind) == nullptr) {
    fail(SMPO_INVALID_HANDLE, argument, ": expected ", one(kind), " handle, got ", handle,
         ", which is no handle of this library");
  }
  if (found_kind != kind) {
    fail(SMPO_INVALID_HANDLE, argument, ": expected ", one(kind), " handle, got ", one(found_kind), " handle");
  }
  const auto never_issued = [&] {
    if (slot >= entries_.size() || generation == 0 || generation > entries_[slot].generation) return true;
    return generation == entries_[slot].generation && entries_[slot].object == nullptr;
  };
  if (never_issued()) {
    fail(SMPO_INVALID_HANDLE, argument, ": expected ", one(kind), " handle, got ", handle,
         ", which was never handed out");
  }
  const Entry& entry = entries_[slot];
  if (generation != entry.generation || entry.kind != kind) {
    fail(SMPO_INVALID_HANDLE, argument, ": the ", name(kind), " handle is closed");
  }
  if (entry.owner != owner) {
    fail(SMPO_INVALID_HANDLE, argument, ": the ", name(kind), " handle belongs to another session");
  }
  return entry;
}

std::shared_ptr<void> HandleTable::resolve(uint64_t handle, HandleKind kind, uint64_t owner,
                                           const char* argument) const {
  const std::lock_guard lock(mutex_);
  return checked(handle, kind, owner, argument).object;
}

std::shared_ptr<void> HandleTable::close(uint64_t handle, HandleKind kind, uint64_t owner, const char* argument) {
  const std::lock_guard lock(mutex_);
  checked(handle, kind, owner, argument);
  return release(static_cast<uint32_t>(handle));
}

std::vector<std::shared_ptr<void>> HandleTable::close_all_of(uint64_t owner) {
  std::vector<std::shared_ptr<void>> objects;
  const std::lock_guard lock(mutex_);
  objects.reserve(open_);  // No allocation may fail once the first handle is closed.
  for (size_t slot = 0; slot < entries_.size(); ++slot) {
    if (entries_[slot].object != nullptr && entries_[slot].owner == owner) {
      objects.push_back(release(static_cast<uint32_t>(slot)));
    }
  }
  return objects;
}

std::shared_ptr<void> HandleTable::release(uint32_t slot) {
  Entry& entry = entries_[slot];
  std::shared_ptr<void> object = std::exchange(entry.object, nullptr);
  // A slot is not reused after its last generation, since its next handle would equal its first.
  if (++entry.generation <= kLastGeneration) {
    entry.next_free = first_free_;
    first_free_ = slot;
  }
  --open_;
  return object;
}

void HandleTable::for_each(HandleKind kind, void (*function)(void* object)) const noexcept {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    if (entry.object != nullptr && entry.kind == kind) function(entry.object.get());
  }
}

size_t HandleTable::open_handles() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

size_t HandleTable::slots() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

HandleTable& handles() {
  static auto* const table = new HandleTable;
  return *table;
}

}  // namespace smpo::engine
