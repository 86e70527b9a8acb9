// One step of AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101, algorithm 2)
// over flat buffers, in the order of operations of torch.optim.AdamW; the compute copy of the weights is refreshed in
// the same pass.
//
//   g = grad_scale * gradient_N[i]
//   p = (1 - lr weight_decay) * parameter_N[i]
//   m = m + (1 - beta1) (g - m)
//   v = beta2 v + (1 - beta2) g^2
//   parameter_N[i] = p - (lr / bias_correction1) * m / (sqrt(v) / sqrt(bias_correction2) + eps)
//   compute_N[i] = parameter_N[i], rounded to nearest even if it is bf16
//
// Shapes: N elements; dense, no alignment beyond that of an element. The buffers do not overlap.
//
// Elements are independent; cpu and cuda use the same rounded operations in the same order and give the same bits.
// Error of one step against the reference, with u = 2^-24: v within 5u relative; m within 5u (|m| + |g|); the parameter
// within 3u |p| + 12u |update| + (lr / bias_correction1) / denominator times the error of m.
#ifndef SMPO_KERNELS_ADAMW_H_
#define SMPO_KERNELS_ADAMW_H_

#include <cmath>
#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/rounding.h"
#include "kernels/types.h"

namespace smpo::kernels {

struct AdamWArgs {
  int64_t elements = 0;             // N
  float* parameter = nullptr;       // [N] in and out: the master weights
  const float* gradient = nullptr;  // [N]
  float* m = nullptr;               // [N] in and out: first moment, torch's exp_avg
  float* v = nullptr;               // [N] in and out: second moment, torch's exp_avg_sq; not negative

  void* compute = nullptr;  // [N] out, or null: no copy is wanted
  DType compute_dtype = DType::kBF16;

  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  double bias_correction1 = 1;  // 1 - beta1^step, step from 1
  double bias_correction2 = 1;  // 1 - beta2^step

  /// Read where the kernel runs; null: 1. See GradNormResult::clip_coefficient.
  const float* grad_scale = nullptr;
  /// Read where the kernel runs; null: 1. When it reads 0, nothing is written. See GradNormResult::finite.
  const int32_t* finite = nullptr;
};

/// The step's constants, computed in double and narrowed once.
struct AdamWCoefficients {
  float decay;               // 1 - lr weight_decay
  float m_weight;            // 1 - beta1
  float v_keep;              // beta2
  float v_weight;            // 1 - beta2
  float step_size;           // lr / bias_correction1
  float inverse_sqrt_bias2;  // 1 / sqrt(bias_correction2)
  float eps;
};

inline AdamWCoefficients adamw_coefficients(const AdamWArgs& args) {
  return AdamWCoefficients{.decay = static_cast<float>(1 - args.lr * args.weight_decay),
                           .m_weight = static_cast<float>(1 - args.beta1),
                           .v_keep = static_cast<float>(args.beta2),
                           .v_weight = static_cast<float>(1 - args.beta2),
                           .step_size = static_cast<float>(args.lr / args.bias_correction1),
                           .inverse_sqrt_bias2 = static_cast<float>(1 / std::sqrt(args.bias_correction2)),
                           .eps = static_cast<float>(args.eps)};
}

/// Updates one element: writes m and v, returns the parameter.
SMPO_HOST_DEVICE float adamw_element(const AdamWCoefficients& c, float grad_scale, float parameter, float gradient,
                                     float& m, float& v) {
  const float g = rounded::multiply(grad_scale, gradient);
  m = rounded::multiply_add(c.m_weight, rounded::subtract(g, m), m);
  v = rounded::add(rounded::multiply(c.v_keep, v), rounded::multiply(rounded::multiply(c.v_weight, g), g));
  const float denominator = rounded::multiply_add(rounded::square_root(v), c.inverse_sqrt_bias2, c.eps);
  const float update = rounded::divide(rounded::multiply(c.step_size, m), denominator);
  return rounded::subtract(rounded::multiply(c.decay, parameter), update);
}

namespace reference {
/// The definition, in double; each result is rounded once.
void adamw(const AdamWArgs& args);
}  // namespace reference

namespace cpu {
void adamw(const AdamWArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory. One launch.
void adamw(const AdamWArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_ADAMW_H_
