#include "engine/handle_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/error.h"

namespace smpo::engine {
namespace {

// Returns the reason why a handle does not resolve, or "" if it does.
std::string refusal(const HandleTable& table, uint64_t handle, HandleKind kind, uint64_t owner) {
  try {
    table.resolve(handle, kind, owner, "argument");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SMPO_INVALID_HANDLE);
    EXPECT_TRUE(std::string(error.what()).starts_with("argument: ")) << error.what();
    return error.what();
  }
}

void expect_refusal(const HandleTable& table, uint64_t handle, HandleKind kind, uint64_t owner, const char* reason) {
  const std::string found = refusal(table, handle, kind, owner);
  EXPECT_NE(found.find(reason), std::string::npos) << "expected \"" << reason << "\" in \"" << found << '"';
}

TEST(HandleTable, ResolvesWhatItOpened) {
  HandleTable table;
  const auto object = std::make_shared<int>(7);
  const uint64_t handle = table.open(HandleKind::kTensor, 5, object);
  EXPECT_NE(handle, 0u);
  EXPECT_EQ(table.resolve(handle, HandleKind::kTensor, 5, "tensor"), object);
}

TEST(HandleTable, EncodesKindGenerationAndSlot) {
  HandleTable table;
  const uint64_t first = table.open(HandleKind::kTensor, 0, std::make_shared<int>());
  const uint64_t second = table.open(HandleKind::kSession, 0, std::make_shared<int>());
  EXPECT_EQ(first, 0x0200'0001'0000'0000u);
  EXPECT_EQ(second, 0x0100'0001'0000'0001u);
  table.close(first, HandleKind::kTensor, 0, "tensor");
  EXPECT_EQ(table.open(HandleKind::kSession, 0, std::make_shared<int>()), 0x0100'0002'0000'0000u);
}

TEST(HandleTable, SaysWhyAHandleIsRefused) {
  HandleTable table;
  const uint64_t tensor = table.open(HandleKind::kTensor, 5, std::make_shared<int>());
  const uint64_t closed = table.open(HandleKind::kTensor, 5, std::make_shared<int>());
  table.close(closed, HandleKind::kTensor, 5, "tensor");

  expect_refusal(table, 0, HandleKind::kTensor, 5, "null handle");
  expect_refusal(table, closed, HandleKind::kTensor, 5, "is closed");
  expect_refusal(table, tensor, HandleKind::kSession, 5, "expected a session handle, got a tensor handle");
  expect_refusal(table, tensor, HandleKind::kTensor, 6, "belongs to another session");
  expect_refusal(table, 42, HandleKind::kTensor, 5, "no handle of this library");
  expect_refusal(table, UINT64_MAX, HandleKind::kTensor, 5, "no handle of this library");
  expect_refusal(table, tensor + 100, HandleKind::kTensor, 5, "never handed out");           // slot
  expect_refusal(table, tensor + (1ull << 32), HandleKind::kTensor, 5, "never handed out");  // generation
  expect_refusal(table, closed + (1ull << 32), HandleKind::kTensor, 5, "never handed out");  // of a free slot
  expect_refusal(table, tensor & ~(0xffffffull << 32), HandleKind::kTensor, 5, "never handed out");
  expect_refusal(table, tensor - (1ull << 56), HandleKind::kSession, 5, "is closed");  // the slot holds another kind
}

TEST(HandleTable, AnOldHandleNeverNamesANewObject) {
  HandleTable table;
  const uint64_t old = table.open(HandleKind::kTensor, 0, std::make_shared<int>());
  table.close(old, HandleKind::kTensor, 0, "tensor");
  const uint64_t recent = table.open(HandleKind::kTensor, 0, std::make_shared<int>());
  EXPECT_EQ(static_cast<uint32_t>(old), static_cast<uint32_t>(recent)) << "the slot is used again";
  EXPECT_NE(old, recent);
  expect_refusal(table, old, HandleKind::kTensor, 0, "is closed");
}

TEST(HandleTable, RetiresASlotWhoseGenerationsAreUsedUp) {
  HandleTable table;
  const auto object = std::make_shared<int>();
  uint64_t handle = 0;
  for (uint32_t i = 0; i < HandleTable::kLastGeneration; ++i) {
    handle = table.open(HandleKind::kTensor, 0, object);
    ASSERT_EQ(static_cast<uint32_t>(handle), 0u);
    table.close(handle, HandleKind::kTensor, 0, "tensor");
  }
  expect_refusal(table, handle, HandleKind::kTensor, 0, "is closed");
  const uint64_t next = table.open(HandleKind::kTensor, 0, object);
  EXPECT_EQ(static_cast<uint32_t>(next), 1u);
  EXPECT_EQ(table.slots(), 2u);
}

TEST(HandleTable, DestroysOutsideTheLock) {
  // An object that uses the table in its destructor, which would deadlock if the lock were still held.
  struct Asks {
    HandleTable* table;
    ~Asks() { EXPECT_EQ(table->open_handles(), 0u); }
  };
  HandleTable table;
  const uint64_t handle = table.open(HandleKind::kTensor, 0, std::shared_ptr<Asks>(new Asks{&table}));
  const uint64_t owned = table.open(HandleKind::kTensor, 9, std::make_shared<int>());
  table.close(owned, HandleKind::kTensor, 9, "tensor");
  table.close(handle, HandleKind::kTensor, 0, "tensor");
}

// Random operations, compared with a simple model of the table.
TEST(HandleTable, AgreesWithAModelOverRandomOperations) {
  struct Held {
    HandleKind kind;
    uint64_t owner;
    std::shared_ptr<int> object;
  };
  HandleTable table;
  std::map<uint64_t, Held> held;
  std::vector<uint64_t> closed;
  std::set<uint64_t> issued;
  size_t most_held = 0;
  std::mt19937_64 random(20260301);
  const auto below = [&random](uint64_t end) { return random() % end; };
  const auto any_held = [&] {
    auto it = held.lower_bound(random());
    return it == held.end() ? held.begin() : it;
  };

  for (int i = 0; i < 200'000; ++i) {
    const uint64_t operation = below(100);
    if (operation < 35 || held.empty()) {
      Held entry{below(4) == 0 ? HandleKind::kSession : HandleKind::kTensor, below(5), std::make_shared<int>(i)};
      const uint64_t handle = table.open(entry.kind, entry.owner, entry.object);
      ASSERT_TRUE(issued.insert(handle).second) << "the same handle twice";
      held.emplace(handle, std::move(entry));
      most_held = std::max(most_held, held.size());
    } else if (operation < 65) {
      const auto it = any_held();
      ASSERT_EQ(table.close(it->first, it->second.kind, it->second.owner, "argument"), it->second.object);
      closed.push_back(it->first);
      held.erase(it);
    } else if (operation < 80) {
      const auto it = any_held();
      ASSERT_EQ(table.resolve(it->first, it->second.kind, it->second.owner, "argument"), it->second.object);
      const auto other = it->second.kind == HandleKind::kTensor ? HandleKind::kSession : HandleKind::kTensor;
      ASSERT_NE(refusal(table, it->first, other, it->second.owner), "");
      ASSERT_NE(refusal(table, it->first, it->second.kind, it->second.owner + 1), "");
    } else if (operation < 95 && !closed.empty()) {
      const uint64_t handle = closed[below(closed.size())];
      ASSERT_NE(refusal(table, handle, static_cast<HandleKind>(handle >> 56), below(5)), "");
    } else if (operation < 99) {
      const uint64_t handle = random();
      if (!held.contains(handle)) {
        ASSERT_NE(refusal(table, handle, HandleKind::kTensor, below(5)), "");
      }
    } else if (below(20) == 0) {
      const uint64_t owner = below(5);
      const size_t expected = std::erase_if(held, [&](const auto& item) {
        if (item.second.owner != owner) return false;
        closed.push_back(item.first);
        return true;
      });
      ASSERT_EQ(table.close_all_of(owner).size(), expected);
    }
    ASSERT_EQ(table.open_handles(), held.size());
  }
  EXPECT_EQ(table.slots(), most_held) << "a free slot is taken before a new one is made";
}

TEST(HandleTable, ServesManyThreads) {
  HandleTable table;
  std::vector<std::thread> threads;
  for (uint64_t owner = 1; owner <= 4; ++owner) {
    threads.emplace_back([&table, owner] {
      std::vector<std::pair<uint64_t, std::shared_ptr<int>>> mine;
      for (int i = 0; i < 5'000; ++i) {
        auto object = std::make_shared<int>(i);
        mine.emplace_back(table.open(HandleKind::kTensor, owner, object), object);
        const auto& [handle, expected] = mine[static_cast<size_t>(i) % mine.size()];
        EXPECT_EQ(table.resolve(handle, HandleKind::kTensor, owner, "tensor"), expected);
        if (i % 3 == 0) {
          table.close(mine.back().first, HandleKind::kTensor, owner, "tensor");
          mine.pop_back();
          mine.emplace_back(table.open(HandleKind::kTensor, owner, object), object);
        }
      }
      EXPECT_EQ(table.close_all_of(owner).size(), mine.size());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table.open_handles(), 0u);
}

}  // namespace
}  // namespace smpo::engine
