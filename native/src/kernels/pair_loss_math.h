// The scalar stage of preference_loss.h for the fast versions, shared by host and device. Every loss except MaPO, KTO,
// SFT, pseudo-Huber and SPO is a function of the logit u: `LogitLoss` holds its value and derivative, and the chain
// rule does the rest. Nothing here overflows for finite arguments, and log(logistic(u)) is never formed.
#ifndef SMPO_KERNELS_PAIR_LOSS_MATH_H_
#define SMPO_KERNELS_PAIR_LOSS_MATH_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/preference_loss.h"
#include "kernels/rounding.h"
#include "kernels/types.h"
#include "smpo.h"

namespace smpo::kernels::pair_loss_math {

SMPO_HOST_DEVICE smpo_pair_loss_kind kind_of(const PairLoss& loss) {
  return static_cast<smpo_pair_loss_kind>(loss.kind);
}

/// Number of parameters of a kind; -1 for an unknown kind.
constexpr int32_t parameter_count(int32_t kind) {
  switch (static_cast<smpo_pair_loss_kind>(kind)) {
    case SMPO_PAIR_LOSS_DPO:
    case SMPO_PAIR_LOSS_NPO:
    case SMPO_PAIR_LOSS_CAPO:
    case SMPO_PAIR_LOSS_SFT:
    case SMPO_PAIR_LOSS_HINGE:
      return 0;
    case SMPO_PAIR_LOSS_SMPO:
    case SMPO_PAIR_LOSS_DMPO:
    case SMPO_PAIR_LOSS_IPO:
    case SMPO_PAIR_LOSS_ROBUST:
    case SMPO_PAIR_LOSS_PSEUDO_HUBER:
    case SMPO_PAIR_LOSS_SPO:
      return 1;
    case SMPO_PAIR_LOSS_KTO:
      return 2;
    case SMPO_PAIR_LOSS_MAPO:
      return 3;
  }
  return -1;
}

/// Whether the kind uses a reference. MaPO, SFT and PSEUDO_HUBER read the policy's errors only.
SMPO_HOST_DEVICE constexpr bool has_reference(int32_t kind) {
  return kind != SMPO_PAIR_LOSS_MAPO && kind != SMPO_PAIR_LOSS_SFT && kind != SMPO_PAIR_LOSS_PSEUDO_HUBER;
}

/// Whether the kind is a loss of single images.
constexpr bool takes_single_images(int32_t kind) {
  return kind == SMPO_PAIR_LOSS_SFT || kind == SMPO_PAIR_LOSS_KTO || kind == SMPO_PAIR_LOSS_PSEUDO_HUBER;
}

/// Whether the kind is a loss of pairs.
constexpr bool takes_pairs(int32_t kind) { return kind != SMPO_PAIR_LOSS_PSEUDO_HUBER; }

/// Whether the kind reads `label`.
constexpr bool reads_label(int32_t kind) { return kind == SMPO_PAIR_LOSS_SMPO || kind == SMPO_PAIR_LOSS_CAPO; }

/// Whether training improves the loser and not the winner: that image is then the favoured one.
SMPO_HOST_DEVICE constexpr bool favours_loser(int32_t kind) { return kind == SMPO_PAIR_LOSS_NPO; }

/// log(1 + e^x), from the decaying exponential on both sides.
SMPO_HOST_DEVICE double softplus(double x) { return (x > 0.0 ? x : 0.0) + std::log1p(std::exp(x > 0.0 ? -x : x)); }

/// 1 / (1 + e^-x), with full relative precision in the lower tail.
SMPO_HOST_DEVICE double logistic(double x) {
  const double e = std::exp(x > 0.0 ? -x : x);
  return (x > 0.0 ? 1.0 : e) / (1.0 + e);
}

/// Mean errors of a pair.
struct Errors {
  double policy_winner;
  double policy_loser;
  double reference_winner;
  double reference_loser;
};

/// The values of the pair that the loss reads besides its errors.
struct Factors {
  double label;
  double logit_scale;
  double mean_gain;
  bool winner_desirable;
  bool loser_desirable;
};

struct Outcome {
  double logit;
  double loss;
  double d_winner;
  double d_loser;
};

struct LogitLoss {
  double loss;
  double d_logit;
};

SMPO_HOST_DEVICE LogitLoss prefer(double u) { return {softplus(-u), -logistic(-u)}; }

SMPO_HOST_DEVICE LogitLoss divergence(double u, double alpha) {
  double q = 1.0 - alpha;
  q = q < 1e-6 ? 1e-6 : q;
  q = q > 1.0 - 1e-6 ? 1.0 - 1e-6 : q;
  const double log_q = std::log(q);
  const double log_not_q = std::log1p(-q);
  const double p = logistic(u);
  const double not_p = logistic(-u);
  return {p * (-softplus(-u) - log_q) + not_p * (-softplus(u) - log_not_q), p * not_p * (u - (log_q - log_not_q))};
}

SMPO_HOST_DEVICE LogitLoss distance(double u, double aim) { return {(u - aim) * (u - aim), 2.0 * (u - aim)}; }

SMPO_HOST_DEVICE LogitLoss loss_of_logit(const PairLoss& loss, double label, double u) {
  switch (kind_of(loss)) {
    case SMPO_PAIR_LOSS_DPO:
    case SMPO_PAIR_LOSS_SMPO:
      return prefer(u);
    case SMPO_PAIR_LOSS_NPO: {
      const LogitLoss reversed = prefer(-u);
      return {reversed.loss, -reversed.d_logit};
    }
    case SMPO_PAIR_LOSS_DMPO: {
      const double alpha = loss.parameters[0];
      return divergence(u, alpha);
    }
    case SMPO_PAIR_LOSS_IPO: {
      const double margin = loss.parameters[0];
      return distance(u, margin);
    }
    case SMPO_PAIR_LOSS_CAPO:
      return distance(u, label);
    case SMPO_PAIR_LOSS_HINGE:
      return u < 1.0 ? LogitLoss{1.0 - u, -1.0} : LogitLoss{0.0, 0.0};
    case SMPO_PAIR_LOSS_ROBUST: {
      const double epsilon = loss.parameters[0];
      const double share = 1.0 / (1.0 - 2.0 * epsilon);
      return {share * ((1.0 - epsilon) * softplus(-u) - epsilon * softplus(u)),
              -share * ((1.0 - epsilon) * logistic(-u) + epsilon * logistic(u))};
    }
    case SMPO_PAIR_LOSS_KTO:
    case SMPO_PAIR_LOSS_MAPO:
    case SMPO_PAIR_LOSS_SFT:
    case SMPO_PAIR_LOSS_PSEUDO_HUBER:
    case SMPO_PAIR_LOSS_SPO:
      break;
  }
  return {u - u, 0.0 * u};
}

/// f(x) = y / (e^y - 1), y = s x, and its derivative with respect to x. Both are computed from e^-y: an error is not
/// negative, so nothing overflows.
struct MapoScore {
  double value;
  double derivative;
};

SMPO_HOST_DEVICE MapoScore mapo_score(double s, double x) {
  const double y = s * x;
  // Below this value, cancellation in the closed form of the derivative costs more digits than truncating the series.
  if (y < 0.02) {
    const double y2 = y * y;
    return {1.0 - y * (0.5 - y * (1.0 / 12.0 - y2 * (1.0 / 720.0 - y2 / 30240.0))),
            s * (-0.5 + y * (1.0 / 6.0 - y2 * (1.0 / 180.0 - y2 / 5040.0)))};
  }
  const double e = std::exp(-y);
  const double not_e = -std::expm1(-y);
  return {y * e / not_e, s * e * (not_e - y) / (not_e * not_e)};
}

SMPO_HOST_DEVICE Outcome mapo(const PairLoss& loss, const Errors& errors) {
  const double scale = loss.parameters[0];
  const double temperature = loss.parameters[1];
  const double weight = loss.parameters[2];
  const MapoScore winner = mapo_score(scale, errors.policy_winner);
  const MapoScore loser = mapo_score(scale, errors.policy_loser);
  const double u = temperature * (winner.value - loser.value);
  const LogitLoss value = prefer(u);
  const double d_score = weight * temperature * value.d_logit;
  return {u, errors.policy_winner + weight * value.loss, 1.0 + d_score * winner.derivative,
          -d_score * loser.derivative};
}

/// KTO's loss of one image, lambda (1 - s(v)) = lambda s(-v), and its derivative with respect to the policy's error.
struct KtoValue {
  double loss;
  double d_error;
};

SMPO_HOST_DEVICE KtoValue kto(const PairLoss& loss, double slope, double advantage, bool desirable) {
  const double signed_slope = desirable ? slope : -slope;
  const double weight = desirable ? loss.parameters[0] : loss.parameters[1];
  const double v = signed_slope * advantage;
  return {weight * logistic(-v), weight * signed_slope * logistic(v) * logistic(-v)};
}

/// An image's log ratio, clamped, and its derivative with respect to the ratio: 0 outside of the clamp.
struct ClampedRatio {
  double value;
  double derivative;
};

SMPO_HOST_DEVICE ClampedRatio clamped(double ratio, double clip) {
  const double low = std::log1p(-clip);
  const double high = std::log1p(clip);
  if (ratio < low) return {low, 0.0};
  if (ratio > high) return {high, 0.0};
  return {ratio, 1.0};
}

SMPO_HOST_DEVICE Outcome spo(const PairLoss& loss, double logit_scale, double winner_advantage,
                             double loser_advantage) {
  const ClampedRatio winner = clamped(logit_scale * winner_advantage, loss.parameters[0]);
  const ClampedRatio loser = clamped(logit_scale * loser_advantage, loss.parameters[0]);
  const double u = loss.strength * (winner.value - loser.value);
  const LogitLoss value = prefer(u);
  const double slope = loss.strength * logit_scale * value.d_logit;
  return {u, value.loss, -slope * winner.derivative, slope * loser.derivative};
}

/// Computes stage 2 for one pair, without safeguard, weight and gradient_scale.
SMPO_HOST_DEVICE Outcome outcome(const PairLoss& loss, const Errors& errors, const Factors& factors) {
  const double slope = loss.strength * factors.logit_scale;
  const double winner_advantage = errors.reference_winner - errors.policy_winner;
  const double loser_advantage = errors.reference_loser - errors.policy_loser;

  Outcome out;
  if (loss.kind == SMPO_PAIR_LOSS_SFT) {
    out = {0.0, errors.policy_winner, 1.0, 0.0};
  } else if (loss.kind == SMPO_PAIR_LOSS_MAPO) {
    out = mapo(loss, errors);
  } else if (loss.kind == SMPO_PAIR_LOSS_SPO) {
    out = spo(loss, factors.logit_scale, winner_advantage, loser_advantage);
  } else if (loss.kind == SMPO_PAIR_LOSS_KTO) {
    const KtoValue winner = kto(loss, slope, winner_advantage - factors.mean_gain, factors.winner_desirable);
    const KtoValue loser = kto(loss, slope, loser_advantage - factors.mean_gain, factors.loser_desirable);
    out = {slope * (winner_advantage - loser_advantage), 0.5 * (winner.loss + loser.loss), 0.5 * winner.d_error,
           0.5 * loser.d_error};
  } else {
    const double logit_slope =
        loss.kind == SMPO_PAIR_LOSS_SMPO ? slope * loss.parameters[0] * (2.0 * factors.label - 1.0) : slope;
    const double u = logit_slope * (winner_advantage - loser_advantage);
    const LogitLoss value = loss_of_logit(loss, factors.label, u);
    out = {u, value.loss, -logit_slope * value.d_logit, logit_slope * value.d_logit};
  }

  if (has_reference(loss.kind) && loss.budget_weight != 0.0) {
    const bool loser = favours_loser(loss.kind);
    const double excess = -slope * (loser ? loser_advantage : winner_advantage) - loss.budget;
    if (excess > 0.0) {
      out.loss += loss.budget_weight * excess;
      (loser ? out.d_loser : out.d_winner) += loss.budget_weight * slope;
    }
  }

  // 0 for finite errors, NaN otherwise: a saturated loss must not hide an infinite error.
  const double poison = 0.0 * errors.policy_winner + 0.0 * errors.policy_loser + 0.0 * errors.reference_winner +
                        0.0 * errors.reference_loser;
  out.loss += poison;
  out.d_winner += poison;
  out.d_loser += poison;
  return out;
}

struct SingleOutcome {
  double logit;
  double loss;
  double d_error;
};

/// Computes stage 2 for one single image, without weight and gradient_scale. Reads winner_desirable of the factors.
SMPO_HOST_DEVICE SingleOutcome single_outcome(const PairLoss& loss, double policy, double reference,
                                              const Factors& factors) {
  const double poison = 0.0 * policy + 0.0 * reference;
  if (loss.kind != SMPO_PAIR_LOSS_KTO) {
    return {0.0, policy + poison, 1.0 + poison};
  }
  const double slope = loss.strength * factors.logit_scale;
  const double advantage = reference - policy;
  const KtoValue value = kto(loss, slope, advantage - factors.mean_gain, factors.winner_desirable);
  return {slope * advantage, value.loss + poison, value.d_error + poison};
}

/// PSEUDO_HUBER's numbers of one row, each rounded once to f32.
struct Huber {
  float scale;    // q
  float smooth;   // c
  float smooth2;  // c^2
};

SMPO_HOST_DEVICE Huber huber_of(const PreferenceLossArgs& args, int64_t row) {
  const double c = args.loss.parameters[0];
  return {static_cast<float>(args.error_scale_R != nullptr ? args.error_scale_R[row] : 1.0), static_cast<float>(c),
          static_cast<float>(c * c)};
}

/// sqrt(x^2 + c^2) - c of a difference d, x = q d.
SMPO_HOST_DEVICE float huber_error(const Huber& huber, float difference) {
  const float x = rounded::multiply(huber.scale, difference);
  const float square = rounded::multiply(x, x);
  const float root = rounded::square_root(rounded::add(square, huber.smooth2));
  return rounded::divide(square, rounded::add(root, huber.smooth));
}

/// factor d / sqrt(x^2 + c^2).
SMPO_HOST_DEVICE float huber_gradient(const Huber& huber, float factor, float difference) {
  const float x = rounded::multiply(huber.scale, difference);
  const float root = rounded::square_root(rounded::add(rounded::multiply(x, x), huber.smooth2));
  return rounded::divide(rounded::multiply(factor, difference), root);
}

/// Factor of a row's differences in its gradient; PSEUDO_HUBER divides by the root, too.
SMPO_HOST_DEVICE float gradient_factor(const PreferenceLossArgs& args, int64_t row) {
  const double n = static_cast<double>(args.elements);
  if (args.loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER) {
    const double q = args.error_scale_R != nullptr ? args.error_scale_R[row] : 1.0;
    return static_cast<float>(args.d_error_R[row] * q * q / n);
  }
  return static_cast<float>(args.d_error_R[row] * 2.0 / n);
}

/// Writes the errors of a row from its sums; NaN for the losers that single images do not have.
SMPO_HOST_DEVICE void put_errors(const PreferenceLossArgs& args, int64_t row, double policy, double reference) {
  args.error_4P[row] = policy;
  args.error_4P[2 * args.pairs + row] = reference;
  if (args.images == 1) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    args.error_4P[args.pairs + row] = nan;
    args.error_4P[3 * args.pairs + row] = nan;
  }
}

/// Factor for the gradient of the image that is not favoured. With d = prediction - target and g = 2 d / N, |g|^2 of
/// the favoured image is 4 l / N, and the inner product of the two gradients is 4 mean(d_w d_l) / N.
SMPO_HOST_DEVICE double safeguard(double mu, double favoured_error, double mean_product, int64_t elements) {
  const double per_mean = 4.0 / static_cast<double>(elements);
  const double inner_product = per_mean * mean_product;
  if (!(inner_product > 0.0)) {
    return 1.0;
  }
  const double factor = (1.0 - mu) * (per_mean * favoured_error) / (inner_product + 1e-9);
  return factor < 0.0 ? 0.0 : (factor > 1.0 ? 1.0 : factor);
}

/// Computes stage 2 of single image p from the errors in args.error_4P, as finish_pair does.
SMPO_HOST_DEVICE double finish_single(const PreferenceLossArgs& args, int64_t p, double mean_gain) {
  const Factors factors{0.5, args.logit_scale_P != nullptr ? args.logit_scale_P[p] : 1.0, mean_gain,
                        args.desirable_R == nullptr || args.desirable_R[p] != 0, false};
  SingleOutcome out = single_outcome(args.loss, args.error_4P[p], args.error_4P[2 * args.pairs + p], factors);
  if (args.loss.kind == SMPO_PAIR_LOSS_SFT && args.error_scale_R != nullptr) {
    out.loss *= args.error_scale_R[p] * args.error_scale_R[p];
    out.d_error *= args.error_scale_R[p] * args.error_scale_R[p];
  }
  const double scale = args.weight_P != nullptr ? args.gradient_scale * args.weight_P[p] : args.gradient_scale;
  args.logit_P[p] = out.logit;
  args.loss_P[p] = out.loss;
  if (args.safeguard_P != nullptr) {
    args.safeguard_P[p] = 1.0;
  }
  args.d_error_R[p] = scale * out.d_error;
  return scale * out.loss;
}

/// Computes stage 2 of pair p from the errors in args.error_4P, `mean_product` (read with the safeguard only) and KTO's
/// reference point. Writes all outputs of the pair and returns its part of loss_sum.
SMPO_HOST_DEVICE double finish_pair(const PreferenceLossArgs& args, int64_t p, double mean_product, double mean_gain) {
  const int64_t P = args.pairs;
  if (args.images == 1) {
    return finish_single(args, p, mean_gain);
  }
  const Errors errors{args.error_4P[p], args.error_4P[P + p], args.error_4P[2 * P + p], args.error_4P[3 * P + p]};
  const Factors factors{args.label_P != nullptr ? args.label_P[p] : 0.5,
                        args.logit_scale_P != nullptr ? args.logit_scale_P[p] : 1.0, mean_gain,
                        args.desirable_R == nullptr || args.desirable_R[p] != 0,
                        args.desirable_R != nullptr && args.desirable_R[P + p] != 0};
  const Outcome out = outcome(args.loss, errors, factors);
  const bool loser_favoured = favours_loser(args.loss.kind);
  const double favoured_error = loser_favoured ? errors.policy_loser : errors.policy_winner;
  const double guard =
      args.loss.safeguard == 1 ? safeguard(args.loss.safeguard_mu, favoured_error, mean_product, args.elements) : 1.0;
  const double scale = args.weight_P != nullptr ? args.gradient_scale * args.weight_P[p] : args.gradient_scale;
  args.logit_P[p] = out.logit;
  args.loss_P[p] = out.loss;
  if (args.safeguard_P != nullptr) {
    args.safeguard_P[p] = guard;
  }
  args.d_error_R[p] = loser_favoured ? scale * guard * out.d_winner : scale * out.d_winner;
  args.d_error_R[P + p] = loser_favoured ? scale * out.d_loser : scale * guard * out.d_loser;
  return scale * out.loss;
}

/// KTO's reference point for this call.
SMPO_HOST_DEVICE double mean_gain(const PreferenceLossArgs& args) {
  if (args.loss.kind != SMPO_PAIR_LOSS_KTO) {
    return 0.0;
  }
  if (args.mean_gain != nullptr) {
    return *args.mean_gain;
  }
  const int64_t R = args.images * args.pairs;
  double sum = 0.0;
  for (int64_t r = 0; r < R; ++r) {
    sum += args.error_4P[2 * args.pairs + r] - args.error_4P[r];
  }
  const double mean = sum / static_cast<double>(R);
  return mean < 0.0 ? 0.0 : mean;  // NaN is kept
}

}  // namespace smpo::kernels::pair_loss_math

#endif  // SMPO_KERNELS_PAIR_LOSS_MATH_H_
