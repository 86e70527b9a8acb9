// Recording, replay, refusal and eviction of work. The recorder of these tests counts its calls.
#include "engine/graphs.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "engine/step_options.h"

namespace smpo::engine {
namespace {

struct Memory {
  int value = 0;
};

class NotingRecorder final : public Recorder {
 public:
  std::unique_ptr<Recording> record(const std::function<void()>&) override {
    ++records;
    if (fails) throw std::runtime_error("cannot be recorded");
    struct Noted final : Recording {
      explicit Noted(int* count) : replays(count) {}
      void replay() override { ++*replays; }
      int* replays;
    };
    return std::make_unique<Noted>(&replays);
  }

  bool fails = false;
  int records = 0, replays = 0;
};

class GraphsTest : public testing::Test {
 protected:
  void run(const GraphKey& key, int times = 1) {
    for (int i = 0; i < times; ++i) {
      graphs.run(
          graphs.entry(key), recorder, [this] { ++direct; }, [this](const char* why) { refusals.push_back(why); });
    }
  }
  static GraphKey key_of(int64_t number) {
    GraphKey key;
    key.add(number);
    return key;
  }

  Graphs<Memory> graphs;
  NotingRecorder recorder;
  int direct = 0;
  std::vector<std::string> refusals;
};

TEST_F(GraphsTest, WarmsUpThenRecordsOnceThenReplays) {
  run(key_of(1), Graphs<Memory>::kWarmUps);
  EXPECT_EQ(direct, Graphs<Memory>::kWarmUps);
  EXPECT_EQ(recorder.records, 0);
  run(key_of(1), 5);
  EXPECT_EQ(direct, Graphs<Memory>::kWarmUps);
  EXPECT_EQ(recorder.records, 1);
  EXPECT_EQ(recorder.replays, 5);
}

TEST_F(GraphsTest, EveryKeyWarmsUpByItself) {
  run(key_of(1), 4);
  run(key_of(2), 2);
  EXPECT_EQ(recorder.records, 1);
  run(key_of(2));
  EXPECT_EQ(recorder.records, 2);
  EXPECT_EQ(graphs.size(), 2);
}

TEST_F(GraphsTest, UnrecordableWorkIsReportedOnceAndRunDirectly) {
  recorder.fails = true;
  run(key_of(1), 7);
  EXPECT_EQ(direct, 7);
  EXPECT_EQ(recorder.records, 1);
  EXPECT_EQ(refusals, std::vector<std::string>{"cannot be recorded"});
}

TEST_F(GraphsTest, MemoryStaysWhereItIs) {
  Memory* memory = &graphs.entry(key_of(1)).memory;
  memory->value = 5;
  for (int64_t number = 2; number < 5; ++number) graphs.entry(key_of(number));
  EXPECT_EQ(&graphs.entry(key_of(1)).memory, memory);
  EXPECT_EQ(memory->value, 5);
}

TEST_F(GraphsTest, TheLeastRecentlyUsedIsEvicted) {
  constexpr auto kMost = static_cast<int64_t>(Graphs<Memory>::kMost);
  for (int64_t number = 0; number < kMost; ++number) graphs.entry(key_of(number)).memory.value = 1;
  graphs.entry(key_of(0));
  graphs.entry(key_of(kMost));  // evicts 1
  EXPECT_EQ(graphs.size(), static_cast<size_t>(kMost));
  EXPECT_EQ(graphs.entry(key_of(0)).memory.value, 1);
  EXPECT_EQ(graphs.entry(key_of(2)).memory.value, 1);
  EXPECT_EQ(graphs.entry(key_of(1)).memory.value, 0);
}

TEST_F(GraphsTest, ClearForgetsRecordings) {
  run(key_of(1), 4);
  graphs.clear();
  run(key_of(1));
  EXPECT_EQ(recorder.records, 1);
  EXPECT_EQ(direct, Graphs<Memory>::kWarmUps + 1);
}

TEST(GraphKey, DistinguishesWhatFollowsTheSameBytes) {
  const auto sizes = [](std::vector<int64_t> first, std::vector<int64_t> second) {
    GraphKey key;
    key.add_all(first).add_all(second);
    return key;
  };
  EXPECT_EQ(sizes({1, 2}, {3}), sizes({1, 2}, {3}));
  EXPECT_NE(sizes({1, 2}, {3}), sizes({1}, {2, 3}));
  EXPECT_NE(sizes({}, {1}), sizes({1}, {}));
  GraphKey one, other;
  one.add(0.1);
  other.add(0.1 + 1e-17 + 1e-16);
  EXPECT_NE(one, other);
}

// A field that a recording depends on cannot be left out of the key: every byte of the options is in it.
TEST(GraphKey, EveryByteOfTheStepsOptionsCounts) {
  StepOptions options = {};
  options.loss.size = sizeof options.loss;
  const GraphKey key = key_of(options);
  EXPECT_EQ(key_of(options), key);
  for (size_t byte = 0; byte < sizeof options; ++byte) {
    StepOptions flipped = options;
    reinterpret_cast<unsigned char*>(&flipped)[byte] ^= 1;
    EXPECT_NE(key_of(flipped), key) << "byte " << byte;
  }
}

}  // namespace
}  // namespace smpo::engine
