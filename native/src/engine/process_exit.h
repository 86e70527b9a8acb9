// Ending the process while calls run.
//
// The C library's exit function runs the static destructors of LibTorch, oneDNN and MKL on one thread while other
// threads may still be inside a call that uses what they destroy, which crashes. A handler that runs before them
// therefore cancels all sessions and waits for the calls in flight. If some of them are still running after
// kExitPatience, it ends the process at once, with the same status and without destructors. Calls that begin later are
// refused.
//
// The handler runs before the destructors of objects that existed when it was last registered. It is registered again
// around each function's calls number 1, 2, 4, 8, ..., since libraries create static objects the first time that
// something is used. A process that ends during the first call of a function is not protected.
#ifndef SMPO_ENGINE_PROCESS_EXIT_H_
#define SMPO_ENGINE_PROCESS_EXIT_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace smpo::engine {

inline constexpr std::chrono::milliseconds kExitPatience{2000};

// One call of a function of the library, from entry to return. `calls` counts the calls of that function. Throws
// Error(SMPO_CANCELLED) once the process is ending.
class CallInFlight final {
 public:
  explicit CallInFlight(std::atomic<uint64_t>& calls);
  ~CallInFlight();
  CallInFlight(const CallInFlight&) = delete;
  CallInFlight& operator=(const CallInFlight&) = delete;

 private:
  bool registers_ = false;
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_PROCESS_EXIT_H_
