#include "engine/session.h"

#include <ATen/Context.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <stdexcept>
#include <thread>
#include <vector>

#include "engine/error.h"

namespace smpo::engine {
namespace {

SessionConfig config(bool deterministic = false) {
  return {.device_type = SMPO_DEVICE_CPU,
          .device_index = 0,
          .threads = 3,
          .seed = 11,
          .deterministic = deterministic,
          .log_level = SMPO_LOG_WARNING,
          .log_capacity = 4};
}

struct Modes {
  int threads;
  bool gradients;
  bool deterministic;
  bool mkldnn;
  bool fill;

  friend bool operator==(const Modes&, const Modes&) = default;
};

Modes modes() {
  const at::Context& context = at::globalContext();
  return {omp_get_max_threads(), c10::GradMode::is_enabled(), context.deterministicAlgorithms(),
          context.deterministicMkldnn(), context.deterministicFillUninitializedMemory()};
}

// The handle is closed when the test ends.
class Opened {
 public:
  explicit Opened(const SessionConfig& config) : session_(Session::of(Session::open(config))) {}
  ~Opened() { session_->close(); }
  Session* operator->() const { return session_.get(); }

 private:
  std::shared_ptr<Session> session_;
};

TEST(Session, RunsUnderItsModesAndRestoresTheCallers) {
  const Opened session(config(/*deterministic=*/true));
  const Modes before = modes();
  ASSERT_NE(before.threads, 7);
  omp_set_num_threads(7);
  Modes inside{};
  session->run([&] { inside = modes(); });
  EXPECT_EQ(inside, (Modes{.threads = 3, .gradients = false, .deterministic = true, .mkldnn = true, .fill = false}));
  EXPECT_EQ(omp_get_max_threads(), 7);
  omp_set_num_threads(before.threads);
  EXPECT_EQ(modes(), before);
}

TEST(Session, RestoresModesWhenTheBodyThrows) {
  const Opened session(config(/*deterministic=*/true));
  const Modes before = modes();
  EXPECT_THROW(session->run([] { throw std::runtime_error("out"); }), std::runtime_error);
  EXPECT_EQ(modes(), before);
}

TEST(Session, DeterminismLastsWhileAnyDeterministicSessionIsInside) {
  const Opened outer(config(/*deterministic=*/true));
  const Opened inner(config(/*deterministic=*/true));
  const Opened loose(config(/*deterministic=*/false));
  outer->run([&] {
    inner->run([] {});
    EXPECT_TRUE(at::globalContext().deterministicAlgorithms());
    loose->run([] { EXPECT_TRUE(at::globalContext().deterministicAlgorithms()); });
  });
  EXPECT_FALSE(at::globalContext().deterministicAlgorithms());
  loose->run([] { EXPECT_FALSE(at::globalContext().deterministicAlgorithms()); });
}

TEST(Session, LibTorchWarningsGoToTheLog) {
  const Opened session(config());
  session->run([] { TORCH_WARN("take care"); });
  std::vector<smpo_log_record> records(4);
  ASSERT_EQ(session->drain_log(records), 1u);
  EXPECT_EQ(records[0].level, SMPO_LOG_WARNING);
  EXPECT_STREQ(records[0].message, "take care");
}

TEST(Session, TheLogKeepsTheNewestAndCountsTheRest) {
  const Opened session(config());
  for (int i = 0; i < 10; ++i) session->log(SMPO_LOG_ERROR, std::to_string(i));
  session->log(SMPO_LOG_INFO, "below the level");
  EXPECT_EQ(session->statistics().log_records_dropped, 6u);
  std::vector<smpo_log_record> records(3);
  ASSERT_EQ(session->drain_log(records), 3u);
  EXPECT_STREQ(records[0].message, "6");
  EXPECT_STREQ(records[2].message, "8");
  ASSERT_EQ(session->drain_log(records), 1u);
  EXPECT_STREQ(records[0].message, "9");
  EXPECT_EQ(session->drain_log(records), 0u);
}

TEST(Session, ACancellationIsConsumedByTheOperationItStops) {
  const Opened session(config());
  session->stop_if_cancelled();
  std::thread([&] { session->request_cancel(); }).join();
  try {
    session->stop_if_cancelled();
    FAIL() << "was not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SMPO_CANCELLED);
  }
  session->stop_if_cancelled();
}

TEST(Session, ThreadsAreDistinguished) {
  const Opened session(config());
  session->require_owner();
  // One after another, so that the operating system can reuse a thread's number.
  for (int i = 0; i < 3; ++i) {
    std::thread([&] { EXPECT_THROW(session->require_owner(), Error); }).join();
  }
}

TEST(Session, TheFirstDeviceFaultIsReported) {
  const Opened session(config());
  Failure failure;
  failure.status = SMPO_DEVICE_FAULT;
  failure.detail = 700;
  copy_text(failure.message, sizeof failure.message, "the first");
  session->count_failure("smpo_f", failure);
  failure.detail = 719;
  copy_text(failure.message, sizeof failure.message, "the second");
  session->count_failure("smpo_f", failure);
  try {
    session->require_healthy();
    FAIL() << "is not poisoned";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SMPO_SESSION_POISONED);
    EXPECT_EQ(error.detail(), 700);
    EXPECT_STREQ(error.what(), "session: unusable since an earlier device fault: the first");
  }
}

}  // namespace
}  // namespace smpo::engine
