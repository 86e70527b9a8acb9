#include "kernels/adafactor.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

// Every kernel runs over all tensors: a block takes one unit of work after the other, and finds in the table whose it
// is.
namespace smpo::kernels::cuda {
namespace {

using namespace adafactor_order;  // NOLINT: the constants of this family

static_assert(kRowLanes == kWarp, "a row of a matrix is summed by one warp");

constexpr int kThreads = static_cast<int>(kLanes);
constexpr int kWarps = kThreads / kWarp;

__device__ __forceinline__ bool skipped(const AdafactorGroupArgs& group) {
  return group.rule.finite != nullptr && *group.rule.finite == 0;
}

__device__ __forceinline__ float scale_of(const AdafactorArgs& args) {
  return args.grad_scale != nullptr ? *args.grad_scale : 1.0f;
}

/// Part of a tensor's work.
struct Work {
  AdafactorArgs args;
  AdafactorWorkspace w;
  int64_t unit;  // among the tensor's own
};

/// The last tensor whose first unit is not beyond this one: those without a unit come before it.
__device__ __forceinline__ Work work_of(const AdafactorGroupArgs& group, AdafactorStage stage, int64_t unit) {
  const int s = static_cast<int>(stage);
  int64_t first = 0, last = group.count - 1;
  while (first < last) {
    const int64_t middle = last - (last - first) / 2;
    if (group.tensors[middle].first_unit[s] <= unit) {
      first = middle;
    } else {
      last = middle - 1;
    }
  }
  const AdafactorTensor& tensor = group.tensors[first];
  Work work{adafactor_args(group, tensor), {}, unit - tensor.first_unit[s]};
  work.w = adafactor_workspace(work.args);
  return work;
}

/// The sum over the block's kLanes threads, as a tree of halves; right in thread 0. `lanes` may be used again at once.
__device__ __forceinline__ double tree(double value, double* lanes) {
  const int lane = static_cast<int>(threadIdx.x);
  lanes[lane] = value;
  __syncthreads();
  for (int width = kThreads / 2; width > 0; width /= 2) {
    if (lane < width) {
      lanes[lane] += lanes[lane + width];
    }
    __syncthreads();
  }
  const double sum = lanes[0];
  __syncthreads();
  return sum;
}

// ---- second moments

/// I = 1: one warp per row.
__device__ __forceinline__ void dense_rows(const AdafactorArgs& args, int64_t unit) {
  const float scale = scale_of(args);
  const int64_t columns = args.shape.columns;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t row = unit * kWarps + threadIdx.x / kWarp;
  if (row >= args.shape.row_elements()) {
    return;  // The whole warp.
  }
  double sum = 0.0;
  for (int64_t c = lane; c < columns; c += kWarp) {
    sum += adafactor_square(scale, args.gradient[row * columns + c], args.eps);
  }
#pragma unroll
  for (int width = kWarp / 2; width > 0; width /= 2) {
    sum += __shfl_down_sync(kAllLanes, sum, width);
  }
  if (lane == 0) {
    args.row[row] = adafactor_moment(args.beta2, args.row[row], sum / static_cast<double>(columns));
  }
}

/// I > 1: one thread per row.
__device__ __forceinline__ void strided_rows(const AdafactorArgs& args, int64_t unit) {
  const float scale = scale_of(args);
  const int64_t columns = args.shape.columns;
  const int64_t inner = args.shape.inner;
  const int64_t n = unit * kThreads + threadIdx.x;
  if (n >= args.shape.row_elements()) {
    return;
  }
  const float* gradient = args.gradient + n / inner * columns * inner + n % inner;
  double sum = 0.0;
  for (int64_t c = 0; c < columns; ++c) {
    sum += adafactor_square(scale, gradient[c * inner], args.eps);
  }
  args.row[n] = adafactor_moment(args.beta2, args.row[n], sum / static_cast<double>(columns));
}

/// One thread per column and block of rows.
__device__ __forceinline__ void columns_of_blocks(const AdafactorArgs& args, const AdafactorWorkspace& w,
                                                  int64_t unit) {
  const float scale = scale_of(args);
  const int64_t blocks = args.shape.row_blocks();
  const int64_t width = args.shape.columns * args.shape.inner;
  const int64_t n = unit * kThreads + threadIdx.x;
  if (n >= args.shape.outer * blocks * width) {
    return;
  }
  const int64_t item = n / width;
  const int64_t within = n % width;
  const int64_t first = item % blocks * kRowBlock;
  const int64_t last = first + kRowBlock < args.shape.rows ? first + kRowBlock : args.shape.rows;
  const float* gradient = args.gradient + item / blocks * args.shape.rows * width + within;
  double sum = 0.0;
  for (int64_t r = first; r < last; ++r) {
    sum += adafactor_square(scale, gradient[r * width], args.eps);
  }
  if (blocks > 1) {
    w.column_sums[n] = sum;
  } else {
    args.column[n] = adafactor_moment(args.beta2, args.column[n], sum / static_cast<double>(args.shape.rows));
    w.column_factors[n] = adafactor_inverse_root(args.column[n]);
  }
}

__device__ __forceinline__ void vector_moments(const AdafactorArgs& args, int64_t unit) {
  const int64_t n = unit * kThreads + threadIdx.x;
  if (n < args.shape.elements()) {
    args.v[n] = adafactor_moment(args.beta2, args.v[n], adafactor_square(scale_of(args), args.gradient[n], args.eps));
  }
}

__global__ void moments(AdafactorGroupArgs group) {
  if (skipped(group)) {
    return;
  }
  constexpr auto kStage = AdafactorStage::kMoments;
  for (int64_t unit = blockIdx.x; unit < group.units[static_cast<int>(kStage)]; unit += gridDim.x) {
    const Work work = work_of(group, kStage, unit);
    const AdafactorShape& shape = work.args.shape;
    if (!shape.factored) {
      vector_moments(work.args, work.unit);
      continue;
    }
    const int64_t per_unit = shape.inner == 1 ? kWarps : kThreads;
    const int64_t row_units = (shape.row_elements() + per_unit - 1) / per_unit;
    if (work.unit >= row_units) {
      columns_of_blocks(work.args, work.w, work.unit - row_units);
    } else if (shape.inner == 1) {
      dense_rows(work.args, work.unit);
    } else {
      strided_rows(work.args, work.unit);
    }
  }
}

// ---- what the update is made of

__device__ __forceinline__ void join_columns(const AdafactorArgs& args, const AdafactorWorkspace& w, int64_t unit) {
  const int64_t blocks = args.shape.row_blocks();
  const int64_t width = args.shape.columns * args.shape.inner;
  const int64_t n = unit * kThreads + threadIdx.x;
  if (n >= args.shape.column_elements()) {
    return;
  }
  const double* sums = w.column_sums + n / width * blocks * width + n % width;
  double sum = 0.0;
  for (int64_t block = 0; block < blocks; ++block) {
    sum += sums[block * width];
  }
  args.column[n] = adafactor_moment(args.beta2, args.column[n], sum / static_cast<double>(args.shape.rows));
  w.column_factors[n] = adafactor_inverse_root(args.column[n]);
}

/// I = 1: one block per matrix.
__device__ __forceinline__ void dense_row_factors(const AdafactorArgs& args, const AdafactorWorkspace& w, int64_t o,
                                                  double* lanes) {
  const int64_t rows = args.shape.rows;
  const float* row = args.row + o * rows;
  double sum = 0.0;
  for (int64_t r = threadIdx.x; r < rows; r += kThreads) {
    sum += static_cast<double>(row[r]);
  }
  const double mean = tree(sum, lanes) / static_cast<double>(rows);
  for (int64_t r = threadIdx.x; r < rows; r += kThreads) {
    w.row_factors[o * rows + r] = adafactor_row_factor(row[r], mean);
  }
}

/// I > 1: one thread per matrix.
__device__ __forceinline__ void strided_row_factors(const AdafactorArgs& args, const AdafactorWorkspace& w,
                                                    int64_t unit) {
  const int64_t rows = args.shape.rows;
  const int64_t inner = args.shape.inner;
  const int64_t n = unit * kThreads + threadIdx.x;
  if (n >= args.shape.outer * inner) {
    return;
  }
  const int64_t first = n / inner * rows * inner + n % inner;
  double sum = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    sum += static_cast<double>(args.row[first + r * inner]);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = first + r * inner;
    w.row_factors[at] = adafactor_row_factor(args.row[at], sum / static_cast<double>(rows));
  }
}

__global__ void factors(AdafactorGroupArgs group) {
  __shared__ double lanes[kThreads];
  if (skipped(group)) {
    return;
  }
  constexpr auto kStage = AdafactorStage::kFactors;
  for (int64_t unit = blockIdx.x; unit < group.units[static_cast<int>(kStage)]; unit += gridDim.x) {
    const Work work = work_of(group, kStage, unit);
    const AdafactorShape& shape = work.args.shape;
    const int64_t joins = shape.row_blocks() > 1 ? (shape.column_elements() + kThreads - 1) / kThreads : 0;
    if (work.unit < joins) {
      join_columns(work.args, work.w, work.unit);
    } else if (shape.inner == 1) {
      dense_row_factors(work.args, work.w, work.unit - joins, lanes);
    } else {
      strided_row_factors(work.args, work.w, work.unit - joins);
    }
  }
}

// ---- the update

__device__ __forceinline__ float update_at(const AdafactorArgs& args, const AdafactorWorkspace& w, float scale,
                                           int64_t n) {
  const AdafactorShape& shape = args.shape;
  if (!shape.factored) {
    return adafactor_vector_update(args.v[n], scale, args.gradient[n]);
  }
  const int64_t width = shape.columns * shape.inner;
  const int64_t row = n / width;  // o R + r
  const int64_t within = n % width;
  return adafactor_update(w.row_factors[row * shape.inner + within % shape.inner],
                          w.column_factors[row / shape.rows * width + within], scale, args.gradient[n]);
}

__device__ __forceinline__ int64_t end_of_chunk(const AdafactorShape& shape, int64_t chunk) {
  const int64_t end = (chunk + 1) * kChunk;
  return end < shape.elements() ? end : shape.elements();
}

__global__ void sum_chunks(AdafactorGroupArgs group) {
  __shared__ double lanes[kThreads];
  if (skipped(group)) {
    return;
  }
  constexpr auto kStage = AdafactorStage::kChunks;
  for (int64_t unit = blockIdx.x; unit < group.units[static_cast<int>(kStage)]; unit += gridDim.x) {
    const Work work = work_of(group, kStage, unit);
    const AdafactorArgs& args = work.args;
    const float scale = scale_of(args);
    const int64_t end = end_of_chunk(args.shape, work.unit);
    double updates = 0.0;
    double parameters = 0.0;
    for (int64_t n = work.unit * kChunk + threadIdx.x; n < end; n += kThreads) {
      const auto update = static_cast<double>(update_at(args, work.w, scale, n));
      updates += update * update;  // exact product: contraction changes nothing
      if (args.scale_parameter) {
        const auto parameter = static_cast<double>(args.parameter[n]);
        parameters += parameter * parameter;
      }
    }
    updates = tree(updates, lanes);
    parameters = tree(parameters, lanes);
    if (threadIdx.x == 0) {
      work.w.update_sums[work.unit] = updates;
      work.w.parameter_sums[work.unit] = parameters;
    }
  }
}

/// One block per tensor.
__global__ void finish(AdafactorGroupArgs group) {
  __shared__ double lanes[kThreads];
  if (skipped(group)) {
    return;
  }
  for (int64_t i = blockIdx.x; i < group.count; i += gridDim.x) {
    const AdafactorArgs args = adafactor_args(group, group.tensors[i]);
    if (args.shape.elements() == 0) {
      continue;
    }
    const AdafactorWorkspace w = adafactor_workspace(args);
    double updates = 0.0;
    double parameters = 0.0;
    for (int64_t chunk = threadIdx.x; chunk < args.shape.chunks(); chunk += kThreads) {
      updates += w.update_sums[chunk];
      parameters += w.parameter_sums[chunk];
    }
    updates = tree(updates, lanes);
    parameters = tree(parameters, lanes);
    if (threadIdx.x == 0) {
      *w.scales = adafactor_scales(args, parameters, updates);
    }
  }
}

/// Target of `compute` when no copy is wanted.
struct NoCopy {};

__device__ __forceinline__ void store_copy(NoCopy*, int64_t, float) {}
template <class T>
__device__ __forceinline__ void store_copy(T* copy, int64_t i, float value) {
  copy[i] = from_float<T>(value);
}

template <class Copy>
__global__ void apply(AdafactorGroupArgs group, float beta1, float m_weight) {
  if (skipped(group)) {
    return;
  }
  constexpr auto kStage = AdafactorStage::kChunks;
  for (int64_t unit = blockIdx.x; unit < group.units[static_cast<int>(kStage)]; unit += gridDim.x) {
    const Work work = work_of(group, kStage, unit);
    const AdafactorArgs& args = work.args;
    const float scale = scale_of(args);
    const AdafactorScales scales = *work.w.scales;
    Copy* copy = static_cast<Copy*>(args.compute);
    const int64_t end = end_of_chunk(args.shape, work.unit);
    for (int64_t n = work.unit * kChunk + threadIdx.x; n < end; n += kThreads) {
      float x = rounded::multiply(scales.step, update_at(args, work.w, scale, n));
      if (args.m != nullptr) {
        x = adafactor_first_moment(beta1, m_weight, args.m[n], x);
        args.m[n] = x;
      }
      const float p = rounded::subtract(rounded::multiply(scales.decay, args.parameter[n]), x);
      args.parameter[n] = p;
      store_copy(copy, n, p);
    }
  }
}

}  // namespace

void adafactor_group(const AdafactorGroupArgs& group, Stream stream) {
  const auto blocks = [](int64_t count) { return dim3(blocks_for(count, 1)); };
  const auto units = [&](AdafactorStage stage) { return blocks(group.units[static_cast<int>(stage)]); };
  const dim3 block(kThreads);
  launch(moments, units(AdafactorStage::kMoments), block, 0, stream, group);
  launch(factors, units(AdafactorStage::kFactors), block, 0, stream, group);
  launch(sum_chunks, units(AdafactorStage::kChunks), block, 0, stream, group);
  launch(finish, blocks(group.count), block, 0, stream, group);
  const auto kernel =
      !group.copies ? apply<NoCopy> : (group.rule.compute_dtype == DType::kBF16 ? apply<BFloat16> : apply<float>);
  launch(kernel, units(AdafactorStage::kChunks), block, 0, stream, group, static_cast<float>(group.rule.beta1),
         static_cast<float>(1 - group.rule.beta1));
}

}  // namespace smpo::kernels::cuda
