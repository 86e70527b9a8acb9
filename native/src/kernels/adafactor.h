// One step of Adafactor (Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", arXiv
// 1804.04235) for one parameter, as transformers.optimization.Adafactor does it; the compute copy of the weights is
// refreshed in the same pass.
//
// A tensor of two or more dimensions is a batch of matrices over its last two, and keeps the row and column means of
// its second moment. In memory it is [O,R,C,I]: a row-major [..,R,C] has O = the rest and I = 1; a filter
// [out,in,kh,kw] with channels_last strides has O = out, R = kh, C = kw, I = in, so that (o,i) is the batch. A vector
// keeps all of its second moment.
//
//   g = grad_scale * gradient,  u = g^2 + eps
//   row_ORI    = beta2 row_ORI    + (1 - beta2) mean over C of u
//   column_OCI = beta2 column_OCI + (1 - beta2) mean over R of u
//   update = 1 / sqrt(row / mean over R of row) * 1 / sqrt(column) * g          (a vector: 1 / sqrt(v) * g)
//   lr'    = lr * max(parameter_eps, rms(parameter)) if scale_parameter, else lr
//   x      = lr' * update / max(1, rms(update) / clip_threshold)
//   x = m  = beta1 m + (1 - beta1) x                                            (with a first moment)
//   parameter = (1 - weight_decay lr') parameter - x;  compute = parameter, rounded to nearest even if it is bf16
//
// The caller passes beta2 = 1 - step^decay_rate. Shapes: N = O R C I elements; dense, no alignment beyond that of an
// element. The buffers do not overlap.
//
// Sums are in double, in an order that depends on the shape alone, so that every device, instruction set and thread
// count gives the same bits:
//  - a row's: for I = 1 lane j of kRowLanes adds columns j, j + kRowLanes, .. in ascending order and the lanes are
//    added as a tree of halves; for I > 1 in ascending order;
//  - a column's: in ascending order within blocks of kRowBlock rows, then the blocks in ascending order;
//  - the mean of row_ORI: as a row's with kLanes lanes for I = 1, in ascending order for I > 1;
//  - rms: the tensor as it lies is cut into chunks of kChunk elements; lane j of kLanes adds the squares of elements
//    j, j + kLanes, .. of a chunk, the lanes are added as a tree of halves, and the chunks' sums are added likewise.
//
// Error of one step against the reference, with u = 2^-24: row, column and v within 4u relative; x without a first
// moment within 24u relative; m within 26u (|m| + |x|); the parameter within 3u |p| and the error of x.
#ifndef SMPO_KERNELS_ADAFACTOR_H_
#define SMPO_KERNELS_ADAFACTOR_H_

#include <cmath>
#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/rounding.h"
#include "kernels/types.h"

namespace smpo::kernels {

namespace adafactor_order {
inline constexpr int64_t kRowLanes = 32;
inline constexpr int64_t kRowBlock = 64;
inline constexpr int64_t kLanes = 256;
inline constexpr int64_t kChunk = 16384;
}  // namespace adafactor_order

/// Memory layout of a parameter.
struct AdafactorShape {
  int64_t outer = 1;    // O
  int64_t rows = 1;     // R
  int64_t columns = 1;  // C
  int64_t inner = 1;    // I
  bool factored = true;

  SMPO_HOST_DEVICE int64_t elements() const { return outer * rows * columns * inner; }
  /// Elements of row_ORI and of column_OCI.
  SMPO_HOST_DEVICE int64_t row_elements() const { return factored ? outer * rows * inner : 0; }
  SMPO_HOST_DEVICE int64_t column_elements() const { return factored ? outer * columns * inner : 0; }
  SMPO_HOST_DEVICE int64_t chunks() const {
    return (elements() + adafactor_order::kChunk - 1) / adafactor_order::kChunk;
  }
  SMPO_HOST_DEVICE int64_t row_blocks() const {
    return (rows + adafactor_order::kRowBlock - 1) / adafactor_order::kRowBlock;
  }
};

struct AdafactorArgs {
  AdafactorShape shape = {};
  float* parameter = nullptr;       // [O,R,C,I] in and out: the master weights
  const float* gradient = nullptr;  // [O,R,C,I]
  float* m = nullptr;               // [O,R,C,I] in and out: transformers' exp_avg; null: no first moment
  float* row = nullptr;             // [O,R,I] in and out: exp_avg_sq_row, where factored
  float* column = nullptr;          // [O,C,I] in and out: exp_avg_sq_col, where factored
  float* v = nullptr;               // [O,R,C,I] in and out: exp_avg_sq, where not

  void* compute = nullptr;  // [O,R,C,I] out, or null: no copy is wanted
  DType compute_dtype = DType::kBF16;

  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double eps = 1e-30;           // above 0
  double parameter_eps = 1e-3;  // read with scale_parameter
  double clip_threshold = 1;    // above 0
  double weight_decay = 0;
  bool scale_parameter = false;

  /// Read where the kernel runs; null: 1. See GradNormResult::clip_coefficient.
  const float* grad_scale = nullptr;
  /// Read where the kernel runs; null: 1. When it reads 0, nothing is written. See GradNormResult::finite.
  const int32_t* finite = nullptr;

  /// adafactor_workspace_bytes(shape) bytes, aligned to 8; uninitialized before and after.
  void* workspace = nullptr;
};

/// Results of the sums over the whole parameter.
struct AdafactorScales {
  float step;   // lr' / max(1, rms(update) / clip_threshold)
  float decay;  // 1 - weight_decay lr'
};

/// Parts of the workspace.
struct AdafactorWorkspace {
  double* parameter_sums;  // [chunks]
  double* update_sums;     // [chunks]
  double* column_sums;     // [O,row_blocks,C,I] where there is more than one block
  AdafactorScales* scales;
  float* row_factors;     // [O,R,I]
  float* column_factors;  // [O,C,I]
};

SMPO_HOST_DEVICE int64_t adafactor_column_sums(const AdafactorShape& shape) {
  const int64_t blocks = (shape.rows + adafactor_order::kRowBlock - 1) / adafactor_order::kRowBlock;
  return shape.factored && blocks > 1 ? shape.outer * blocks * shape.columns * shape.inner : 0;
}

SMPO_HOST_DEVICE AdafactorWorkspace adafactor_workspace(const AdafactorArgs& args) {
  const AdafactorShape& shape = args.shape;
  auto* doubles = static_cast<double*>(args.workspace);
  AdafactorWorkspace w{};
  w.parameter_sums = doubles;
  w.update_sums = w.parameter_sums + shape.chunks();
  w.column_sums = w.update_sums + shape.chunks();
  w.scales = reinterpret_cast<AdafactorScales*>(w.column_sums + adafactor_column_sums(shape));
  w.row_factors = reinterpret_cast<float*>(w.scales + 1);
  w.column_factors = w.row_factors + shape.row_elements();
  return w;
}

inline int64_t adafactor_workspace_bytes(const AdafactorShape& shape) {
  return (2 * shape.chunks() + adafactor_column_sums(shape)) * static_cast<int64_t>(sizeof(double)) +
         static_cast<int64_t>(sizeof(AdafactorScales)) +
         (shape.row_elements() + shape.column_elements()) * static_cast<int64_t>(sizeof(float));
}

// ---- many parameters at once

/// Stages of the device kernels that run over all parameters: second moments; means of rows and sums of columns; chunks
/// of the tensor in memory order.
enum class AdafactorStage : int32_t { kMoments = 0, kFactors = 1, kChunks = 2 };
inline constexpr int kAdafactorStages = 3;

/// Buffers of one parameter: AdafactorArgs without what all share. On the device, whose kernels run over all of them at
/// once, each parameter has its own workspace; on the CPU they may share one.
struct AdafactorTensor {
  AdafactorShape shape = {};
  float* parameter = nullptr;
  const float* gradient = nullptr;
  float* m = nullptr;
  float* row = nullptr;
  float* column = nullptr;
  float* v = nullptr;
  void* compute = nullptr;
  void* workspace = nullptr;
  /// By stage, the number of its first unit of work (what a block does) among all tensors': `adafactor_place` fills it.
  int64_t first_unit[kAdafactorStages] = {};
};

struct AdafactorGroupArgs {
  /// The tensors, in memory of the device that runs the kernels.
  const AdafactorTensor* tensors = nullptr;
  int64_t count = 0;
  /// Number of units of all tensors by stage.
  int64_t units[kAdafactorStages] = {};
  /// Arguments that all share: the numbers, the dtype of copies, grad_scale and finite. The rest is not read.
  AdafactorArgs rule = {};
  /// Whether every tensor has a compute copy; else none has.
  bool copies = false;
};

/// Number of units of work of one tensor by stage.
constexpr int64_t adafactor_units(const AdafactorShape& shape, AdafactorStage stage) {
  using adafactor_order::kLanes;
  const auto blocks = [](int64_t count, int64_t each) { return (count + each - 1) / each; };
  const int64_t elements = shape.outer * shape.rows * shape.columns * shape.inner;
  if (stage == AdafactorStage::kChunks) return blocks(elements, adafactor_order::kChunk);
  if (!shape.factored) return stage == AdafactorStage::kMoments ? blocks(elements, kLanes) : 0;
  const int64_t row_blocks = blocks(shape.rows, adafactor_order::kRowBlock);
  const bool dense = shape.inner == 1;
  if (stage == AdafactorStage::kMoments) {
    // A warp sums a dense row, a thread a strided one.
    return blocks(shape.outer * shape.rows * shape.inner, dense ? kLanes / adafactor_order::kRowLanes : kLanes) +
           blocks(shape.outer * row_blocks * shape.columns * shape.inner, kLanes);
  }
  return (row_blocks > 1 ? blocks(shape.outer * shape.columns * shape.inner, kLanes) : 0) +
         (dense ? shape.outer : blocks(shape.outer * shape.inner, kLanes));
}

/// Numbers the units of `count` tensors in host memory; the totals by stage are AdafactorGroupArgs::units.
inline void adafactor_place(AdafactorTensor* tensors, int64_t count, int64_t* units) {
  for (int stage = 0; stage < kAdafactorStages; ++stage) {
    units[stage] = 0;
    for (int64_t i = 0; i < count; ++i) {
      tensors[i].first_unit[stage] = units[stage];
      // An empty tensor has no units, not even for its means.
      if (tensors[i].shape.elements() == 0) continue;
      units[stage] += adafactor_units(tensors[i].shape, static_cast<AdafactorStage>(stage));
    }
  }
}

/// Returns one tensor's step as AdafactorArgs.
SMPO_HOST_DEVICE AdafactorArgs adafactor_args(const AdafactorGroupArgs& group, const AdafactorTensor& tensor) {
  AdafactorArgs args = group.rule;
  args.shape = tensor.shape;
  args.parameter = tensor.parameter;
  args.gradient = tensor.gradient;
  args.m = tensor.m;
  args.row = tensor.row;
  args.column = tensor.column;
  args.v = tensor.v;
  args.compute = tensor.compute;
  args.workspace = tensor.workspace;
  return args;
}

// ---- the arithmetic of one element, the same everywhere

/// u. The square of a float is exact in double.
SMPO_HOST_DEVICE double adafactor_square(float grad_scale, float gradient, double eps) {
  const auto g = static_cast<double>(rounded::multiply(grad_scale, gradient));
  return rounded::add(rounded::multiply(g, g), eps);
}

/// A second moment after a step, from the mean of u.
SMPO_HOST_DEVICE float adafactor_moment(double beta2, float moment, double mean) {
  return static_cast<float>(rounded::add(rounded::multiply(beta2, static_cast<double>(moment)),
                                         rounded::multiply(rounded::subtract(1.0, beta2), mean)));
}

SMPO_HOST_DEVICE float adafactor_inverse_root(float x) { return rounded::divide(1.0f, rounded::square_root(x)); }

/// `mean`: mean of the rows.
SMPO_HOST_DEVICE float adafactor_row_factor(float row, double mean) {
  return adafactor_inverse_root(rounded::divide(row, static_cast<float>(mean)));
}

SMPO_HOST_DEVICE float adafactor_update(float row_factor, float column_factor, float grad_scale, float gradient) {
  return rounded::multiply(rounded::multiply(row_factor, column_factor), rounded::multiply(grad_scale, gradient));
}

SMPO_HOST_DEVICE float adafactor_vector_update(float v, float grad_scale, float gradient) {
  return rounded::multiply(adafactor_inverse_root(v), rounded::multiply(grad_scale, gradient));
}

/// From the sums of squares of the parameter (read with scale_parameter only) and of its update.
SMPO_HOST_DEVICE AdafactorScales adafactor_scales(const AdafactorArgs& args, double parameter_sum, double update_sum) {
  const auto n = static_cast<double>(args.shape.elements());
  double lr = args.lr;
  if (args.scale_parameter) {
    const double rms = sqrt(parameter_sum / n);
    lr = rounded::multiply(lr, rms > args.parameter_eps ? rms : args.parameter_eps);
  }
  const double excess = sqrt(update_sum / n) / args.clip_threshold;
  return AdafactorScales{static_cast<float>(lr / (excess > 1.0 ? excess : 1.0)),
                         static_cast<float>(rounded::subtract(1.0, rounded::multiply(args.weight_decay, lr)))};
}

/// A first moment after a step; what it returns takes the place of x.
SMPO_HOST_DEVICE float adafactor_first_moment(float beta1, float m_weight, float m, float x) {
  return rounded::add(rounded::multiply(beta1, m), rounded::multiply(m_weight, x));
}

namespace reference {
/// The definition, in double; each result is rounded once. Uses no workspace.
void adafactor(const AdafactorArgs& args);
}  // namespace reference

namespace cpu {
void adafactor(const AdafactorArgs& args, InstructionSet set = best_instruction_set());
/// One tensor after the other.
void adafactor_group(const AdafactorGroupArgs& group, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory. Five launches, however many tensors there are.
void adafactor_group(const AdafactorGroupArgs& group, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_ADAFACTOR_H_
