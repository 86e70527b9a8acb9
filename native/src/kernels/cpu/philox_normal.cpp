#include "kernels/philox_normal.h"

#include <algorithm>

#include "kernels/normal.h"

namespace smpo::kernels::cpu {
namespace {

constexpr int64_t kChunk = 8192;  // elements; enough work to be worth a task, little enough to balance few rows

/// Elements [4 * block, 4 * block + count) of a row; count may end inside a block.
struct FillChunk {
  SMPO_INNER_LOOP void run(float* out, int64_t count, PhiloxBlock first, PhiloxKey key) {
    const auto blocks = static_cast<uint32_t>(count / 4);
    for (uint32_t b = 0; b < blocks; ++b) {
      fill(out + 4 * static_cast<int64_t>(b), PhiloxBlock{first.x0 + b, first.x1, first.x2, first.x3}, key);
    }
    const int64_t tail = count % 4;
    if (tail != 0) {
      float last[4];
      fill(last, PhiloxBlock{first.x0 + blocks, first.x1, first.x2, first.x3}, key);
      for (int64_t i = 0; i < tail; ++i) out[count - tail + i] = last[i];
    }
  }

  SMPO_INNER_LOOP void fill(float* out, PhiloxBlock counter, PhiloxKey key) {
    const PhiloxBlock words = philox4x32(counter, key);
    const NormalPair first = normal_pair(words.x0, words.x1);
    const NormalPair second = normal_pair(words.x2, words.x3);
    out[0] = first.z0;
    out[1] = first.z1;
    out[2] = second.z0;
    out[3] = second.z1;
  }
};

}  // namespace

void philox_normal(const PhiloxNormalArgs& args, InstructionSet set) {
  static_assert(kChunk % 4 == 0);
  const int64_t chunks = divide_up(args.elements, kChunk);
  const PhiloxKey key = philox_key(args.seed);
#pragma omp parallel for schedule(static) if (args.rows * chunks > 1)
  for (int64_t task = 0; task < args.rows * chunks; ++task) {
    const int64_t row = task / chunks;
    const int64_t begin = task % chunks * kChunk;
    run_for<FillChunk>(set, args.out + row * args.elements + begin, std::min(kChunk, args.elements - begin),
                       philox_counter(static_cast<uint32_t>(begin / 4), args.purpose, args.step, args.items[row]), key);
  }
}

}  // namespace smpo::kernels::cpu
