// A sum over an index range with a fixed order: 16 lanes, each of which adds four terms at a time as a balanced tree
// and then to its running sum; at the end the lanes as a balanced tree. The same bits for every instruction set.
#ifndef SMPO_KERNELS_CPU_LANE_SUM_H_
#define SMPO_KERNELS_CPU_LANE_SUM_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/types.h"

namespace smpo::kernels::cpu {

inline constexpr int64_t kSumLanes = 16;
/// Additions on the longest path from a term to the sum of `count`.
constexpr int64_t lane_sum_depth(int64_t count) { return divide_up(count, kSumLanes * 4) + kSumLanes / 4 + 2 + 4; }

/// Sum of term(0) .. term(count - 1), in f32.
template <class Term>
SMPO_HOST_DEVICE float lane_sum(int64_t count, Term term) {
  alignas(64) float lanes[kSumLanes] = {};
  constexpr int64_t L = kSumLanes, kGroup = 4 * L;
  int64_t i = 0;
  for (; i + kGroup <= count; i += kGroup) {
#pragma omp simd
    for (int64_t j = 0; j < L; ++j) {
      lanes[j] += (term(i + j) + term(i + j + L)) + (term(i + j + 2 * L) + term(i + j + 3 * L));
    }
  }
  for (; i + L <= count; i += L) {
#pragma omp simd
    for (int64_t j = 0; j < L; ++j) {
      lanes[j] += term(i + j);
    }
  }
  for (int64_t j = 0; i + j < count; ++j) {
    lanes[j] += term(i + j);
  }
  for (int64_t width = L / 2; width > 0; width /= 2) {
    for (int64_t j = 0; j < width; ++j) {
      lanes[j] += lanes[j + width];
    }
  }
  return lanes[0];
}

}  // namespace smpo::kernels::cpu

#endif  // SMPO_KERNELS_CPU_LANE_SUM_H_
