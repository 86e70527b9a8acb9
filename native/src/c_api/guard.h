#ifndef SMPO_C_API_GUARD_H_
#define SMPO_C_API_GUARD_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "engine/error.h"
#include "engine/failure.h"
#include "engine/process_exit.h"
#include "engine/session.h"
#include "engine/tensor_spec.h"
#include "smpo.h"

// The header declares the functions without a visibility; the library hides all that does not carry this.
#define SMPO_EXPORT extern "C" __attribute__((visibility("default")))

namespace smpo::c_api {

// Who may call a function of a session, and when.
enum class Access {
  kOwner,      // the owner, while no device fault has happened
  kClosing,    // the owner, at any time
  kAnyThread,  // anyone, while the session is open
};

// True when the caller's error can be written. A null error is not asked for; one of a wrong size is a mistake.
inline bool valid(const smpo_error* error) { return error == nullptr || error->size == sizeof *error; }

// Writes the failure, its message after the name of the function, and returns its status.
smpo_status report(const char* function, const engine::Failure& failure, smpo_error* error) noexcept;

// Runs the body of a function that has no session. Whatever it throws becomes a status and a message.
template <typename Body>
smpo_status guarded(const char* function, smpo_error* error, Body&& body) noexcept {
  static constinit std::atomic<uint64_t> calls{0};  // of this function: each has an instantiation of its own
  if (!valid(error)) return SMPO_INVALID_ARGUMENT;
  try {
    const engine::CallInFlight call(calls);
    std::forward<Body>(body)();
    return SMPO_OK;
  } catch (...) {
    return report(function, engine::current_failure(), error);
  }
}

// Runs the body of a function of a session, body(engine::Session&), under the session's modes.
template <Access access = Access::kOwner, typename Body>
smpo_status guarded(const char* function, smpo_session handle, smpo_error* error, Body&& body) noexcept {
  static constinit std::atomic<uint64_t> calls{0};  // of this function: each has an instantiation of its own
  if (!valid(error)) return SMPO_INVALID_ARGUMENT;
  std::shared_ptr<engine::Session> session;
  try {
    const engine::CallInFlight call(calls);
    session = engine::Session::of(handle);
    session->count_call();
    if constexpr (access == Access::kAnyThread) {
      body(*session);
    } else {
      session->require_owner();
      if constexpr (access == Access::kOwner) session->require_healthy();
      session->run([&] { body(*session); });
    }
    return SMPO_OK;
  } catch (...) {
    const engine::Failure failure = engine::current_failure();
    if (session != nullptr) session->count_failure(function, failure);
    return report(function, failure, error);
  }
}

// Argument checks. `name` is the parameter's name in smpo.h.

inline void require_pointer(const void* pointer, const char* name) {
  if (pointer == nullptr) engine::fail(SMPO_INVALID_ARGUMENT, name, ": expected a pointer, got null");
}

// A pointer to `bytes` bytes; null will do where there are none.
inline void require_memory(const void* pointer, uint64_t bytes, const char* name) {
  if (pointer == nullptr && bytes > 0) {
    engine::fail(SMPO_INVALID_ARGUMENT, name, ": expected a pointer to ", bytes, " bytes, got null");
  }
}

template <typename Struct>
void require_struct(const Struct* pointer, const char* name) {
  require_pointer(pointer, name);
  if (pointer->size != sizeof(Struct)) {
    engine::fail(SMPO_INVALID_ARGUMENT, name, ".size: expected ", sizeof(Struct), ", got ", pointer->size);
  }
}

inline void require_range(int64_t value, int64_t least, int64_t most, const char* name) {
  if (value < least || value > most) {
    engine::fail(SMPO_INVALID_ARGUMENT, name, ": expected ", least, "..", most, ", got ", value);
  }
}

// SMPO_SHAPE_MISMATCH unless `bytes` is the spec's size.
void require_bytes(const engine::TensorSpec& spec, uint64_t bytes);

// Checks a caller's spec in full and decodes it.
engine::TensorSpec decode(const smpo_tensor_spec* spec);

}  // namespace smpo::c_api

#endif  // SMPO_C_API_GUARD_H_
