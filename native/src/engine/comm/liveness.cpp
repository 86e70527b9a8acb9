#include "engine/comm/liveness.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace smpo::engine {

namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds kBeat(300);
// A rank is lost if its number does not change for so long.
constexpr Milliseconds kSilence(1500);
// Ranks read an answer within two beats.
constexpr Milliseconds kSpread(700);
constexpr Milliseconds kLongestInvestigation(5000);
constexpr Milliseconds kLongestGoodbye(1000);

constexpr const char* kLost = "lost";

std::string alive_key(int32_t rank) { return "alive/" + std::to_string(rank); }

}  // namespace

// Shared with the thread, which outlives the group where a rank 0 that hangs does not answer.
struct Liveness::State {
  CommConfig config;
  StorePointer store;
  std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;   // the group is closing
  bool asked = false;  // somebody waits for the answer
  bool answered = false;
  bool ended = false;  // the thread has ended
  std::string answer;

  void run();
  void beat();
  std::string investigate();
  std::vector<int64_t> counts();
  // Returns whether the group is closing.
  bool pause(Milliseconds time) {
    std::unique_lock<std::mutex> lock(mutex);
    return changed.wait_for(lock, time, [this] { return stop; });
  }
  void reply(std::string text) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (!answered) answer = std::move(text);
    answered = true;
    changed.notify_all();
  }
};

void Liveness::State::beat() {
  store->add(alive_key(config.rank), 1);
  if (!answered && store->check({kLost})) {
    const std::vector<uint8_t> text = store->get(kLost);
    reply({text.begin(), text.end()});
  }
}

std::vector<int64_t> Liveness::State::counts() {
  std::vector<int64_t> all;
  for (int32_t rank = 0; rank < config.world_size; ++rank) all.push_back(store->add(alive_key(rank), 0));
  return all;
}

std::string Liveness::State::investigate() {
  const std::vector<int64_t> before = counts();
  for (Milliseconds passed(0); passed < kSilence; passed += kBeat) {
    if (pause(kBeat)) return "";
    beat();
    if (answered) return answer;
  }
  const std::vector<int64_t> after = counts();
  std::string lost;
  for (int32_t rank = 0; rank < config.world_size; ++rank) {
    const auto at = static_cast<size_t>(rank);
    if (rank != config.rank && after[at] == before[at]) lost += (lost.empty() ? "rank " : ", ") + std::to_string(rank);
  }
  if (lost.empty()) return "";
  // The first answer counts.
  const std::vector<uint8_t> own(lost.begin(), lost.end());
  const std::vector<uint8_t> text = store->compareSet(kLost, std::vector<uint8_t>(), own);
  pause(kSpread);
  return {text.begin(), text.end()};
}

void Liveness::State::run() {
  try {
    while (!pause(kBeat)) {
      beat();
      bool investigates = false;
      {
        const std::lock_guard<std::mutex> lock(mutex);
        investigates = asked && !answered;
      }
      if (investigates) reply(investigate());
    }
  } catch (const std::exception&) {
    // The store is part of rank 0's process, unless it was there before.
    reply(config.store_exists ? "" : "rank 0");
  }
  const std::lock_guard<std::mutex> lock(mutex);
  ended = true;
  changed.notify_all();
}

Liveness::Liveness(const CommConfig& config, StorePointer store) : state_(std::make_shared<State>()) {
  state_->config = config;
  state_->store = std::move(store);
  std::thread([state = state_] { state->run(); }).detach();
}

Liveness::~Liveness() {
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kLongestGoodbye, [this] { return state_->ended; });
}

std::string Liveness::lost() {
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->asked = true;
  state_->changed.wait_for(lock, kLongestInvestigation, [this] { return state_->answered; });
  if (state_->answered) return state_->answer;
  // A call on the store does not return, and the store is part of rank 0's process.
  return state_->config.store_exists || state_->config.rank == 0 ? "" : "rank 0";
}

}  // namespace smpo::engine
