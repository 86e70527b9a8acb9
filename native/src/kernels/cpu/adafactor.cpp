#include "kernels/adafactor.h"

#include <algorithm>
#include <type_traits>

namespace smpo::kernels::cpu {
namespace {

using namespace adafactor_order;  // NOLINT: the constants of this family

/// Neighbours that are summed side by side where the terms of each sum lie apart.
constexpr int64_t kBeside = 64;

template <int64_t kCount>
SMPO_HOST_DEVICE double tree(double* lanes) {
  for (int64_t width = kCount / 2; width > 0; width /= 2) {
    for (int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

// ---- second moments

/// Sums of u over `terms` terms that lie `stride` apart, for up to kBeside neighbours, in ascending order.
SMPO_HOST_DEVICE void sum_beside(float scale, double eps, const float* gradient, int64_t stride, int64_t terms,
                                 int64_t count, double* sums) {
  for (int64_t k = 0; k < count; ++k) sums[k] = 0.0;
  for (int64_t term = 0; term < terms; ++term) {
    const float* g = gradient + term * stride;
    for (int64_t k = 0; k < count; ++k) sums[k] += adafactor_square(scale, g[k], eps);
  }
}

/// Rows of an [R,C] matrix, one after another.
struct DenseRows {
  SMPO_INNER_LOOP void run(float scale, double eps, double beta2, const float* gradient, int64_t rows, int64_t columns,
                           float* row) {
    for (int64_t r = 0; r < rows; ++r) {
      const float* g = gradient + r * columns;
      double lanes[kRowLanes] = {};
      int64_t c = 0;
      for (; c + kRowLanes <= columns; c += kRowLanes) {
        for (int64_t j = 0; j < kRowLanes; ++j) lanes[j] += adafactor_square(scale, g[c + j], eps);
      }
      for (int64_t j = 0; c + j < columns; ++j) lanes[j] += adafactor_square(scale, g[c + j], eps);
      row[r] = adafactor_moment(beta2, row[r], tree<kRowLanes>(lanes) / static_cast<double>(columns));
    }
  }
};

/// Rows of [R,C,I] with I > 1.
struct StridedRows {
  SMPO_INNER_LOOP void run(float scale, double eps, double beta2, const float* gradient, int64_t rows, int64_t columns,
                           int64_t inner, float* row) {
    double sums[kBeside];
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < inner; i += kBeside) {
        const int64_t count = inner - i < kBeside ? inner - i : kBeside;
        sum_beside(scale, eps, gradient + r * columns * inner + i, inner, columns, count, sums);
        float* out = row + r * inner + i;
        for (int64_t k = 0; k < count; ++k) {
          out[k] = adafactor_moment(beta2, out[k], sums[k] / static_cast<double>(columns));
        }
      }
    }
  }
};

/// One block of rows of [R, width = C I]: sums to `sums`, or where there is no other block straight to the moments.
struct Columns {
  SMPO_INNER_LOOP void run(float scale, double eps, double beta2, const float* gradient, int64_t rows, int64_t width,
                           double* sums, float* column, float* factors) {
    double own[kBeside];
    for (int64_t i = 0; i < width; i += kBeside) {
      const int64_t count = width - i < kBeside ? width - i : kBeside;
      sum_beside(scale, eps, gradient + i, width, rows, count, own);
      for (int64_t k = 0; k < count; ++k) {
        if (sums != nullptr) {
          sums[i + k] = own[k];
        } else {
          column[i + k] = adafactor_moment(beta2, column[i + k], own[k] / static_cast<double>(rows));
          factors[i + k] = adafactor_inverse_root(column[i + k]);
        }
      }
    }
  }
};

/// The blocks' sums of `width` columns.
struct JoinColumns {
  SMPO_INNER_LOOP void run(double beta2, const double* sums, int64_t blocks, int64_t rows, int64_t stride,
                           int64_t width, float* column, float* factors) {
    for (int64_t k = 0; k < width; ++k) {
      double sum = 0.0;
      for (int64_t block = 0; block < blocks; ++block) sum += sums[block * stride + k];
      column[k] = adafactor_moment(beta2, column[k], sum / static_cast<double>(rows));
      factors[k] = adafactor_inverse_root(column[k]);
    }
  }
};

/// Row factors of one [R,I] matrix.
struct RowFactors {
  SMPO_INNER_LOOP void run(const float* row, int64_t rows, int64_t inner, float* factors) {
    if (inner == 1) {
      double lanes[kLanes] = {};
      for (int64_t begin = 0; begin < rows; begin += kLanes) {
        const int64_t count = rows - begin < kLanes ? rows - begin : kLanes;
        for (int64_t j = 0; j < count; ++j) lanes[j] += static_cast<double>(row[begin + j]);
      }
      const double mean = tree<kLanes>(lanes) / static_cast<double>(rows);
      for (int64_t r = 0; r < rows; ++r) factors[r] = adafactor_row_factor(row[r], mean);
      return;
    }
    double sums[kBeside];
    for (int64_t i = 0; i < inner; i += kBeside) {
      const int64_t count = inner - i < kBeside ? inner - i : kBeside;
      for (int64_t k = 0; k < count; ++k) sums[k] = 0.0;
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t k = 0; k < count; ++k) sums[k] += static_cast<double>(row[r * inner + i + k]);
      }
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t k = 0; k < count; ++k) {
          const int64_t at = r * inner + i + k;
          factors[at] = adafactor_row_factor(row[at], sums[k] / static_cast<double>(rows));
        }
      }
    }
  }
};

struct VectorMoments {
  SMPO_INNER_LOOP void run(float scale, double eps, double beta2, const float* gradient, float* v, int64_t count) {
    for (int64_t i = 0; i < count; ++i) v[i] = adafactor_moment(beta2, v[i], adafactor_square(scale, gradient[i], eps));
  }
};

void factored_moments(const AdafactorArgs& args, const AdafactorWorkspace& w, float scale, InstructionSet set) {
  const AdafactorShape& shape = args.shape;
  const int64_t blocks = shape.row_blocks();
  const int64_t width = shape.columns * shape.inner;
#pragma omp parallel for schedule(static) if (shape.elements() > kChunk)
  for (int64_t item = 0; item < shape.outer * blocks; ++item) {
    const int64_t o = item / blocks;
    const int64_t first = item % blocks * kRowBlock;
    const int64_t rows = std::min(kRowBlock, shape.rows - first);
    const float* gradient = args.gradient + (o * shape.rows + first) * width;
    float* row = args.row + (o * shape.rows + first) * shape.inner;
    if (shape.inner == 1) {
      run_for<DenseRows>(set, scale, args.eps, args.beta2, gradient, rows, shape.columns, row);
    } else {
      run_for<StridedRows>(set, scale, args.eps, args.beta2, gradient, rows, shape.columns, shape.inner, row);
    }
    double* sums = blocks > 1 ? w.column_sums + item * width : nullptr;
    run_for<Columns>(set, scale, args.eps, args.beta2, gradient, rows, width, sums, args.column + o * width,
                     w.column_factors + o * width);
  }
  const int64_t parts = blocks > 1 ? divide_up(width, kBeside) : 0;
#pragma omp parallel for schedule(static) if (shape.elements() > kChunk)
  for (int64_t item = 0; item < shape.outer * parts; ++item) {
    const int64_t o = item / parts;
    const int64_t begin = item % parts * kBeside;
    run_for<JoinColumns>(set, args.beta2, w.column_sums + o * blocks * width + begin, blocks, shape.rows, width,
                         std::min(kBeside, width - begin), args.column + o * width + begin,
                         w.column_factors + o * width + begin);
  }
#pragma omp parallel for schedule(static) if (shape.row_elements() > kChunk)
  for (int64_t o = 0; o < shape.outer; ++o) {
    const int64_t begin = o * shape.rows * shape.inner;
    run_for<RowFactors>(set, args.row + begin, shape.rows, shape.inner, w.row_factors + begin);
  }
}

// ---- the update of a chunk

struct OneRow {
  SMPO_INNER_LOOP void run(float scale, float row_factor, const float* column_factors, const float* gradient,
                           float* __restrict out, int64_t count) {
    for (int64_t k = 0; k < count; ++k) out[k] = adafactor_update(row_factor, column_factors[k], scale, gradient[k]);
  }
};

struct ManyRows {
  SMPO_INNER_LOOP void run(float scale, const float* row_factors, const float* column_factors, const float* gradient,
                           float* __restrict out, int64_t count) {
    for (int64_t k = 0; k < count; ++k) {
      out[k] = adafactor_update(row_factors[k], column_factors[k], scale, gradient[k]);
    }
  }
};

struct Vector {
  SMPO_INNER_LOOP void run(float scale, const float* v, const float* gradient, float* __restrict out, int64_t count) {
    for (int64_t k = 0; k < count; ++k) out[k] = adafactor_vector_update(v[k], scale, gradient[k]);
  }
};

/// Elements begin .. begin + count - 1 of the update, in runs over which the factors are contiguous.
void update_of(const AdafactorArgs& args, const AdafactorWorkspace& w, float scale, InstructionSet set, int64_t begin,
               int64_t count, float* out) {
  const AdafactorShape& shape = args.shape;
  if (!shape.factored) {
    run_for<Vector>(set, scale, args.v + begin, args.gradient + begin, out, count);
    return;
  }
  const int64_t width = shape.columns * shape.inner;
  const int64_t longest = shape.inner == 1 ? shape.columns : shape.inner;
  for (int64_t done = 0; done < count;) {
    const int64_t n = begin + done;
    const int64_t run = std::min(longest - n % longest, count - done);
    const int64_t row = n / width;  // o R + r
    const int64_t within = n % width;
    const float* column_factors = w.column_factors + row / shape.rows * width + within;
    if (shape.inner == 1) {
      run_for<OneRow>(set, scale, w.row_factors[row], column_factors, args.gradient + n, out + done, run);
    } else {
      run_for<ManyRows>(set, scale, w.row_factors + row * shape.inner + within % shape.inner, column_factors,
                        args.gradient + n, out + done, run);
    }
    done += run;
  }
}

struct SumSquares {
  SMPO_INNER_LOOP void run(const float* x, int64_t count, double* sum) {
    double lanes[kLanes] = {};
    for (int64_t begin = 0; begin < count; begin += kLanes) {
      const int64_t part = count - begin < kLanes ? count - begin : kLanes;
      for (int64_t j = 0; j < part; ++j) {
        const auto value = static_cast<double>(x[begin + j]);
        lanes[j] += value * value;
      }
    }
    *sum = tree<kLanes>(lanes);
  }
};

double sum_of_chunks(const double* sums, int64_t chunks) {
  double lanes[kLanes] = {};
  for (int64_t chunk = 0; chunk < chunks; ++chunk) lanes[chunk % kLanes] += sums[chunk];
  return tree<kLanes>(lanes);
}

// ---- the parameter

/// Destination of an element's copy; its type is the copy's.
struct NoCopy {
  SMPO_HOST_DEVICE void store(int64_t, float) const {}
};

template <class T>
struct CopyTo {
  T* __restrict out;
  SMPO_HOST_DEVICE void store(int64_t i, float value) const { out[i] = from_float<T>(value); }
};

template <class Copy>
struct Apply {
  SMPO_INNER_LOOP void run(AdafactorScales scales, const float* __restrict update, float* __restrict parameter,
                           Copy copy, int64_t count) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      const float x = rounded::multiply(scales.step, update[i]);
      parameter[i] = rounded::subtract(rounded::multiply(scales.decay, parameter[i]), x);
      copy.store(i, parameter[i]);
    }
  }
};

template <class Copy>
struct ApplyWithMoment {
  SMPO_INNER_LOOP void run(AdafactorScales scales, float beta1, float m_weight, const float* __restrict update,
                           float* __restrict m, float* __restrict parameter, Copy copy, int64_t count) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      m[i] = adafactor_first_moment(beta1, m_weight, m[i], rounded::multiply(scales.step, update[i]));
      parameter[i] = rounded::subtract(rounded::multiply(scales.decay, parameter[i]), m[i]);
      copy.store(i, parameter[i]);
    }
  }
};

template <class CopyAt>
void run(const AdafactorArgs& args, InstructionSet set, CopyAt copy_at) {
  const AdafactorWorkspace w = adafactor_workspace(args);
  const float scale = args.grad_scale != nullptr ? *args.grad_scale : 1.0f;
  const int64_t elements = args.shape.elements();
  const int64_t chunks = args.shape.chunks();
  if (args.shape.factored) factored_moments(args, w, scale, set);

#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * kChunk;
    const int64_t count = std::min(kChunk, elements - begin);
    if (!args.shape.factored) {
      run_for<VectorMoments>(set, scale, args.eps, args.beta2, args.gradient + begin, args.v + begin, count);
    }
    alignas(64) float update[kChunk];
    update_of(args, w, scale, set, begin, count, update);
    run_for<SumSquares>(set, static_cast<const float*>(update), count, w.update_sums + chunk);
    if (args.scale_parameter) {
      run_for<SumSquares>(set, static_cast<const float*>(args.parameter + begin), count, w.parameter_sums + chunk);
    }
  }
  const AdafactorScales scales = adafactor_scales(
      args, args.scale_parameter ? sum_of_chunks(w.parameter_sums, chunks) : 0.0, sum_of_chunks(w.update_sums, chunks));

#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * kChunk;
    const int64_t count = std::min(kChunk, elements - begin);
    alignas(64) float update[kChunk];
    update_of(args, w, scale, set, begin, count, update);
    const auto copy = copy_at(begin);
    using Copy = std::remove_const_t<decltype(copy)>;
    if (args.m == nullptr) {
      run_for<Apply<Copy>>(set, scales, static_cast<const float*>(update), args.parameter + begin, copy, count);
    } else {
      run_for<ApplyWithMoment<Copy>>(set, scales, static_cast<float>(args.beta1), static_cast<float>(1 - args.beta1),
                                     static_cast<const float*>(update), args.m + begin, args.parameter + begin, copy,
                                     count);
    }
  }
}

}  // namespace

void adafactor(const AdafactorArgs& args, InstructionSet set) {
  if ((args.finite != nullptr && *args.finite == 0) || args.shape.elements() == 0) {
    return;
  }
  if (args.compute == nullptr) {
    run(args, set, [](int64_t) { return NoCopy{}; });
  } else if (args.compute_dtype == DType::kBF16) {
    run(args, set, [&](int64_t begin) { return CopyTo<BFloat16>{static_cast<BFloat16*>(args.compute) + begin}; });
  } else {
    run(args, set, [&](int64_t begin) { return CopyTo<float>{static_cast<float*>(args.compute) + begin}; });
  }
}

void adafactor_group(const AdafactorGroupArgs& group, InstructionSet set) {
  for (int64_t i = 0; i < group.count; ++i) {
    adafactor(adafactor_args(group, group.tensors[i]), set);
  }
}

}  // namespace smpo::kernels::cpu
