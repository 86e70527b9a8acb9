#include "kernels/preference_loss.h"

#include <algorithm>

#include "kernels/cpu/row_sum.h"
#include "kernels/pair_loss_math.h"

// A task is one chunk of one pair: the same thread reads a chunk's sums in stage 1 and writes its gradients in stage 3,
// so that the second pass finds predictions and targets in that core's cache.
namespace smpo::kernels::cpu {
namespace {

/// out = factor * (prediction - target); out may be prediction.
template <class Prediction, class Target>
struct GradientChunk {
  SMPO_INNER_LOOP void run(const Prediction* prediction, const Target* target, float factor, int64_t count,
                           Prediction* out) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      out[i] = from_float<Prediction>(factor * (to_float(prediction[i]) - to_float(target[i])));
    }
  }
};

/// PSEUDO_HUBER's gradient; out may be prediction.
template <class Prediction, class Target>
struct HuberGradientChunk {
  SMPO_INNER_LOOP void run(const Prediction* prediction, const Target* target, pair_loss_math::Huber huber,
                           float factor, int64_t count, Prediction* out) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float difference = to_float(prediction[i]) - to_float(target[i]);
      out[i] = from_float<Prediction>(pair_loss_math::huber_gradient(huber, factor, difference));
    }
  }
};

/// *sum = sum over `count` <= kChunk elements of PSEUDO_HUBER's errors, in the order of SquaredErrorChunk.
template <class Prediction, class Target>
struct HuberErrorChunk {
  SMPO_INNER_LOOP void run(const Prediction* prediction, const Target* target, pair_loss_math::Huber huber,
                           int64_t count, double* sum) {
    constexpr int64_t L = row_sum::kLanes;
    static_assert(row_sum::kDepth == 8);
    alignas(64) double lanes[L] = {};
    alignas(64) float errors[row_sum::kGroup];
    for (int64_t first = 0; first < count; first += row_sum::kGroup) {
      const int64_t own = std::min(row_sum::kGroup, count - first);
#pragma omp simd
      for (int64_t i = 0; i < own; ++i) {
        errors[i] = pair_loss_math::huber_error(huber, to_float(prediction[first + i]) - to_float(target[first + i]));
      }
      std::fill(errors + own, errors + row_sum::kGroup, 0.0f);
#pragma omp simd
      for (int64_t j = 0; j < L; ++j) {
        const float* e = errors + j;
        const float low = (e[0] + e[L]) + (e[2 * L] + e[3 * L]);
        const float high = (e[4 * L] + e[5 * L]) + (e[6 * L] + e[7 * L]);
        lanes[j] += static_cast<double>(low + high);
      }
    }
    *sum = join_lanes(lanes);
  }
};

/// Places of the sums of stage 1 in the workspace.
struct Sums {
  int64_t chunks;
  double* policy_RC;
  double* reference_RC;
  double* product_PC;

  explicit Sums(const PreferenceLossArgs& args)
      : chunks(row_sum::chunks_of(args.elements)),
        policy_RC(static_cast<double*>(args.workspace)),
        reference_RC(policy_RC + args.images * args.pairs * chunks),
        product_PC(args.reference_RN != nullptr ? reference_RC + args.images * args.pairs * chunks : reference_RC) {}
};

struct Range {
  int64_t begin;
  int64_t count;
};

Range range_of(int64_t chunk, int64_t elements) {
  const int64_t begin = chunk * row_sum::kChunk;
  return {begin, std::min(row_sum::kChunk, elements - begin)};
}

/// Stage 1: one chunk of PSEUDO_HUBER's error of a row.
void sum_huber_chunk(const PreferenceLossArgs& args, const Sums& sums, int64_t row, int64_t chunk, InstructionSet set) {
  const auto [begin, count] = range_of(chunk, args.elements);
  const int64_t first = row * args.elements + begin;
  with_dtypes(args.prediction_RN, args.prediction_dtype, args.target_RN, args.target_dtype,
              [&, n = count]<class A, class B>(const A* prediction, const B* target) {
                run_for<HuberErrorChunk<A, B>>(set, prediction + first, target + first,
                                               pair_loss_math::huber_of(args, row), n,
                                               &sums.policy_RC[row * sums.chunks + chunk]);
              });
}

/// Stage 1: one chunk of all rows of a pair or single image.
void sum_chunk(const PreferenceLossArgs& args, const Sums& sums, int64_t pair, int64_t chunk, InstructionSet set) {
  if (args.loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER) {
    return sum_huber_chunk(args, sums, pair, chunk, set);
  }
  const auto [begin, count] = range_of(chunk, args.elements);
  for (int64_t row = pair; row < args.images * args.pairs; row += args.pairs) {
    const int64_t first = row * args.elements + begin;
    squared_error_chunk(set, args.prediction_RN, args.prediction_dtype, args.target_RN, args.target_dtype, first, count,
                        &sums.policy_RC[row * sums.chunks + chunk]);
    if (args.reference_RN != nullptr) {
      squared_error_chunk(set, args.reference_RN, args.reference_dtype, args.target_RN, args.target_dtype, first, count,
                          &sums.reference_RC[row * sums.chunks + chunk]);
    }
  }
  if (args.loss.safeguard == 1) {
    const int64_t winner = pair * args.elements + begin;
    const int64_t loser = (args.pairs + pair) * args.elements + begin;
    with_dtypes(args.prediction_RN, args.prediction_dtype, args.target_RN, args.target_dtype,
                [&, n = count]<class A, class B>(const A* prediction, const B* target) {
                  run_for<DifferenceProductChunk<A, B>>(set, prediction + winner, target + winner, prediction + loser,
                                                        target + loser, n,
                                                        &sums.product_PC[pair * sums.chunks + chunk]);
                });
  }
}

/// Stage 2: errors, then every pair, on one thread: a few transcendental functions per pair.
void finish_pairs(const PreferenceLossArgs& args, const Sums& sums) {
  const int64_t P = args.pairs;
  for (int64_t r = 0; r < args.images * P; ++r) {
    const double reference = args.reference_RN != nullptr
                                 ? mean_of(sums.reference_RC + r * sums.chunks, args.elements)
                                 : (args.reference_error_R != nullptr ? args.reference_error_R[r] : 0.0);
    pair_loss_math::put_errors(args, r, mean_of(sums.policy_RC + r * sums.chunks, args.elements), reference);
  }
  const double mean_gain = pair_loss_math::mean_gain(args);
  double total = 0.0;
  for (int64_t p = 0; p < P; ++p) {
    const double mean_product =
        args.loss.safeguard == 1 ? mean_of(sums.product_PC + p * sums.chunks, args.elements) : 0.0;
    total += pair_loss_math::finish_pair(args, p, mean_product, mean_gain);
  }
  *args.loss_sum = total;
}

/// Stage 3: one chunk of all rows of a pair or single image.
void write_gradient_chunk(const PreferenceLossArgs& args, int64_t pair, int64_t chunk, InstructionSet set) {
  const auto [begin, count] = range_of(chunk, args.elements);
  for (int64_t row = pair; row < args.images * args.pairs; row += args.pairs) {
    const int64_t first = row * args.elements + begin;
    const float factor = pair_loss_math::gradient_factor(args, row);
    with_dtypes(args.prediction_RN, args.prediction_dtype, args.target_RN, args.target_dtype,
                [&, n = count]<class A, class B>(const A* prediction, const B* target) {
                  A* const out = static_cast<A*>(args.d_prediction_RN) + first;
                  if (args.loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER) {
                    run_for<HuberGradientChunk<A, B>>(set, prediction + first, target + first,
                                                      pair_loss_math::huber_of(args, row), factor, n, out);
                  } else {
                    run_for<GradientChunk<A, B>>(set, prediction + first, target + first, factor, n, out);
                  }
                });
  }
}

}  // namespace

void preference_loss(const PreferenceLossArgs& args, InstructionSet set) {
  const Sums sums(args);
  const int64_t tasks = args.pairs * sums.chunks;
#pragma omp parallel if (tasks > 1)
  {
#pragma omp for schedule(static)
    for (int64_t task = 0; task < tasks; ++task) {
      sum_chunk(args, sums, task / sums.chunks, task % sums.chunks, set);
    }
#pragma omp single
    finish_pairs(args, sums);
    if (args.d_prediction_RN != nullptr) {
#pragma omp for schedule(static) nowait
      for (int64_t task = 0; task < tasks; ++task) {
        write_gradient_chunk(args, task / sums.chunks, task % sums.chunks, set);
      }
    }
  }
}

}  // namespace smpo::kernels::cpu
