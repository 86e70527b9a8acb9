#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_sum.h"
#include "kernels/row_mean_squared_error.h"

namespace smpo::kernels::cuda {
namespace {

constexpr int kMeanThreads = 128;

/// One block per row and chunk.
template <class Prediction, class Target>
__global__ void sum_chunks(const Prediction* prediction_RN, const Target* target_RN, int64_t elements, int64_t chunks,
                           double* sums_RC) {
  __shared__ double scratch[kRowSumThreads];
  const int64_t task = blockIdx.x;
  const int64_t begin = task % chunks * row_sum::kChunk;
  const int64_t first = task / chunks * elements + begin;
  float differences[row_sum::kDepth];
  load_differences(prediction_RN + first, target_RN + first, elements - begin, differences);
  const double sum = chunk_sum(product_tree(differences, differences), scratch);
  if (threadIdx.x == 0) {
    sums_RC[task] = sum;
  }
}

__global__ void mean_rows(const double* sums_RC, int64_t rows, int64_t elements, int64_t chunks, double* error_R) {
  const int64_t r = grid_index();
  if (r < rows) {
    error_R[r] = mean_of(sums_RC + r * chunks, elements);
  }
}

}  // namespace

void row_mean_squared_error(const RowMeanSquaredErrorArgs& args, Stream stream) {
  const int64_t chunks = row_sum::chunks_of(args.elements);
  const auto blocks = static_cast<unsigned>(args.rows * chunks);
  double* sums_RC = static_cast<double*>(args.workspace);
  with_dtype(args.prediction_dtype, [&]<class Prediction>(Prediction*) {
    with_dtype(args.target_dtype, [&]<class Target>(Target*) {
      launch(sum_chunks<Prediction, Target>, dim3(blocks), dim3(kRowSumThreads), 0, stream,
             static_cast<const Prediction*>(args.prediction_RN), static_cast<const Target*>(args.target_RN),
             args.elements, chunks, sums_RC);
    });
  });
  launch(mean_rows, dim3(blocks_for(args.rows, kMeanThreads)), dim3(kMeanThreads), 0, stream, sums_RC, args.rows,
         args.elements, chunks, args.error_R);
}

}  // namespace smpo::kernels::cuda
