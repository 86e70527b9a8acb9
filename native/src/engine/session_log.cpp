#include "engine/session_log.h"

#include <chrono>
#include <new>
#include <utility>

#include "engine/failure.h"

namespace smpo::engine {
namespace {

constexpr size_t kRecordBytes = sizeof(smpo_log_record::message);

int64_t unix_nanos() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

bool is_power_of_ten(uint64_t number) {
  while (number % 10 == 0) number /= 10;
  return number == 1;
}

}  // namespace

std::string SessionLog::first_or_counted(std::string_view message) {
  std::string key(message);
  const auto known = occurrences_.find(key);
  if (known == occurrences_.end()) {
    if (occurrences_.size() < kMostDistinctMessages) occurrences_.emplace(key, 1);
    return key;
  }
  const uint64_t times = ++known->second;
  return is_power_of_ten(times) ? key + " (" + std::to_string(times) + " times)" : std::string();
}

void SessionLog::push(int32_t level, int64_t unix_nanos, std::string text) {
  if (entries_.size() >= capacity_) {
    entries_.pop_front();
    ++dropped_;
  }
  entries_.push_back({level, unix_nanos, std::move(text)});
}

void SessionLog::add(int32_t level, std::string_view message) noexcept {
  if (level < least_level_) return;
  try {
    const std::string text = level >= SMPO_LOG_WARNING ? first_or_counted(message) : std::string(message);
    if (text.empty() && !message.empty()) return;
    const int64_t now = unix_nanos();
    size_t begin = 0;
    for (size_t part = 0; part < kMostRecordsPerMessage && (part == 0 || begin < text.size()); ++part) {
      const std::string prefix = part == 0 ? "" : "... ";
      char piece[kRecordBytes];
      copy_text(piece, sizeof piece - prefix.size(), text.c_str() + begin);
      begin += std::string_view(piece).size();
      push(level, now, prefix + piece);
    }
  } catch (const std::bad_alloc&) {
    ++dropped_;
  }
}

uint32_t SessionLog::drain(std::span<smpo_log_record> records) {
  uint32_t count = 0;
  for (; count < records.size() && !entries_.empty(); ++count) {
    const Entry& entry = entries_.front();
    smpo_log_record& record = records[count];
    record.level = entry.level;
    record.unix_nanos = entry.unix_nanos;
    copy_text(record.message, sizeof record.message, entry.text.c_str());
    entries_.pop_front();
  }
  return count;
}

}  // namespace smpo::engine
