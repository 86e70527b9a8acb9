#include "kernels/adafactor.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace smpo::kernels::cuda {
namespace {

using namespace adafactor_order;  // NOLINT: the constants of this family

static_assert(kRowLanes == kWarp, "a row of a matrix is summed by one warp");

constexpr int kThreads = static_cast<int>(kLanes);
constexpr int kWarps = kThreads / kWarp;

__device__ __forceinline__ bool skipped(const AdafactorArgs& args) {
  return args.finite != nullptr && *args.finite == 0;
}

__device__ __forceinline__ float scale_of(const AdafactorArgs& args) {
  return args.grad_scale != nullptr ? *args.grad_scale : 1.0f;
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
__global__ void dense_rows(AdafactorArgs args) {
  if (skipped(args)) {
    return;
  }
  const float scale = scale_of(args);
  const int64_t columns = args.shape.columns;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp; row < args.shape.row_elements();
       row += warps) {
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
}

/// I > 1: one thread per row.
__global__ void strided_rows(AdafactorArgs args) {
  if (skipped(args)) {
    return;
  }
  const float scale = scale_of(args);
  const int64_t columns = args.shape.columns;
  const int64_t inner = args.shape.inner;
  for (int64_t n = grid_index(); n < args.shape.row_elements(); n += grid_stride()) {
    const float* gradient = args.gradient + n / inner * columns * inner + n % inner;
    double sum = 0.0;
    for (int64_t c = 0; c < columns; ++c) {
      sum += adafactor_square(scale, gradient[c * inner], args.eps);
    }
    args.row[n] = adafactor_moment(args.beta2, args.row[n], sum / static_cast<double>(columns));
  }
}

/// One thread per column and block of rows.
__global__ void columns_of_blocks(AdafactorArgs args, AdafactorWorkspace w) {
  if (skipped(args)) {
    return;
  }
  const float scale = scale_of(args);
  const int64_t blocks = args.shape.row_blocks();
  const int64_t width = args.shape.columns * args.shape.inner;
  for (int64_t n = grid_index(); n < args.shape.outer * blocks * width; n += grid_stride()) {
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
}

__global__ void join_columns(AdafactorArgs args, AdafactorWorkspace w) {
  if (skipped(args)) {
    return;
  }
  const int64_t blocks = args.shape.row_blocks();
  const int64_t width = args.shape.columns * args.shape.inner;
  for (int64_t n = grid_index(); n < args.shape.column_elements(); n += grid_stride()) {
    const double* sums = w.column_sums + n / width * blocks * width + n % width;
    double sum = 0.0;
    for (int64_t block = 0; block < blocks; ++block) {
      sum += sums[block * width];
    }
    args.column[n] = adafactor_moment(args.beta2, args.column[n], sum / static_cast<double>(args.shape.rows));
    w.column_factors[n] = adafactor_inverse_root(args.column[n]);
  }
}

/// I = 1: one block per matrix.
__global__ void dense_row_factors(AdafactorArgs args, AdafactorWorkspace w) {
  __shared__ double lanes[kThreads];
  if (skipped(args)) {
    return;
  }
  const int64_t rows = args.shape.rows;
  for (int64_t o = blockIdx.x; o < args.shape.outer; o += gridDim.x) {
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
}

/// I > 1: one thread per matrix.
__global__ void strided_row_factors(AdafactorArgs args, AdafactorWorkspace w) {
  if (skipped(args)) {
    return;
  }
  const int64_t rows = args.shape.rows;
  const int64_t inner = args.shape.inner;
  for (int64_t n = grid_index(); n < args.shape.outer * inner; n += grid_stride()) {
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
}

__global__ void vector_moments(AdafactorArgs args) {
  if (skipped(args)) {
    return;
  }
  const float scale = scale_of(args);
  for (int64_t n = grid_index(); n < args.shape.elements(); n += grid_stride()) {
    args.v[n] = adafactor_moment(args.beta2, args.v[n], adafactor_square(scale, args.gradient[n], args.eps));
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

/// One block per chunk.
__global__ void sum_chunks(AdafactorArgs args, AdafactorWorkspace w) {
  __shared__ double lanes[kThreads];
  if (skipped(args)) {
    return;
  }
  const float scale = scale_of(args);
  const int64_t elements = args.shape.elements();
  for (int64_t chunk = blockIdx.x; chunk < args.shape.chunks(); chunk += gridDim.x) {
    const int64_t begin = chunk * kChunk;
    const int64_t end = begin + kChunk < elements ? begin + kChunk : elements;
    double updates = 0.0;
    double parameters = 0.0;
    for (int64_t n = begin + threadIdx.x; n < end; n += kThreads) {
      const auto update = static_cast<double>(update_at(args, w, scale, n));
      updates += update * update;  // exact product: contraction changes nothing
      if (args.scale_parameter) {
        const auto parameter = static_cast<double>(args.parameter[n]);
        parameters += parameter * parameter;
      }
    }
    updates = tree(updates, lanes);
    parameters = tree(parameters, lanes);
    if (threadIdx.x == 0) {
      w.update_sums[chunk] = updates;
      w.parameter_sums[chunk] = parameters;
    }
  }
}

/// One block.
__global__ void finish(AdafactorArgs args, AdafactorWorkspace w) {
  __shared__ double lanes[kThreads];
  if (skipped(args)) {
    return;
  }
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

/// What `compute` points at when no copy is wanted.
struct NoCopy {};

__device__ __forceinline__ void store_copy(NoCopy*, int64_t, float) {}
template <class T>
__device__ __forceinline__ void store_copy(T* copy, int64_t i, float value) {
  copy[i] = from_float<T>(value);
}

template <class Copy>
__global__ void apply(AdafactorArgs args, AdafactorWorkspace w, float beta1, float m_weight) {
  if (skipped(args)) {
    return;
  }
  const float scale = scale_of(args);
  const AdafactorScales scales = *w.scales;
  Copy* copy = static_cast<Copy*>(args.compute);
  for (int64_t n = grid_index(); n < args.shape.elements(); n += grid_stride()) {
    float x = rounded::multiply(scales.step, update_at(args, w, scale, n));
    if (args.m != nullptr) {
      x = adafactor_first_moment(beta1, m_weight, args.m[n], x);
      args.m[n] = x;
    }
    const float p = rounded::subtract(rounded::multiply(scales.decay, args.parameter[n]), x);
    args.parameter[n] = p;
    store_copy(copy, n, p);
  }
}

template <class Copy>
void launch_apply(const AdafactorArgs& args, const AdafactorWorkspace& w, Stream stream) {
  launch(apply<Copy>, dim3(blocks_for(args.shape.elements(), kThreads)), dim3(kThreads), 0, stream, args, w,
         static_cast<float>(args.beta1), static_cast<float>(1 - args.beta1));
}

}  // namespace

void adafactor(const AdafactorArgs& args, Stream stream) {
  const AdafactorShape& shape = args.shape;
  if (shape.elements() == 0) {
    return;
  }
  const AdafactorWorkspace w = adafactor_workspace(args);
  const dim3 block(kThreads);
  const auto blocks = [](int64_t count) { return dim3(blocks_for(count, kThreads)); };
  if (!shape.factored) {
    launch(vector_moments, blocks(shape.elements()), block, 0, stream, args);
  } else {
    if (shape.inner == 1) {
      launch(dense_rows, dim3(blocks_for(shape.row_elements(), kWarps)), block, 0, stream, args);
    } else {
      launch(strided_rows, blocks(shape.row_elements()), block, 0, stream, args);
    }
    launch(columns_of_blocks, blocks(shape.outer * shape.row_blocks() * shape.columns * shape.inner), block, 0, stream,
           args, w);
    if (shape.row_blocks() > 1) {
      launch(join_columns, blocks(shape.column_elements()), block, 0, stream, args, w);
    }
    if (shape.inner == 1) {
      launch(dense_row_factors, dim3(blocks_for(shape.outer, 1)), block, 0, stream, args, w);
    } else {
      launch(strided_row_factors, blocks(shape.outer * shape.inner), block, 0, stream, args, w);
    }
  }
  launch(sum_chunks, dim3(blocks_for(shape.chunks(), 1)), block, 0, stream, args, w);
  launch(finish, dim3(1), block, 0, stream, args, w);
  if (args.compute == nullptr) {
    launch_apply<NoCopy>(args, w, stream);
  } else if (args.compute_dtype == DType::kBF16) {
    launch_apply<BFloat16>(args, w, stream);
  } else {
    launch_apply<float>(args, w, stream);
  }
}

}  // namespace smpo::kernels::cuda
