#include "kernels/geglu.h"

#include <algorithm>

#include "kernels/elementary.h"

namespace smpo::kernels::cpu {
namespace {

// Elements of one row that one task works on.
constexpr int64_t kChunk = 1024;

template <class T>
struct Forward {
  SMPO_INNER_LOOP void run(T* __restrict y, const T* __restrict value, const T* __restrict gate, int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      y[i] = from_float<T>(to_float(value[i]) * gelu_and_slope(to_float(gate[i])).value);
    }
  }
};

template <class T>
struct Backward {
  SMPO_INNER_LOOP void run(T* d_value, T* d_gate, const T* d_y, const T* value, const T* gate, int64_t count) {
    // d_value and d_gate may be value and gate themselves: each element is read before it is written.
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float d = to_float(d_y[i]), v = to_float(value[i]);
      const ValueAndSlope g = gelu_and_slope(to_float(gate[i]));
      d_value[i] = from_float<T>(d * g.value);
      d_gate[i] = from_float<T>(d * v * g.slope);
    }
  }
};

template <class T>
void forward(const GegluArgs& args, InstructionSet set) {
  const int64_t C = args.channels, chunks = divide_up(C, kChunk);
  const T* x = static_cast<const T*>(args.x_R2C);
  T* y = static_cast<T*>(args.y_RC);
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < args.rows * chunks; ++task) {
    const int64_t r = task / chunks, begin = task % chunks * kChunk;
    const T* value = x + r * 2 * C + begin;
    run_for<Forward<T>>(set, y + r * C + begin, value, value + C, std::min(kChunk, C - begin));
  }
}

template <class T>
void backward(const GegluBackwardArgs& args, InstructionSet set) {
  const int64_t C = args.channels, chunks = divide_up(C, kChunk);
  const T* x = static_cast<const T*>(args.x_R2C);
  const T* d_y = static_cast<const T*>(args.d_y_RC);
  T* d_x = static_cast<T*>(args.d_x_R2C);
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < args.rows * chunks; ++task) {
    const int64_t r = task / chunks, begin = task % chunks * kChunk;
    const int64_t row = r * 2 * C + begin;
    run_for<Backward<T>>(set, d_x + row, d_x + row + C, d_y + r * C + begin, x + row, x + row + C,
                         std::min(kChunk, C - begin));
  }
}

}  // namespace

void geglu(const GegluArgs& args, InstructionSet set) {
  args.dtype == DType::kF32 ? forward<float>(args, set) : forward<BFloat16>(args, set);
}

void geglu_backward(const GegluBackwardArgs& args, InstructionSet set) {
  args.dtype == DType::kF32 ? backward<float>(args, set) : backward<BFloat16>(args, set);
}

}  // namespace smpo::kernels::cpu
