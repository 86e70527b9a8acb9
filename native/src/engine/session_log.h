// The log of one session: bounded, and complete within its bounds.
#ifndef SMPO_ENGINE_SESSION_LOG_H_
#define SMPO_ENGINE_SESSION_LOG_H_

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "smpo.h"

namespace smpo::engine {

// Keeps at most `capacity` records between two drains; when it is full, the oldest record is dropped and counted.
//
// A message that does not fit into one record continues in the next ones, each of which begins with "... ". At most
// kMostRecordsPerMessage records are used, then the message is cut.
//
// A warning or error that has been logged before is counted rather than logged again, since LibTorch may repeat a
// warning at every call: it comes back as "MESSAGE (10 times)" at its 10th, 100th, 1000th, ... occurrence.
class SessionLog final {
 public:
  static constexpr size_t kMostRecordsPerMessage = 16;
  static constexpr size_t kMostDistinctMessages = 256;

  SessionLog(int32_t least_level, uint32_t capacity) : least_level_(least_level), capacity_(capacity) {}

  // Keeps a message unless its level is below the least. Running out of memory drops and counts it.
  void add(int32_t level, std::string_view message) noexcept;

  // Moves the oldest records into `records`, as many as fit; returns their number.
  uint32_t drain(std::span<smpo_log_record> records);

  uint64_t dropped() const { return dropped_; }

 private:
  struct Entry {
    int32_t level;
    int64_t unix_nanos;
    std::string text;
  };

  // The text to log for a warning or error; empty if it is a repetition that is only counted.
  std::string first_or_counted(std::string_view message);
  void push(int32_t level, int64_t unix_nanos, std::string text);

  int32_t least_level_;
  uint32_t capacity_;
  std::deque<Entry> entries_;
  std::unordered_map<std::string, uint64_t> occurrences_;  // of warnings and errors
  uint64_t dropped_ = 0;
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_SESSION_LOG_H_
