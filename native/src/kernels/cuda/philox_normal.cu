#include <algorithm>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/normal.h"
#include "kernels/philox_normal.h"

namespace smpo::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostRows = 65535;  // of a grid's y

/// One thread per Philox block; grid.x covers a row's blocks, grid.y the rows.
__global__ void fill(PhiloxNormalArgs args) {
  const PhiloxKey key = philox_key(args.seed);
  for (int64_t row = blockIdx.y; row < args.rows; row += gridDim.y) {
    float* out = args.out + row * args.elements;
    const int64_t item = args.items[row];
    for (int64_t block = grid_index(); 4 * block < args.elements; block += grid_stride()) {
      const PhiloxBlock words =
          philox4x32(philox_counter(static_cast<uint32_t>(block), args.purpose, args.step, item), key);
      const NormalPair first = normal_pair(words.x0, words.x1);
      const NormalPair second = normal_pair(words.x2, words.x3);
      const float values[4] = {first.z0, first.z1, second.z0, second.z1};
      const int64_t left = args.elements - 4 * block;
      if (left >= 4 && is_aligned16(out)) {
        store16(out + 4 * block, values);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (i < left) out[4 * block + i] = values[i];
        }
      }
    }
  }
}

}  // namespace

void philox_normal(const PhiloxNormalArgs& args, Stream stream) {
  const dim3 grid(blocks_for(args.elements, kThreads, 4), static_cast<unsigned>(std::min(args.rows, kMostRows)));
  launch(fill, grid, dim3(kThreads), 0, stream, args);
}

}  // namespace smpo::kernels::cuda
