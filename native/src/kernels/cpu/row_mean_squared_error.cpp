#include "kernels/row_mean_squared_error.h"

#include <algorithm>

#include "kernels/cpu/row_sum.h"

namespace smpo::kernels::cpu {

void row_mean_squared_error(const RowMeanSquaredErrorArgs& args, InstructionSet set) {
  const int64_t N = args.elements;
  const int64_t chunks = row_sum::chunks_of(N);
  double* sums = static_cast<double*>(args.workspace);  // [R, chunks]
#pragma omp parallel if (args.rows * chunks > 1)
  {
#pragma omp for schedule(static)
    for (int64_t task = 0; task < args.rows * chunks; ++task) {
      const int64_t begin = task % chunks * row_sum::kChunk;
      squared_error_chunk(set, args.prediction_RN, args.prediction_dtype, args.target_RN, args.target_dtype,
                          task / chunks * N + begin, std::min(row_sum::kChunk, N - begin), &sums[task]);
    }
#pragma omp for schedule(static) nowait
    for (int64_t r = 0; r < args.rows; ++r) {
      args.error_R[r] = mean_of(sums + r * chunks, N);
    }
  }
}

}  // namespace smpo::kernels::cpu
