#ifndef SMPO_ENGINE_NOISE_H_
#define SMPO_ENGINE_NOISE_H_

#include <cstdint>

namespace smpo::engine {

// Rows of standard normal numbers in host memory: out[r, i] is a function of (seed, purpose, step, items[r], i).
struct NormalDraw {
  float* out;
  int64_t rows;
  int64_t elements;
  uint64_t seed;
  uint32_t purpose;
  uint32_t step;
  const int64_t* items;
};

void draw_normal(const NormalDraw& draw);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_NOISE_H_
