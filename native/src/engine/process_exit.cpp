#include "engine/process_exit.h"

#include <unistd.h>

#include <atomic>
#include <bit>
#include <cstdlib>
#include <thread>

#include "engine/error.h"
#include "engine/session.h"

namespace smpo::engine {
namespace {

// Trivially destructible, so that they can be used at any moment of the process's end.
constinit std::atomic<uint32_t> in_flight{0};
constinit std::atomic<bool> ending{false};

void at_exit(int status, void*) {
  // Registered more than once: the first run does the work.
  if (ending.exchange(true)) return;
  Session::cancel_all();
  const auto deadline = std::chrono::steady_clock::now() + kExitPatience;
  while (in_flight.load() > 0) {
    if (std::chrono::steady_clock::now() > deadline) _exit(status);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

CallInFlight::CallInFlight(std::atomic<uint64_t>& calls) {
  // Either this call sees that the process is ending, or the handler sees this call.
  in_flight.fetch_add(1);
  if (ending.load()) {
    in_flight.fetch_sub(1);
    throw Error(SMPO_CANCELLED, "the process is ending");
  }
  registers_ = std::has_single_bit(calls.fetch_add(1, std::memory_order_relaxed) + 1);
  if (registers_) on_exit(at_exit, nullptr);
}

CallInFlight::~CallInFlight() {
  if (registers_) on_exit(at_exit, nullptr);
  in_flight.fetch_sub(1);
}

}  // namespace smpo::engine
