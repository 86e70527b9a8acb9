#include "kernels/grad_norm.h"

#include <algorithm>

namespace smpo::kernels::cpu {
namespace {

using namespace square_sum;  // NOLINT: the constants of this family

struct SumChunk {
  SMPO_INNER_LOOP void run(const float* gradient, int64_t count, double* sum) {
    double total = 0.0;
    for (int64_t begin = 0; begin < count; begin += kGroup) {
      total += group_sum(gradient + begin, std::min(kGroup, count - begin));
    }
    *sum = total;
  }

  SMPO_INNER_LOOP double group_sum(const float* gradient, int64_t count) {
    double lanes[kLanes] = {};
    const int64_t whole = count / kLanes * kLanes;
    for (int64_t i = 0; i < whole; i += kLanes) {
      for (int64_t j = 0; j < kLanes; ++j) {
        const double g = static_cast<double>(gradient[i + j]);
        lanes[j] += g * g;
      }
    }
    for (int64_t j = 0; j < count - whole; ++j) {
      const double g = static_cast<double>(gradient[whole + j]);
      lanes[j] += g * g;
    }
    for (int64_t width = kLanes / 2; width > 0; width /= 2) {
      for (int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
    }
    return lanes[0];
  }
};

double sum_of_chunks(const double* sums, int64_t chunks) {
  double lanes[kFinalLanes] = {};
  for (int64_t chunk = 0; chunk < chunks; ++chunk) lanes[chunk % kFinalLanes] += sums[chunk];
  for (int64_t width = kFinalLanes / 2; width > 0; width /= 2) {
    for (int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

}  // namespace

void grad_norm(const GradNormArgs& args, InstructionSet set) {
  const int64_t chunks = chunks_of(args.elements);
  double* sums = static_cast<double*>(args.workspace);
#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * kChunk;
    run_for<SumChunk>(set, args.gradient + begin, std::min(kChunk, args.elements - begin), sums + chunk);
  }
  *args.result = grad_norm_result(sum_of_chunks(sums, chunks), args.max_norm);
}

}  // namespace smpo::kernels::cpu
