// One kernel for every pair loss: errors of the rows, loss of each pair, gradient of the policy's prediction.
//
// Shapes: P pairs; R = 2P rows, winners in rows 0..P-1, the loser of pair p in row P + p; N elements of one row
// (4 * h * w of a latent). Tensors are dense and row-major and need no alignment beyond that of their element.
//
// Stage 1, per row:   l[r] = mean over N of (prediction - target)^2    the policy's error
//                     r[r] = mean over N of (reference - target)^2     the reference's error
// Stage 2, per pair:  k = kappa * beta * logit_scale, D = (l_w - l_l) - (r_w - r_l), sp = softplus, s = logistic
//
//   kind  logit u              loss of the pair                                 d/dl_w
//   DPO   -kD                  sp(-u)                                           k s(-u)
//   SmPO  -k gamma (2p-1) D    sp(-u)                                           k gamma (2p-1) s(-u)
//   NPO   -kD                  sp(u)                                            -k s(u)
//   DMPO  -kD                  KL(Bern(s(u)) || Bern(1-alpha))                  -k s(u) s(-u) (u - logit(1-alpha))
//   IPO   -kD                  (margin - u)^2                                   2k (margin - u)
//   CaPO  -kD                  (label - u)^2                                    2k (label - u)
//   KTO   -kD                  mean over both rows of lambda_y (1 - s(v)),      lambda_y k s(v) s(-v) / 2, per row with
//                              v = y k (r - l - z0), y = +1 or -1               the sign of its own y
//   MaPO  T (f(l_w) - f(l_l))  l_w + b sp(-u), f(x) = sx / (e^(sx) - 1)         1 - b T s(-u) f'(l_w)
//   SFT   0                    l_w                                              1
//
//   d/dl_l = -d/dl_w, but for KTO (above), MaPO (+ b T s(-u) f'(l_l)) and SFT (0). Added to any kind with a reference:
//   BCR budget       + budget_weight * max(0, k (l_w - r_w) - budget)           + budget_weight * k where exceeded
//   Around any kind:
//   winner safeguard the loser's gradient times clamp((1 - mu) |g_w|^2 / (g_w . g_l + 1e-9), 0, 1) if g_w . g_l > 0,
//                    else times 1, with g = 2 (prediction - target) / N per row. The loss keeps its value.
//   pair weight      loss and gradients of the pair times weight_P.
// Stage 3, per row:   d_prediction = d_error * 2 (prediction - target) / N
//
// The logit u is that of "the policy prefers the winner, more than the reference does", in every kind that has a
// reference; the mean of u > 0 is the implicit accuracy. NPO trains against it.
//
// Sources: arXiv 2311.12908 eq. 14 (DPO; also InPO, arXiv 2503.18454, on inverted latents), 2506.02698 (SmPO),
// 2505.11245 (NPO), 2507.07510 (DMPO), 2310.12036 (IPO), 2502.02588 (CaPO), 2404.04465 eq. 8 (KTO), 2406.06424 (MaPO),
// 2411.05875 (BCR), 2511.03317 (winner safeguard), 2504.05831 (DoRA, by weights). Public code divides errors by N and
// so does this kernel: beta is in units of the mean error.
//
// Tolerance against the reference: errors as in row_mean_squared_error.h (kRowErrorTolerance); stage 2 is f64 from
// those errors, so that logit, loss and d_error inherit their difference times the loss's slope; d_prediction rounds
// three times to f32 and once to its own type. |d_prediction - reference| <= kGradientTolerance * |reference| (+ half
// an ulp of bf16) for equal d_error.
//
// Not a number and infinity are never hidden: one in any element that is read makes the loss of its pair, its two
// gradients and loss_sum NaN, even where the loss would not depend on that row or would saturate.
#ifndef SMPO_KERNELS_PREFERENCE_LOSS_H_
#define SMPO_KERNELS_PREFERENCE_LOSS_H_

#include <cstdint>

#include "kernels/cpu/dispatch.h"
#include "kernels/cuda/stream.h"
#include "kernels/row_mean_squared_error.h"
#include "kernels/types.h"

namespace smpo::kernels {

/// DPO is also InPO's: the two differ in their latents.
enum class PairLossKind : int32_t {
  kDpo = 1,
  kSmpo = 2,
  kNpo = 3,
  kDmpo = 4,
  kIpo = 5,
  kCapo = 6,
  kKto = 7,
  kMapo = 8,
  kSft = 9
};

/// MaPO and SFT look at the policy alone.
SMPO_HOST_DEVICE constexpr bool has_reference(PairLossKind kind) {
  return kind != PairLossKind::kMapo && kind != PairLossKind::kSft;
}

/// Where KTO's reference point z0 comes from.
enum class KtoBaseline : int32_t {
  kGiven = 1,      // PairLoss::kto_baseline: from a larger batch, or a running mean
  kMicroBatch = 2  // max(0, mean over the 2P rows of r - l), of this call; a constant to the gradient
};

/// What is lost on a pair. A field that the kind does not read is not looked at.
struct PairLoss {
  PairLossKind kind = PairLossKind::kDpo;

  /// Strength, in units of the mean error. All kinds but MaPO and SFT.
  double beta = 0.0;
  /// Factor beside beta: 1/2 in the published DPO, SmPO, InPO, DMPO and SDXL NPO code, 1 in KTO, CaPO and SD 1.5 NPO.
  double kappa = 0.5;

  /// SmPO: sensitivity, the factor of 2p - 1.
  double gamma = 10.0;
  /// DMPO: share that the target distribution gives to the loser. 1 - alpha is clamped to [1e-6, 1 - 1e-6].
  double alpha = 0.01;
  /// IPO: the logit aimed at.
  double margin = 0.5;

  /// MaPO: s, T and b of the table.
  double mapo_scale = 0.5;
  double mapo_temperature = 1000.0;
  double mapo_weight = 0.1;

  /// KTO: weights of desirable and undesirable rows, and the reference point.
  double desirable_weight = 1.0;
  double undesirable_weight = 1.0;
  KtoBaseline kto_baseline_source = KtoBaseline::kMicroBatch;
  double kto_baseline = 0.0;

  /// BCR, on top of any kind with a reference: weight of the term (0: none), and how far the winner's log ratio to the
  /// reference may fall, in units of the logit, before it costs.
  double budget_weight = 0.0;
  double budget = 0.0;

  /// Winner safeguard, around any kind: on or off, and mu, the share of the winner's improvement that is kept.
  bool winner_safeguard = false;
  double safeguard_mu = 0.9;
};

struct PreferenceLossArgs {
  int64_t pairs = 0;     // P
  int64_t elements = 0;  // N >= 1
  PairLoss loss;

  /// The policy's prediction, epsilon or v.
  const void* prediction_RN = nullptr;
  DType prediction_dtype = DType::kF32;
  /// Kinds with a reference need one of these two: its prediction, or its errors (of an earlier
  /// row_mean_squared_error). For the others both may be null; reference errors are then reported as 0.
  const void* reference_RN = nullptr;
  DType reference_dtype = DType::kF32;
  const double* reference_error_R = nullptr;
  /// What was to be predicted.
  const void* target_RN = nullptr;
  DType target_dtype = DType::kF32;

  /// SmPO: the smoothed label p. CaPO: the difference of calibrated rewards. Read by these two alone.
  const double* label_P = nullptr;
  /// Factor of beta that depends on the pair (a weight of its timestep). Null: 1.
  const double* logit_scale_P = nullptr;
  /// Weight of the pair (DoRA's row factors, importance weights). Null: 1.
  const double* weight_P = nullptr;
  /// KTO: 1 where a row is desirable, 0 where it is not. Null: winners are, losers are not. KTO's rows are single
  /// images; with this they need not be pairs.
  const uint8_t* desirable_R = nullptr;

  /// Factor of loss_sum and of every gradient: 1 / (pairs in the whole batch), so that micro-batches add up to a mean.
  double gradient_scale = 1.0;

  /// Out. Errors: policy winner, policy loser, reference winner, reference loser.
  double* error_4P = nullptr;
  double* logit_P = nullptr;
  /// Loss of each pair, without weight and gradient_scale.
  double* loss_P = nullptr;
  /// Factor of the loser's gradient that the winner safeguard chose; 1 where it is off. May be null.
  double* safeguard_P = nullptr;
  /// Derivative of loss_sum by the policy's error of each row, safeguard included.
  double* d_error_R = nullptr;
  /// gradient_scale * sum over p of weight * loss: one number, overwritten.
  double* loss_sum = nullptr;
  /// Gradient by the policy's prediction, in its dtype. May be prediction_RN itself. Null: no gradient is written.
  void* d_prediction_RN = nullptr;

  /// preference_loss_workspace_bytes(args) bytes, aligned to 8; contents before and after mean nothing.
  void* workspace = nullptr;
};

/// Bytes that `workspace` must hold: one partial sum per chunk for each row of the policy, each row of the reference
/// (if its prediction is given), and each pair's inner product (if the safeguard is on).
constexpr int64_t preference_loss_workspace_bytes(const PreferenceLossArgs& args) {
  const int64_t rows = 2 * args.pairs * (args.reference_RN != nullptr ? 2 : 1);
  const int64_t products = args.loss.winner_safeguard ? args.pairs : 0;
  return (rows + products) * row_sum::chunks_of(args.elements) * static_cast<int64_t>(sizeof(double));
}

/// Three roundings to f32: the difference, the factor, the product.
inline constexpr double kGradientTolerance = 3.5 / 16777216.0;

namespace reference {

/// Mean errors of one pair; zeros for a reference that there is not.
struct PairErrors {
  double policy_winner = 0.0;
  double policy_loser = 0.0;
  double reference_winner = 0.0;
  double reference_loser = 0.0;
};

/// What the loss reads about one pair beside its errors.
struct PairFactors {
  double label = 0.5;
  double logit_scale = 1.0;
  double kto_baseline = 0.0;
  bool winner_desirable = true;
  bool loser_desirable = false;
};

struct PairValue {
  double logit = 0.0;
  double loss = 0.0;
  double d_winner = 0.0;
  double d_loser = 0.0;
};

/// Stage 2 for one pair, without safeguard, weight and gradient_scale: each formula as its paper prints it.
PairValue pair_value(const PairLoss& loss, const PairErrors& errors, const PairFactors& factors);

/// DMPO's divergence and its derivative by the logit.
struct LogitValue {
  double loss = 0.0;
  double d_logit = 0.0;
};
LogitValue dmpo_of_logit(double logit, double alpha);

/// The winner safeguard's factor, from the squared norm of the winner's output gradient and its inner product with the
/// loser's.
double safeguard_factor(double winner_norm_squared, double inner_product, double mu);

/// The definition, in f64. Reads no workspace; |prediction - target| may be anything that f64 can square.
void preference_loss(const PreferenceLossArgs& args);

}  // namespace reference

namespace cpu {
/// One parallel region. The bits of every output are the same for every instruction set and number of threads.
void preference_loss(const PreferenceLossArgs& args, InstructionSet set = best_instruction_set());
}  // namespace cpu

namespace cuda {
/// Every pointer is device memory. Three launches. Errors have the bits of the CPU's.
void preference_loss(const PreferenceLossArgs& args, Stream stream);
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_PREFERENCE_LOSS_H_
