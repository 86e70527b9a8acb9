// A recorder on the CPU: it keeps the work and does it again. In a program that links this, a session records and plays
// back as it would on a GPU, so that the border's own tests check that what is recorded depends on its key and its
// memory alone: work that kept a stale value, or another batch's, would give that batch's numbers again. Being here
// already, this function is not taken from the engine's library.
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

/// A program whose recordings are never played has tested nothing.
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
