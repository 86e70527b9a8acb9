#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "c_api/border.h"
#include "support/process_memory.h"

namespace smpo::test {
namespace {

class SessionTest : public BorderTest {
 protected:
  void reopen(const smpo_session_config& changed) {
    EXPECT_OK(smpo_session_close(session, &error));
    EXPECT_OK(smpo_session_open(&changed, &session, &error));
  }
  std::vector<smpo_log_record> drain(uint32_t capacity) {
    std::vector<smpo_log_record> records(capacity, sized<smpo_log_record>());
    uint32_t count = 0;
    EXPECT_OK(smpo_session_drain_log(session, records.data(), capacity, &count, &error));
    records.resize(count);
    return records;
  }
};

TEST_F(SessionTest, CountsCallsAndFailures) {
  const auto before = statistics();
  EXPECT_OK(smpo_session_synchronize(session, &error));
  EXPECT_EQ(smpo_tensor_close(session, 0, &error), SMPO_INVALID_HANDLE);
  std::thread([&] { EXPECT_EQ(smpo_session_trim(session, nullptr), SMPO_WRONG_THREAD); }).join();
  const auto after = statistics();
  EXPECT_EQ(after.calls, before.calls + 4) << "this one included";
  EXPECT_EQ(after.failed_calls, before.failed_calls + 2);
  EXPECT_EQ(after.size, sizeof after);
}

TEST_F(SessionTest, CountsTensorsAndHostMemory) {
  constexpr uint64_t kBytes = uint64_t{8} << 20;
  const auto before = statistics();
  const smpo_tensor tensor = zeros(spec_of(SMPO_F32, {2, 1 << 20}));
  const auto during = statistics();
  EXPECT_EQ(during.open_tensors, before.open_tensors + 1);
  EXPECT_EQ(during.host_bytes_in_use, before.host_bytes_in_use + kBytes);
  EXPECT_GE(during.host_bytes_peak, during.host_bytes_in_use);
  close(tensor);
  const auto after = statistics();
  EXPECT_EQ(after.open_tensors, before.open_tensors);
  EXPECT_EQ(after.host_bytes_in_use, before.host_bytes_in_use);
  EXPECT_GE(after.host_bytes_pooled, kBytes);
  EXPECT_OK(smpo_session_trim(session, &error));
  EXPECT_EQ(statistics().host_bytes_pooled, 0u);
  EXPECT_EQ(after.device_bytes_in_use + after.device_bytes_peak + after.device_bytes_reserved, 0u);
  EXPECT_EQ(after.device_synchronizations, 0u);
}

TEST_F(SessionTest, ClosingGivesTheTensorsBack) {
  smpo_session other = 0;
  const auto before = statistics();
  EXPECT_OK(smpo_session_open(&config, &other, &error));
  const auto spec = spec_of(SMPO_F32, {1 << 20});
  for (int i = 0; i < 3; ++i) {
    smpo_tensor tensor = 0;
    EXPECT_OK(smpo_tensor_zeros(other, &spec, &tensor, &error));
  }
  EXPECT_GT(statistics().host_bytes_in_use, before.host_bytes_in_use);
  EXPECT_OK(smpo_session_close(other, &error));
  EXPECT_EQ(statistics().host_bytes_in_use, before.host_bytes_in_use);
}

TEST_F(SessionTest, LogKeepsTheNewestAndCountsWhatItDropped) {
  config.log_level = SMPO_LOG_DEBUG;
  config.log_capacity = 5;
  reopen(config);
  drain(5);
  // A failed call logs one record at the lowest level.
  for (int32_t kind = 100; kind < 112; ++kind)
    EXPECT_EQ(smpo_debug_raise(session, kind, 0, nullptr), SMPO_INVALID_ARGUMENT);
  EXPECT_EQ(statistics().log_records_dropped, 7u);
  const auto first = drain(3);
  ASSERT_EQ(first.size(), 3u);
  const auto rest = drain(10);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(drain(10).size(), 0u);
  EXPECT_STREQ(first[0].message, "smpo_debug_raise: kind: expected 0..8, got 107");
  EXPECT_STREQ(rest[1].message, "smpo_debug_raise: kind: expected 0..8, got 111");
  EXPECT_EQ(rest[1].level, SMPO_LOG_DEBUG);
  EXPECT_LE(first[0].unix_nanos, rest[1].unix_nanos);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  EXPECT_LE(std::abs(rest[1].unix_nanos / 1'000'000'000 - seconds), 60);
  EXPECT_EQ(statistics().log_records_dropped, 7u);
}

TEST_F(SessionTest, LogKeepsRecordsFromItsLevelOn) {
  config.log_level = SMPO_LOG_ERROR;
  reopen(config);
  EXPECT_EQ(smpo_debug_raise(session, 100, 0, nullptr), SMPO_INVALID_ARGUMENT);
  EXPECT_EQ(drain(10).size(), 0u);
  config.log_level = SMPO_LOG_INFO;
  reopen(config);
  const auto records = drain(10);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_STREQ(records[0].message, "session opened: cpu, threads 2, seed 42");
  EXPECT_EQ(records[0].level, SMPO_LOG_INFO);
}

TEST_F(SessionTest, DrainingNothingNeedsNoMemory) {
  uint32_t count = 9;
  EXPECT_OK(smpo_session_drain_log(session, nullptr, 0, &count, &error));
  EXPECT_EQ(count, 0u);
}

TEST_F(SessionTest, ACancelFromAnotherThreadStopsTheOperationInFlight) {
  constexpr int64_t kRows = 64;
  const auto spec = spec_of(SMPO_F32, {kRows, int64_t{1} << 18});
  std::vector<int64_t> items(kRows);
  std::iota(items.begin(), items.end(), 0);
  const auto fill = [&](smpo_tensor tensor) {
    return smpo_tensor_fill_normal(session, tensor, 0, 0, items.data(), items.size(), &error);
  };
  const smpo_tensor whole = zeros(spec);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(fill(whole), SMPO_OK) << error.message;
  const auto time = std::chrono::steady_clock::now() - start;
  close(whole);

  // On a busy machine the request may arrive after this round; the next round then sees it.
  for (int round = 0; round < 50; ++round) {
    const smpo_tensor tensor = zeros(spec);
    std::thread canceller([&] {
      std::this_thread::sleep_for(time / 3);
      EXPECT_EQ(smpo_session_cancel(session, nullptr), SMPO_OK);
    });
    const smpo_status status = fill(tensor);
    canceller.join();
    const auto values = to_host<float>(tensor);
    if (status == SMPO_OK) {
      EXPECT_EQ(fill(tensor), SMPO_CANCELLED) << "the request came after the end, and waits";
    } else {
      EXPECT_EQ(status, SMPO_CANCELLED);
      EXPECT_EQ(values.back(), 0) << "the last row was not drawn";
    }
    close(tensor);
    if (status == SMPO_CANCELLED && values.front() != 0) return;
  }
  FAIL() << "no call was stopped after its first row";
}

TEST_F(SessionTest, ACancelIsUsedUpOnce) {
  const smpo_tensor tensor = zeros(spec_of(SMPO_F32, {1, 4}));
  const int64_t item = 0;
  const auto fill = [&] { return smpo_tensor_fill_normal(session, tensor, 0, 0, &item, 1, &error); };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(smpo_session_cancel(session, nullptr), SMPO_OK); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_OK(smpo_session_synchronize(session, &error));  // cannot be cancelled and leaves the request pending
  close(zeros(spec_of(SMPO_F32, {1})));
  EXPECT_EQ(fill(), SMPO_CANCELLED);
  EXPECT_EQ(fill(), SMPO_OK) << error.message;
}

TEST_F(SessionTest, ACancelConcernsItsSessionOnly) {
  smpo_session other = 0;
  EXPECT_OK(smpo_session_open(&config, &other, &error));
  EXPECT_OK(smpo_session_cancel(other, &error));
  const smpo_tensor tensor = zeros(spec_of(SMPO_F32, {1, 4}));
  const int64_t item = 0;
  EXPECT_OK(smpo_tensor_fill_normal(session, tensor, 0, 0, &item, 1, &error));
  EXPECT_OK(smpo_session_close(other, &error));
}

TEST_F(SessionTest, CancelsMayRaceWithTheClose) {
  // The canceller works with a handle that goes stale at an arbitrary moment.
  for (int i = 0; i < 200; ++i) {
    smpo_session other = 0;
    ASSERT_OK(smpo_session_open(&config, &other, &error));
    std::atomic<bool> running{false};
    std::thread canceller([&] {
      smpo_status status = SMPO_OK;
      while (status == SMPO_OK) {
        status = smpo_session_cancel(other, nullptr);
        running = true;
      }
      EXPECT_EQ(status, SMPO_INVALID_HANDLE);
    });
    while (!running.load()) std::this_thread::yield();
    EXPECT_OK(smpo_session_close(other, &error));
    canceller.join();
  }
}

TEST_F(SessionTest, SessionsOfManyThreadsAreIndependent) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, this] {
      auto own_error = sized<smpo_error>();
      auto own_config = config;
      own_config.deterministic = t % 2;
      const auto spec = spec_of(SMPO_I64, {100});
      for (int i = 0; i < 50; ++i) {
        smpo_session own = 0;
        ASSERT_EQ(smpo_session_open(&own_config, &own, &own_error), SMPO_OK) << own_error.message;
        const std::vector<int64_t> values(100, t * 1000 + i);
        std::vector<int64_t> back(100);
        smpo_tensor tensor = 0;
        ASSERT_EQ(smpo_tensor_from_host(own, &spec, values.data(), 800, &tensor, &own_error), SMPO_OK);
        ASSERT_EQ(smpo_tensor_to_host(own, tensor, &spec, back.data(), 800, &own_error), SMPO_OK);
        EXPECT_EQ(values, back);
        EXPECT_EQ(smpo_tensor_close(session, tensor, nullptr), SMPO_WRONG_THREAD);
        ASSERT_EQ(smpo_session_close(own, &own_error), SMPO_OK);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class SessionCycles : public SessionTest {
 protected:
  static constexpr int kCycles = 10'000;

  // Opens a session, closes two of its three tensors, then closes the session. Returns the highest slot used.
  uint32_t cycle() {
    smpo_session own = 0;
    smpo_tensor tensors[3] = {};
    const auto spec = spec_of(SMPO_F32, {3, 1000});
    EXPECT_OK(smpo_session_open(&config, &own, &error));
    for (smpo_tensor& tensor : tensors) EXPECT_OK(smpo_tensor_zeros(own, &spec, &tensor, &error));
    uint32_t slot = static_cast<uint32_t>(own);
    for (const smpo_tensor tensor : tensors) slot = std::max(slot, static_cast<uint32_t>(tensor));
    EXPECT_OK(smpo_tensor_close(own, tensors[0], &error));
    EXPECT_OK(smpo_tensor_close(own, tensors[1], &error));
    EXPECT_OK(smpo_session_close(own, &error));
    return slot;
  }
};

TEST_F(SessionCycles, UseTheSameSlotsAgain) {
  // A cycle reuses the slots that the last one freed, in another order. Four handles are open at a time.
  const uint32_t most = cycle();
  for (int i = 0; i < kCycles; ++i) ASSERT_LE(cycle(), most + 4) << "at cycle " << i;
}

TEST_F(SessionCycles, DoNotGrowTheProcess) {
#ifdef SMPO_SANITIZE
  GTEST_SKIP() << "AddressSanitizer keeps freed memory for a while; LeakSanitizer looks for leaks instead";
#endif
  for (int i = 0; i < 1000; ++i) cycle();
  const int64_t before = resident_bytes();
  for (int i = 0; i < kCycles; ++i) cycle();
  const int64_t growth = resident_bytes() - before;
  // A leak of one tensor's bookkeeping (over 200 bytes) per cycle would be 2 MB.
  EXPECT_LT(growth, 1 << 20);
}

}  // namespace
}  // namespace smpo::test
