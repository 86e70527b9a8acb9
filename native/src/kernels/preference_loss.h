// One kernel for every pair loss. It computes the errors of each image, the loss of each pair, and the gradient with
// respect to the prediction.
//
// Shapes: P pairs; R = 2P rows, winners in rows 0..P-1, the loser of pair p in row P + p; N elements of one row
// (4 * h * w of a latent). Tensors are dense and row-major and need no alignment beyond that of their element.
// With `images` 1, P single images are R = P rows; SFT, KTO and PSEUDO_HUBER can do that.
//
// Stage 1, per row:   l[r] = mean over N of (prediction - target)^2    the policy's error
//                     r[r] = mean over N of (reference - target)^2     the reference's error
//                     PSEUDO_HUBER: l[r] = mean over N of sqrt(x^2 + c^2) - c, x = q (prediction - target), computed as
//                     x^2 / (sqrt(x^2 + c^2) + c), in which nothing cancels
// Stage 2, per pair:  the loss and its derivatives with respect to l_w and l_l. smpo.h lists the losses and the two
//                     additions, budget and safeguard; pair_loss_math.h has the code. Most losses are a function of
//                     the logit u = -k D, k = strength * logit_scale, D = (l_w - l_l) - (r_w - r_l),
//                     so that d loss / d l_w = -k d loss / d u and d loss / d l_l = +k d loss / d u.
//                     SFT of a single image costs q^2 l.
//                     The pair's weight multiplies its loss and its derivatives.
// Stage 3, per row:   d_prediction = d_error * 2 (prediction - target) / N
//                     PSEUDO_HUBER: d_prediction = d_error * q^2 (prediction - target) / sqrt(x^2 + c^2) / N
//
// The logit u answers "does the policy prefer the winner, more than the reference does?" for every kind with a
// reference, so the share of pairs with u > 0 is the implicit accuracy. NPO trains u downwards.
//
// Sources: arXiv 2311.12908 eq. 14 (DPO; also InPO, arXiv 2503.18454, on inverted latents), 2506.02698 (SmPO),
// 2505.11245 (NPO), 2507.07510 (DMPO), 2310.12036 (IPO), 2502.02588 (CaPO), 2404.04465 eq. 8 (KTO), 2406.06424 (MaPO),
// 2411.05875 (budget), 2511.03317 (safeguard), 2504.05831 (DoRA, by weights). Like public code, this kernel divides
// errors by N, so strength is in units of the mean error.
//
// Tolerance against the reference: errors as in row_mean_squared_error.h (kRowErrorTolerance). Stage 2 computes in f64
// from those errors, so logit, loss and d_error inherit their difference times the slope of the loss. d_prediction
// rounds three times to f32 and once to its own type: |d_prediction - reference| <= kGradientTolerance * |reference| (+
// half an ulp of bf16) for equal d_error. PSEUDO_HUBER: kHuberErrorTolerance and kHuberGradientTolerance instead.
//
// NaN and infinity are never hidden: either of them in any element that is read makes the loss of its pair, its two
// derivatives and loss_sum NaN, even where the loss does not depend on that row or saturates.
#ifndef SMPO_KERNELS_PREFERENCE_LOSS_H_
#define SMPO_KERNELS_PREFERENCE_LOSS_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/row_mean_squared_error.h"
#include "kernels/types.h"
#include "smpo.h"

namespace smpo::kernels {

/// The loss as the C interface passes it. smpo.h documents its fields.
using PairLoss = smpo_pair_loss;

struct PreferenceLossArgs {
  int64_t pairs = 0;     // P
  int64_t images = 2;    // images of an item: 2, a pair; 1, a single image
  int64_t elements = 0;  // N >= 1
  PairLoss loss = {};

  /// The policy's prediction, epsilon or v.
  const void* prediction_RN = nullptr;
  DType prediction_dtype = DType::kF32;
  /// Kinds with a reference need one of these two: its prediction, or its errors (of an earlier
  /// row_mean_squared_error). For the others both may be null; reference errors are then reported as 0.
  const void* reference_RN = nullptr;
  DType reference_dtype = DType::kF32;
  const double* reference_error_R = nullptr;
  /// The value that the policy should predict.
  const void* target_RN = nullptr;
  DType target_dtype = DType::kF32;

  /// SmPO: the smoothed label p. CaPO: the difference of calibrated rewards. Other kinds do not read it.
  const double* label_P = nullptr;
  /// Factor of beta for each pair, such as a weight for its timestep. Null: 1.
  const double* logit_scale_P = nullptr;
  /// Weight of the pair (DoRA's row factors, importance weights). Null: 1.
  const double* weight_P = nullptr;
  /// KTO: the reference point z0, one number, such as the mean gain of a larger batch. Null: max(0, mean of r - l over
  /// the 2P rows of this call). The gradient treats it as a constant.
  const double* mean_gain = nullptr;
  /// KTO: 1 where a row is desirable, 0 where it is not. Null: winners are desirable, losers are not. KTO treats rows
  /// as single images, so rows with these flags need not form pairs.
  const uint8_t* desirable_R = nullptr;
  /// PSEUDO_HUBER, SFT of single images: factor q of each row's differences. Null: 1.
  const double* error_scale_R = nullptr;

  /// Factor of loss_sum and of every gradient: 1 / (pairs in the whole batch), so that the sum over micro-batches is a
  /// mean.
  double gradient_scale = 1.0;

  /// Out. Errors: policy winner, policy loser, reference winner, reference loser. The losers' are NaN where there are
  /// none.
  double* error_4P = nullptr;
  double* logit_P = nullptr;
  /// Loss of each pair, without weight and gradient_scale.
  double* loss_P = nullptr;
  /// Factor that the safeguard chose for the gradient of the image that is not favoured; 1 where it is off. May be
  /// null.
  double* safeguard_P = nullptr;
  /// Derivative of loss_sum with respect to the policy's error of each row, safeguard included.
  double* d_error_R = nullptr;
  /// gradient_scale * sum over p of weight * loss: one number, overwritten.
  double* loss_sum = nullptr;
  /// Gradient with respect to the policy's prediction, in its dtype. May be prediction_RN itself. Null: not written.
  void* d_prediction_RN = nullptr;

  /// preference_loss_workspace_bytes(args) bytes, aligned to 8. Its contents before and after the call have no meaning.
  void* workspace = nullptr;
};

/// Bytes that `workspace` must hold: one partial sum per chunk for each row of the policy, each row of the reference
/// (if its prediction is given), and each pair's inner product (if the safeguard is on).
constexpr int64_t preference_loss_workspace_bytes(const PreferenceLossArgs& args) {
  const int64_t rows = args.images * args.pairs * (args.reference_RN != nullptr ? 2 : 1);
  const int64_t products = args.loss.safeguard == 1 ? args.pairs : 0;
  return (rows + products) * row_sum::chunks_of(args.elements) * static_cast<int64_t>(sizeof(double));
}

/// Three roundings to f32: the difference, the factor, the product.
inline constexpr double kGradientTolerance = 3.5 / 16777216.0;

/// Roundings to f32: difference and q (2 each in the square), c (counted like another), product, square, sum, root,
/// sum, quotient, and three for the tree.
inline constexpr double kHuberErrorTolerance = 14.5 / 16777216.0;
/// Difference, factor, product, square, sum, root, product, quotient.
inline constexpr double kHuberGradientTolerance = 9.5 / 16777216.0;

namespace reference {

/// Mean errors of one pair; the reference's are zero for a loss without a reference.
struct PairErrors {
  double policy_winner = 0.0;
  double policy_loser = 0.0;
  double reference_winner = 0.0;
  double reference_loser = 0.0;
};

/// The values of one pair that the loss reads besides its errors.
struct PairFactors {
  double label = 0.5;
  double logit_scale = 1.0;
  double mean_gain = 0.0;
  bool winner_desirable = true;
  bool loser_desirable = false;
};

struct PairValue {
  double logit = 0.0;
  double loss = 0.0;
  double d_winner = 0.0;
  double d_loser = 0.0;
};

/// The loss of one single image and its derivative with respect to the policy's error.
struct SingleValue {
  double logit = 0.0;
  double loss = 0.0;
  double d_error = 0.0;
};

/// Computes stage 2 for one single image, without weight and gradient_scale. Of the factors, winner_desirable tells
/// whether the image is desirable.
SingleValue single_value(const PairLoss& loss, double policy, double reference, const PairFactors& factors);

/// Computes stage 2 for one pair, without safeguard, weight and gradient_scale. Each formula is as its paper prints it.
PairValue pair_value(const PairLoss& loss, const PairErrors& errors, const PairFactors& factors);

/// DMPO's divergence and its derivative with respect to the logit.
struct LogitValue {
  double loss = 0.0;
  double d_logit = 0.0;
};
LogitValue dmpo_of_logit(double logit, double alpha);

/// The safeguard's factor, from the squared norm of the favoured image's output gradient and its inner product with the
/// other image's.
double safeguard_factor(double favoured_norm_squared, double inner_product, double mu);

/// The definition, in f64. Does not use the workspace; |prediction - target| may be any value that f64 can square.
void preference_loss(const PreferenceLossArgs& args);

}  // namespace reference

namespace cpu {
/// Runs in one parallel region. Every output has the same bits for every instruction set and number of threads.
void preference_loss(const PreferenceLossArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Makes three launches. Every pointer is to device memory. Errors have the same bits as on the CPU.
void preference_loss(const PreferenceLossArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_PREFERENCE_LOSS_H_
