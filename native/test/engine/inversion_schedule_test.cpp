#include "engine/inversion_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace smpo::engine {
namespace {

// A plan's tables: the number of steps of every image, and which steps average.
struct Tables {
  std::vector<int32_t> row_start = {0};
  std::vector<uint8_t> averages = {};

  // `every`: each step with index % every == 0 averages; 0: none does.
  static Tables of(const std::vector<int>& steps, int every = 0) {
    Tables tables;
    for (const int count : steps) {
      for (int k = 0; k < count; ++k) tables.averages.push_back(every != 0 && k % every == 0 ? 1 : 0);
      tables.row_start.push_back(static_cast<int32_t>(tables.averages.size()));
    }
    return tables;
  }
  int64_t rows() const { return static_cast<int64_t>(row_start.size()) - 1; }
  int64_t evaluations() const {
    int64_t sum = 0;
    for (const uint8_t average : averages) sum += average == 0 ? 1 : 2;
    return sum;
  }
  InversionSchedule schedule(int64_t batch) const { return {row_start, averages, batch}; }
};

// Record of one run of the schedule.
struct History {
  std::map<int64_t, std::vector<int32_t>> steps;  // by row: the steps in the order in which they were evaluated
  std::vector<int64_t> finished;
  std::vector<int64_t> batch_sizes;  // images in each evaluation
};

// Runs to the end. `recorded`: places are allocated in the sizes of recorded batches. Image data is imitated by one
// number per place, the row itself, which must follow its image through every move.
History run(InversionSchedule& schedule, bool recorded = false) {
  History history;
  history.finished = schedule.rows_without_steps();
  std::vector<int64_t> data;
  int64_t before = schedule.images();
  while (const int64_t images = schedule.images()) {
    EXPECT_LE(images, before);
    before = images;
    const int64_t places = recorded ? schedule.recorded_size(images) : images;
    EXPECT_GE(places, images);
    if (static_cast<int64_t>(data.size()) != places) {
      std::vector<int64_t> moved(static_cast<size_t>(places), -1);
      for (const auto& [from, to] : schedule.resize(places)) {
        moved[static_cast<size_t>(to)] = data[static_cast<size_t>(from)];
      }
      data = moved;
    } else {
      EXPECT_TRUE(schedule.resize(places).empty());
    }
    for (const int64_t place : schedule.admit()) {
      data[static_cast<size_t>(place)] = schedule.places()[static_cast<size_t>(place)].row;
    }
    int64_t under_way = 0;
    for (size_t i = 0; i < schedule.places().size(); ++i) {
      const InversionSchedule::Place& place = schedule.places()[i];
      if (place.empty()) continue;
      ++under_way;
      EXPECT_EQ(data[i], place.row);
      history.steps[place.row].push_back(place.step);
    }
    EXPECT_EQ(under_way, images);
    history.batch_sizes.push_back(images);
    for (const auto& [place, row] : schedule.advance()) {
      EXPECT_EQ(data[static_cast<size_t>(place)], row);
      EXPECT_TRUE(schedule.places()[static_cast<size_t>(place)].empty());
      history.finished.push_back(row);
    }
    if (::testing::Test::HasFailure()) break;
  }
  return history;
}

void expect_complete(const Tables& tables, History history) {
  std::ranges::sort(history.finished);
  ASSERT_EQ(static_cast<int64_t>(history.finished.size()), tables.rows());
  for (int64_t row = 0; row < tables.rows(); ++row) {
    EXPECT_EQ(history.finished[static_cast<size_t>(row)], row);
    std::vector<int32_t> expected;
    for (int32_t k = tables.row_start[static_cast<size_t>(row)]; k < tables.row_start[static_cast<size_t>(row) + 1];
         ++k) {
      expected.insert(expected.end(), tables.averages[static_cast<size_t>(k)] == 0 ? 1 : 2, k);
    }
    EXPECT_EQ(history.steps[row], expected) << "row " << row;
  }
}

TEST(InversionScheduleTest, EveryImageTakesItsOwnStepsInOrderWhateverTheBatch) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<int> steps(2 * (1 + random() % 6));
    for (int& count : steps) count = static_cast<int>(random() % 5);
    const Tables tables = Tables::of(steps, static_cast<int>(random() % 3));
    for (const bool recorded : {false, true}) {
      InversionSchedule schedule = tables.schedule(1 + static_cast<int64_t>(random() % 14));
      const History history = run(schedule, recorded);
      expect_complete(tables, history);
      if (::testing::Test::HasFailure()) return;
      int64_t evaluations = 0;
      for (const int64_t size : history.batch_sizes) evaluations += size;
      EXPECT_EQ(evaluations, tables.evaluations());
    }
  }
}

TEST(InversionScheduleTest, TheBatchStaysFullWhileImagesWait) {
  const Tables tables = Tables::of({3, 1, 2, 5, 1, 4, 2, 2});
  InversionSchedule schedule = tables.schedule(3);
  const History history = run(schedule);
  // 20 evaluations in batches of 3: seven batches are the least, and longest-first reaches it.
  EXPECT_EQ(history.batch_sizes, (std::vector<int64_t>{3, 3, 3, 3, 3, 3, 2}));
}

TEST(InversionScheduleTest, LongImagesStartFirstAndPairsStayTogether) {
  // Pairs (0,3), (1,4), (2,5).
  const Tables tables = Tables::of({2, 4, 2, 2, 4, 2});
  InversionSchedule schedule = tables.schedule(6);
  schedule.resize(6);
  schedule.admit();
  std::vector<int64_t> rows;
  for (const auto& place : schedule.places()) rows.push_back(place.row);
  EXPECT_EQ(rows, (std::vector<int64_t>{1, 4, 0, 3, 2, 5}));
}

TEST(InversionScheduleTest, ImagesWithoutStepsNeverEnterTheBatch) {
  const Tables tables = Tables::of({0, 1, 0, 0});
  InversionSchedule schedule = tables.schedule(4);
  EXPECT_EQ(schedule.rows_without_steps(), (std::vector<int64_t>{0, 2, 3}));
  EXPECT_EQ(schedule.images(), 1);
  EXPECT_EQ(run(schedule).batch_sizes, (std::vector<int64_t>{1}));

  InversionSchedule none = Tables::of({0, 0}).schedule(4);
  EXPECT_EQ(none.images(), 0);
}

TEST(InversionScheduleTest, AnAveragingStepTakesTwoEvaluations) {
  const Tables tables = Tables::of({2, 0}, /*every=*/2);  // the first step averages
  InversionSchedule schedule = tables.schedule(1);
  schedule.resize(1);
  schedule.admit();
  const InversionSchedule::Place& place = schedule.places()[0];
  EXPECT_TRUE(schedule.is_first_guess(place));
  EXPECT_TRUE(schedule.advance().empty());
  EXPECT_EQ(place.step, 0);
  EXPECT_TRUE(place.second);
  EXPECT_FALSE(schedule.is_first_guess(place));
  EXPECT_TRUE(schedule.advance().empty());
  EXPECT_EQ(place.step, 1);
  EXPECT_FALSE(place.second);
  EXPECT_TRUE(schedule.is_last_step(place));
  EXPECT_EQ(schedule.step_of_image(place), 1);
  EXPECT_EQ(schedule.advance().size(), 1u);
}

TEST(InversionScheduleTest, RecordedBatchesShrinkByHalves) {
  const InversionSchedule schedule = Tables::of({1, 1}).schedule(11);
  for (const auto& [images, size] :
       std::vector<std::pair<int64_t, int64_t>>{{11, 11}, {7, 11}, {6, 6}, {4, 6}, {3, 3}, {2, 2}, {1, 1}}) {
    EXPECT_EQ(schedule.recorded_size(images), size) << images << " images";
  }
}

}  // namespace
}  // namespace smpo::engine
