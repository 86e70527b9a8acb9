#include "engine/session_log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace smpo::engine {
namespace {

std::vector<std::string> drained(SessionLog& log) {
  std::vector<smpo_log_record> records(1000);
  records.resize(log.drain(records));
  std::vector<std::string> messages;
  for (const smpo_log_record& record : records) messages.emplace_back(record.message);
  return messages;
}

TEST(SessionLog, ALongMessageContinuesInFurtherRecords) {
  SessionLog log(SMPO_LOG_DEBUG, 100);
  std::string message;
  for (int i = 0; message.size() < 1000; ++i) message += "word" + std::to_string(i) + "é ";
  log.add(SMPO_LOG_WARNING, message);
  const std::vector<std::string> records = drained(log);
  EXPECT_EQ(records.size(), 5u);
  std::string joined;
  for (const std::string& record : records) {
    EXPECT_LT(record.size(), sizeof(smpo_log_record::message));
    if (!joined.empty()) {
      EXPECT_TRUE(record.starts_with("... "));
    }
    joined += joined.empty() ? record : record.substr(4);
  }
  EXPECT_EQ(joined, message);
}

TEST(SessionLog, AVeryLongMessageIsCut) {
  SessionLog log(SMPO_LOG_DEBUG, 100);
  log.add(SMPO_LOG_DEBUG, std::string(100'000, 'x'));
  EXPECT_EQ(drained(log).size(), SessionLog::kMostRecordsPerMessage);
}

TEST(SessionLog, ARepeatedWarningIsCounted) {
  SessionLog log(SMPO_LOG_DEBUG, 100);
  for (int i = 0; i < 1234; ++i) {
    log.add(SMPO_LOG_WARNING, "slow path");
    log.add(SMPO_LOG_ERROR, "number " + std::to_string(i % 2));
  }
  EXPECT_EQ(drained(log),
            (std::vector<std::string>{"slow path", "number 0", "number 1", "slow path (10 times)",
                                      "number 0 (10 times)", "number 1 (10 times)", "slow path (100 times)",
                                      "number 0 (100 times)", "number 1 (100 times)", "slow path (1000 times)"}));
  EXPECT_EQ(log.dropped(), 0u);
}

TEST(SessionLog, OtherRecordsAreAllKept) {
  SessionLog log(SMPO_LOG_INFO, 100);
  for (int i = 0; i < 3; ++i) log.add(SMPO_LOG_INFO, "step");
  log.add(SMPO_LOG_DEBUG, "below the level");
  log.add(SMPO_LOG_INFO, "");
  EXPECT_EQ(drained(log), (std::vector<std::string>{"step", "step", "step", ""}));
}

TEST(SessionLog, DistinctWarningsBeyondTheLimitAreLoggedEveryTime) {
  SessionLog log(SMPO_LOG_DEBUG, 1000);
  for (size_t i = 0; i < SessionLog::kMostDistinctMessages; ++i) log.add(SMPO_LOG_WARNING, std::to_string(i));
  drained(log);
  for (int i = 0; i < 3; ++i) log.add(SMPO_LOG_WARNING, "new");
  EXPECT_EQ(drained(log).size(), 3u);
}

}  // namespace
}  // namespace smpo::engine
