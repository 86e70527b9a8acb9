// A recorder for the CPU: it keeps the work and runs it again. A program that links this file records and replays as on
// a GPU, so that the tests of the C API check that recorded work depends on its key and its memory only: work that kept
// a stale value, or that of another batch, would give wrong results. recorder_for below replaces that of the engine.
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/graphs.h"

namespace smpo::engine {
namespace {

int recorded = 0, replayed = 0;

class Replaying final : public Recording {
 public:
  explicit Replaying(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override {
    ++replayed;
    work_();
  }

 private:
  std::function<void()> work_;
};

class ReplayingRecorder final : public Recorder {
 public:
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    ++recorded;
    return std::make_unique<Replaying>(work);
  }
};

/// Fails a program whose recordings are never replayed, because it has tested nothing.
class SomethingWasReplayed final : public testing::Environment {
 public:
  void TearDown() override {
    const auto* suite = testing::UnitTest::GetInstance();
    if (suite->test_to_run_count() < suite->total_test_count()) return;
    EXPECT_GT(recorded, 0);
    EXPECT_GT(replayed, 2 * recorded);
  }
};

const auto* const environment = testing::AddGlobalTestEnvironment(new SomethingWasReplayed);

}  // namespace

std::unique_ptr<Recorder> recorder_for(const Device&) { return std::make_unique<ReplayingRecorder>(); }

}  // namespace smpo::engine
