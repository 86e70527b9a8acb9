#include "engine/inversion_schedule.h"

#include <algorithm>
#include <utility>

namespace smpo::engine {

InversionSchedule::InversionSchedule(std::span<const int32_t> row_start, std::span<const uint8_t> averages,
                                     int64_t batch, int64_t images)
    : row_start_(row_start), averages_(averages), batch_(batch) {
  const auto rows = static_cast<int64_t>(row_start.size()) - 1;
  std::vector<int64_t> evaluations(index(rows));
  // The two images of a pair are neighbours in the queue, since they share a prompt.
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = i % images * (rows / images) + i / images;
    const int32_t first = row_start[index(row)], end = row_start[index(row) + 1];
    if (first == end) {
      without_steps_.push_back(row);
      continue;
    }
    for (int32_t step = first; step < end; ++step) evaluations[index(row)] += averages[index(step)] == 0 ? 1 : 2;
    waiting_.push_back(row);
  }
  // Longest first, so that few images are left to run alone at the end.
  std::ranges::reverse(waiting_);
  std::ranges::stable_sort(waiting_, [&evaluations](int64_t a, int64_t b) {
    return evaluations[static_cast<size_t>(a)] < evaluations[static_cast<size_t>(b)];
  });
}

int64_t InversionSchedule::under_way() const {
  return std::ranges::count_if(places_, [](const Place& place) { return !place.empty(); });
}

int64_t InversionSchedule::images() const {
  return std::min(batch_, under_way() + static_cast<int64_t>(waiting_.size()));
}

int64_t InversionSchedule::recorded_size(int64_t images) const {
  int64_t size = batch_;
  while (size > 1 && (size + 1) / 2 >= images) size = (size + 1) / 2;
  return size;
}

std::vector<InversionSchedule::Move> InversionSchedule::resize(int64_t places) {
  if (places == static_cast<int64_t>(places_.size())) return {};
  std::vector<Place> resized(index(places));
  std::vector<Move> moves;
  for (size_t from = 0; from < places_.size(); ++from) {
    if (places_[from].empty()) continue;
    const auto to = static_cast<int64_t>(moves.size());
    resized[index(to)] = places_[from];
    moves.push_back({.from = static_cast<int64_t>(from), .to = to});
  }
  places_ = std::move(resized);
  return moves;
}

std::vector<int64_t> InversionSchedule::admit() {
  std::vector<int64_t> filled;
  int64_t free = images() - under_way();
  for (size_t place = 0; place < places_.size() && free > 0; ++place) {
    if (!places_[place].empty()) continue;
    const int64_t row = waiting_.back();
    waiting_.pop_back();
    places_[place] = {.row = row, .step = row_start_[index(row)]};
    filled.push_back(static_cast<int64_t>(place));
    --free;
  }
  return filled;
}

std::vector<InversionSchedule::Finished> InversionSchedule::advance() {
  std::vector<Finished> finished;
  for (size_t i = 0; i < places_.size(); ++i) {
    Place& place = places_[i];
    if (place.empty()) continue;
    if (is_first_guess(place)) {
      place.second = true;
      continue;
    }
    place.second = false;
    if (is_last_step(place)) {
      finished.push_back({.place = static_cast<int64_t>(i), .row = place.row});
      place = {};
    } else {
      ++place.step;
    }
  }
  return finished;
}

int64_t InversionSchedule::any_row() const {
  if (!waiting_.empty()) return waiting_.back();
  return std::ranges::find_if(places_, [](const Place& place) { return !place.empty(); })->row;
}

}  // namespace smpo::engine
