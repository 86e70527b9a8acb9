#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_sum.h"
#include "kernels/pair_loss_math.h"
#include "kernels/preference_loss.h"

namespace smpo::kernels::cuda {
namespace {

constexpr int kPairThreads = 256;
constexpr int kGradientThreads = 256;

/// Places of the sums of stage 1 in the workspace.
struct Sums {
  int64_t chunks;
  double* policy_RC;
  double* reference_RC;
  double* product_PC;
};

Sums sums_of(const PreferenceLossArgs& args) {
  Sums sums;
  sums.chunks = row_sum::chunks_of(args.elements);
  sums.policy_RC = static_cast<double*>(args.workspace);
  const int64_t all = args.images * args.pairs * sums.chunks;
  sums.reference_RC = sums.policy_RC + all;
  sums.product_PC = args.reference_RN != nullptr ? sums.reference_RC + all : sums.reference_RC;
  return sums;
}

/// The balanced tree over PSEUDO_HUBER's errors of this thread's elements.
__device__ __forceinline__ float huber_tree(const pair_loss_math::Huber& huber, const float* differences,
                                            int64_t count) {
  float errors[row_sum::kDepth];
#pragma unroll
  for (int depth = 0; depth < row_sum::kDepth; ++depth) {
    errors[depth] = row_sum_element(depth) < count ? pair_loss_math::huber_error(huber, differences[depth]) : 0.0f;
  }
  return sum_tree(errors);
}

/// Stage 1: one block per row and chunk. The block of a loser also sums the inner product with its winner.
template <class Prediction, class Reference, class Target>
__global__ void sum_chunks(PreferenceLossArgs args, Sums sums) {
  __shared__ double scratch[kRowSumThreads];
  const int64_t N = args.elements;
  const int64_t row = blockIdx.x / sums.chunks;
  const int64_t chunk = blockIdx.x % sums.chunks;
  const int64_t begin = chunk * row_sum::kChunk;
  const int64_t count = N - begin;
  const int64_t first = row * N + begin;
  const Prediction* prediction = static_cast<const Prediction*>(args.prediction_RN);
  const Target* target = static_cast<const Target*>(args.target_RN);

  float differences[row_sum::kDepth];
  load_differences(prediction + first, target + first, count, differences);
  const bool huber = args.loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER;
  const double policy = chunk_sum(huber ? huber_tree(pair_loss_math::huber_of(args, row), differences, count)
                                        : product_tree(differences, differences),
                                  scratch);
  if (threadIdx.x == 0) {
    sums.policy_RC[blockIdx.x] = policy;
  }

  if (args.reference_RN != nullptr) {
    float reference_differences[row_sum::kDepth];
    load_differences(static_cast<const Reference*>(args.reference_RN) + first, target + first, count,
                     reference_differences);
    const double reference = chunk_sum(product_tree(reference_differences, reference_differences), scratch);
    if (threadIdx.x == 0) {
      sums.reference_RC[blockIdx.x] = reference;
    }
  }

  if (args.loss.safeguard == 1 && row >= args.pairs) {
    const int64_t pair = row - args.pairs;
    float winner_differences[row_sum::kDepth];
    load_differences(prediction + pair * N + begin, target + pair * N + begin, count, winner_differences);
    const double product = chunk_sum(product_tree(winner_differences, differences), scratch);
    if (threadIdx.x == 0) {
      sums.product_PC[pair * sums.chunks + chunk] = product;
    }
  }
}

/// Stage 2: one block.
__global__ void finish_pairs(PreferenceLossArgs args, Sums sums) {
  __shared__ double mean_gain;
  const int64_t P = args.pairs;
  for (int64_t r = threadIdx.x; r < args.images * P; r += blockDim.x) {
    const double reference = args.reference_RN != nullptr
                                 ? mean_of(sums.reference_RC + r * sums.chunks, args.elements)
                                 : (args.reference_error_R != nullptr ? args.reference_error_R[r] : 0.0);
    pair_loss_math::put_errors(args, r, mean_of(sums.policy_RC + r * sums.chunks, args.elements), reference);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mean_gain = pair_loss_math::mean_gain(args);
  }
  __syncthreads();
  // The policy's sums have been read: their place takes each pair's part of loss_sum.
  for (int64_t p = threadIdx.x; p < P; p += blockDim.x) {
    const double mean_product =
        args.loss.safeguard == 1 ? mean_of(sums.product_PC + p * sums.chunks, args.elements) : 0.0;
    sums.policy_RC[p] = pair_loss_math::finish_pair(args, p, mean_product, mean_gain);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0.0;
    for (int64_t p = 0; p < P; ++p) {
      total += sums.policy_RC[p];
    }
    *args.loss_sum = total;
  }
}

/// Stage 3: one block per row and chunk.
template <class Prediction, class Target>
__global__ void write_gradient(PreferenceLossArgs args, int64_t chunks) {
  const int64_t N = args.elements;
  const int64_t row = blockIdx.x / chunks;
  const int64_t begin = blockIdx.x % chunks * row_sum::kChunk;
  const int64_t end = begin + row_sum::kChunk < N ? begin + row_sum::kChunk : N;
  const float factor = pair_loss_math::gradient_factor(args, row);
  const bool huber = args.loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER;
  const pair_loss_math::Huber own = pair_loss_math::huber_of(args, row);
  const Prediction* prediction = static_cast<const Prediction*>(args.prediction_RN) + row * N;
  const Target* target = static_cast<const Target*>(args.target_RN) + row * N;
  Prediction* out = static_cast<Prediction*>(args.d_prediction_RN) + row * N;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const float difference = rounded::subtract(to_float(prediction[i]), to_float(target[i]));
    out[i] = from_float<Prediction>(huber ? pair_loss_math::huber_gradient(own, factor, difference)
                                          : rounded::multiply(factor, difference));
  }
}

}  // namespace

void preference_loss(const PreferenceLossArgs& args, Stream stream) {
  const Sums sums = sums_of(args);
  const auto blocks = static_cast<unsigned>(args.images * args.pairs * sums.chunks);
  with_dtype(args.prediction_dtype, [&]<class Prediction>(Prediction*) {
    with_dtype(args.target_dtype, [&]<class Target>(Target*) {
      with_dtype(args.reference_dtype, [&]<class Reference>(Reference*) {
        launch(sum_chunks<Prediction, Reference, Target>, dim3(blocks), dim3(kRowSumThreads), 0, stream, args, sums);
      });
      launch(finish_pairs, dim3(1), dim3(kPairThreads), 0, stream, args, sums);
      if (args.d_prediction_RN != nullptr) {
        launch(write_gradient<Prediction, Target>, dim3(blocks), dim3(kGradientThreads), 0, stream, args, sums.chunks);
      }
    });
  });
}

}  // namespace smpo::kernels::cuda
