#include "kernels/philox_normal.h"

#include <cmath>
#include <numbers>

namespace smpo::kernels::reference {

std::array<double, 2> normal_pair(uint32_t bits0, uint32_t bits1) {
  const auto u = static_cast<float>((static_cast<double>(bits0) + 0.5) * 0x1p-32);
  const double radius = std::sqrt(-2 * std::log(static_cast<double>(u)));
  // The distance to the nearest quarter turn, taken before any function of it: exact where a result is small.
  const int64_t quarter = (static_cast<int64_t>(bits1) + 0x20000000) >> 30;  // 0..4
  const auto remainder = static_cast<float>(static_cast<int64_t>(bits1) - (quarter << 30));
  const double angle = 2 * std::numbers::pi * static_cast<double>(remainder) * 0x1p-32;
  const double c = radius * std::cos(angle);
  const double s = radius * std::sin(angle);
  switch (quarter % 4) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}
double philox_normal_at(const PhiloxNormalArgs& args, int64_t item, int64_t n) {
  const PhiloxBlock words =
      philox4x32(philox_counter(static_cast<uint32_t>(n / 4), args.purpose, args.step, item), philox_key(args.seed));
  const std::array<double, 2> pair = n % 4 < 2 ? normal_pair(words.x0, words.x1) : normal_pair(words.x2, words.x3);
  return pair[static_cast<size_t>(n % 2)];
}

void philox_normal(const PhiloxNormalArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t n = 0; n < args.elements; ++n) {
      args.out[r * args.elements + n] = static_cast<float>(philox_normal_at(args, args.items[r], n));
    }
  }
}

}  // namespace smpo::kernels::reference
