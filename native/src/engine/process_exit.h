// Ending the process while calls run.
//
// The C library's exit function runs the static destructors of LibTorch, oneDNN and MKL on one thread while other
// threads may still be inside a call that uses what they destroy, which crashes. A handler that runs before them
// therefore cancels all sessions and waits for the calls in flight. If some of them are still running after
// kExitPatience, it ends the process at once, with the same status and without destructors. Calls that begin later are
// refused.
#ifndef SMPO_ENGINE_PROCESS_EXIT_H_
#define SMPO_ENGINE_PROCESS_EXIT_H_

#include <chrono>
#include <cstdint>

namespace smpo::engine {

inline constexpr std::chrono::milliseconds kExitPatience{2000};

// One call of the library, from entry to return. Throws Error(SMPO_CANCELLED) once the process is ending.
class CallInFlight final {
 public:
  CallInFlight();
  ~CallInFlight();
  CallInFlight(const CallInFlight&) = delete;
  CallInFlight& operator=(const CallInFlight&) = delete;
};

// Number of calls in flight, of all threads.
uint32_t calls_in_flight() noexcept;

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_PROCESS_EXIT_H_
