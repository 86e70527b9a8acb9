// Sums over one chunk of a row, in the order that row_mean_squared_error.h fixes.
#ifndef SMPO_KERNELS_CPU_ROW_SUM_H_
#define SMPO_KERNELS_CPU_ROW_SUM_H_

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/row_mean_squared_error.h"
#include "kernels/types.h"

namespace smpo::kernels::cpu {

/// Balanced tree over the lanes; lane j meets lane j + width / 2.
SMPO_HOST_DEVICE double join_lanes(double* lanes) {
  for (int64_t width = row_sum::kLanes / 2; width > 0; width /= 2) {
    for (int64_t j = 0; j < width; ++j) {
      lanes[j] += lanes[j + width];
    }
  }
  return lanes[0];
}

/// *sum = sum over `count` <= kChunk elements of (a - b)^2.
template <class A, class B>
struct SquaredErrorChunk {
  SMPO_INNER_LOOP void run(const A* a, const B* b, int64_t count, double* sum) {
    alignas(64) double lanes[row_sum::kLanes] = {};
    const int64_t whole = count - count % row_sum::kGroup;
    for (int64_t i = 0; i < whole; i += row_sum::kGroup) {
      group(a + i, b + i, lanes);
    }
    if (whole < count) {
      A a_tail[row_sum::kGroup] = {};
      B b_tail[row_sum::kGroup] = {};
      std::copy(a + whole, a + count, a_tail);
      std::copy(b + whole, b + count, b_tail);
      group(a_tail, b_tail, lanes);
    }
    *sum = join_lanes(lanes);
  }

 private:
  SMPO_INNER_LOOP float square(const A* a, const B* b, int64_t i) {
    const float difference = to_float(a[i]) - to_float(b[i]);
    return difference * difference;
  }

  SMPO_INNER_LOOP void group(const A* a, const B* b, double* lanes) {
    constexpr int64_t L = row_sum::kLanes;
    static_assert(row_sum::kDepth == 8);
#pragma omp simd
    for (int64_t j = 0; j < L; ++j) {
      const float low = (square(a, b, j) + square(a, b, j + L)) + (square(a, b, j + 2 * L) + square(a, b, j + 3 * L));
      const float high =
          (square(a, b, j + 4 * L) + square(a, b, j + 5 * L)) + (square(a, b, j + 6 * L) + square(a, b, j + 7 * L));
      lanes[j] += static_cast<double>(low + high);
    }
  }
};

/// *sum = sum over `count` <= kChunk elements of (a - b) * (c - d), in the same order.
template <class A, class B>
struct DifferenceProductChunk {
  SMPO_INNER_LOOP void run(const A* a, const B* b, const A* c, const B* d, int64_t count, double* sum) {
    alignas(64) double lanes[row_sum::kLanes] = {};
    const int64_t whole = count - count % row_sum::kGroup;
    for (int64_t i = 0; i < whole; i += row_sum::kGroup) {
      group(a + i, b + i, c + i, d + i, lanes);
    }
    if (whole < count) {
      A a_tail[row_sum::kGroup] = {};
      B b_tail[row_sum::kGroup] = {};
      A c_tail[row_sum::kGroup] = {};
      B d_tail[row_sum::kGroup] = {};
      std::copy(a + whole, a + count, a_tail);
      std::copy(b + whole, b + count, b_tail);
      std::copy(c + whole, c + count, c_tail);
      std::copy(d + whole, d + count, d_tail);
      group(a_tail, b_tail, c_tail, d_tail, lanes);
    }
    *sum = join_lanes(lanes);
  }

 private:
  SMPO_INNER_LOOP float product(const A* a, const B* b, const A* c, const B* d, int64_t i) {
    return (to_float(a[i]) - to_float(b[i])) * (to_float(c[i]) - to_float(d[i]));
  }

  SMPO_INNER_LOOP void group(const A* a, const B* b, const A* c, const B* d, double* lanes) {
    constexpr int64_t L = row_sum::kLanes;
    static_assert(row_sum::kDepth == 8);
#pragma omp simd
    for (int64_t j = 0; j < L; ++j) {
      const float low = (product(a, b, c, d, j) + product(a, b, c, d, j + L)) +
                        (product(a, b, c, d, j + 2 * L) + product(a, b, c, d, j + 3 * L));
      const float high = (product(a, b, c, d, j + 4 * L) + product(a, b, c, d, j + 5 * L)) +
                         (product(a, b, c, d, j + 6 * L) + product(a, b, c, d, j + 7 * L));
      lanes[j] += static_cast<double>(low + high);
    }
  }
};

/// Calls `with_types(a, b)` with both pointers in their types.
template <class F>
void with_dtypes(const void* a, DType a_dtype, const void* b, DType b_dtype, F with_types) {
  const auto with_b = [&](const auto* typed_a) {
    if (b_dtype == DType::kF32) {
      with_types(typed_a, static_cast<const float*>(b));
    } else {
      with_types(typed_a, static_cast<const BFloat16*>(b));
    }
  };
  if (a_dtype == DType::kF32) {
    with_b(static_cast<const float*>(a));
  } else {
    with_b(static_cast<const BFloat16*>(a));
  }
}

/// SquaredErrorChunk from element `first` of two tensors of any type.
inline void squared_error_chunk(InstructionSet set, const void* a, DType a_dtype, const void* b, DType b_dtype,
                                int64_t first, int64_t count, double* sum) {
  const auto with_types = [&]<class A, class B>(const A* typed_a, const B* typed_b) {
    run_for<SquaredErrorChunk<A, B>>(set, typed_a + first, typed_b + first, count, sum);
  };
  with_dtypes(a, a_dtype, b, b_dtype, with_types);
}

/// Mean of a row from the sums of its chunks.
inline double mean_of(const double* chunk_sums, int64_t elements) {
  double sum = 0.0;
  for (int64_t chunk = 0; chunk < row_sum::chunks_of(elements); ++chunk) {
    sum += chunk_sums[chunk];
  }
  return sum / static_cast<double>(elements);
}

}  // namespace smpo::kernels::cpu

#endif  // SMPO_KERNELS_CPU_ROW_SUM_H_
