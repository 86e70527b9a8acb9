#include "support/red_zone.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace smpo::test {
namespace {

// volatile, so that the compiler does not reason about an access that is wrong on purpose.
template <class T>
void poke(volatile T* where) {
  *where = T{1};
}

TEST(RedZone, HoldsItsValues) {
  const RedZone<float> zone(std::vector<float>{1, 2, 3});
  EXPECT_EQ(zone.vector(), (std::vector<float>{1, 2, 3}));
  EXPECT_TRUE(zone.intact());
}

TEST(RedZone, EmptyBufferIsIntact) {
  const RedZone<float> zone(size_t{0});
  EXPECT_TRUE(zone.intact());
}

TEST(RedZoneDeathTest, FaultsOneElementPastTheEnd) {
  RedZone<float> zone(1025, Flush::kEnd);
  EXPECT_DEATH(poke(zone.data() + 1025), "");
}

TEST(RedZoneDeathTest, FaultsOneElementBeforeTheStart) {
  RedZone<uint16_t> zone(7, Flush::kStart);
  EXPECT_DEATH(poke(zone.data() - 1), "");
}

TEST(RedZoneDeathTest, FrozenBufferFaultsOnWrite) {
  RedZone<float> zone(4);
  zone.freeze();
  EXPECT_DEATH(poke(zone.data()), "");
  zone.make_writable();
  poke(zone.data());
  EXPECT_EQ(zone[0], 1);
}

TEST(RedZone, CanariesShowAWriteOnTheSlackSide) {
  RedZone<float> before(5, Flush::kEnd);
  poke(before.data() - 1);
  EXPECT_FALSE(before.intact());
  RedZone<float> after(5, Flush::kStart);
  poke(after.data() + 5);
  EXPECT_FALSE(after.intact());
}

}  // namespace
}  // namespace smpo::test
