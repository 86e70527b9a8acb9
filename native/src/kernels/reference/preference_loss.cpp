#include "kernels/preference_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/elements.h"

// The judge of the fast versions. It shares no formula with them: pair_loss_math.h chains derivatives through the
// logit, this file writes value and derivatives of each loss separately, as the papers print them.
namespace smpo::kernels::reference {
namespace {

double logistic(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// -log(logistic(x)). The one place where the printed form would overflow.
double minus_log_logistic(double x) { return x < -30.0 ? -x + std::exp(x) : std::log1p(std::exp(-x)); }

PairValue dpo(double slope, const PairErrors& e) {
  // -log s(-slope [(l_w - r_w) - (l_l - r_l)])
  const double inside = (e.policy_winner - e.reference_winner) - (e.policy_loser - e.reference_loser);
  const double u = -slope * inside;
  return {
      .logit = u, .loss = minus_log_logistic(u), .d_winner = slope * logistic(-u), .d_loser = -slope * logistic(-u)};
}

PairValue npo(double slope, const PairErrors& e) {
  // DPO of the swapped pair.
  const PairValue swapped = dpo(slope, {.policy_winner = e.policy_loser,
                                        .policy_loser = e.policy_winner,
                                        .reference_winner = e.reference_loser,
                                        .reference_loser = e.reference_winner});
  return {.logit = -swapped.logit, .loss = swapped.loss, .d_winner = swapped.d_loser, .d_loser = swapped.d_winner};
}

PairValue dmpo(double slope, double alpha, const PairErrors& e) {
  const double u = dpo(slope, e).logit;
  const LogitValue value = dmpo_of_logit(u, alpha);
  return {.logit = u, .loss = value.loss, .d_winner = -slope * value.d_logit, .d_loser = slope * value.d_logit};
}

// IPO and CaPO: the difference of the rewards k (r - l) shall equal `aim`.
PairValue squared_distance(double slope, double aim, const PairErrors& e) {
  const double winner_reward = slope * (e.reference_winner - e.policy_winner);
  const double loser_reward = slope * (e.reference_loser - e.policy_loser);
  const double miss = aim - (winner_reward - loser_reward);
  return {.logit = winner_reward - loser_reward,
          .loss = miss * miss,
          .d_winner = 2.0 * miss * slope,
          .d_loser = -2.0 * miss * slope};
}

PairValue robust(double slope, double epsilon, const PairErrors& e) {
  // The losses of the pair and of the swapped pair, weighted so that a share epsilon of swapped labels averages out.
  const PairValue kept = dpo(slope, e);
  const PairValue swapped = npo(slope, e);
  const auto mix = [epsilon](double a, double b) {
    return ((1.0 - epsilon) * a - epsilon * b) / (1.0 - 2.0 * epsilon);
  };
  return {.logit = kept.logit,
          .loss = mix(kept.loss, swapped.loss),
          .d_winner = mix(kept.d_winner, swapped.d_winner),
          .d_loser = mix(kept.d_loser, swapped.d_loser)};
}

PairValue hinge(double slope, const PairErrors& e) {
  // relu(1 - slope [(r_w - l_w) - (r_l - l_l)])
  const double u = slope * ((e.reference_winner - e.policy_winner) - (e.reference_loser - e.policy_loser));
  const double pull = 1.0 - u > 0.0 ? slope : 0.0;
  return {.logit = u, .loss = std::max(0.0, 1.0 - u), .d_winner = pull, .d_loser = -pull};
}

PairValue spo(const PairLoss& loss, double scale, const PairErrors& e) {
  const double low = std::log(1.0 - loss.parameters[0]);
  const double high = std::log(1.0 + loss.parameters[0]);
  const double winner = scale * (e.reference_winner - e.policy_winner);
  const double loser = scale * (e.reference_loser - e.policy_loser);
  const double u = loss.strength * (std::clamp(winner, low, high) - std::clamp(loser, low, high));
  const double pull = loss.strength * scale * logistic(-u);
  return {.logit = u,
          .loss = minus_log_logistic(u),
          .d_winner = low <= winner && winner <= high ? pull : 0.0,
          .d_loser = low <= loser && loser <= high ? -pull : 0.0};
}

// One image of KTO: lambda (1 - s(y k (g - z0))), g = r - l.
struct KtoRow {
  double loss;
  double d_error;
};
KtoRow kto_row(const PairLoss& loss, double slope, double baseline, bool desirable, double error, double reference) {
  const double weight = desirable ? loss.parameters[0] : loss.parameters[1];
  const double y = desirable ? 1.0 : -1.0;
  const double s = logistic(y * slope * ((reference - error) - baseline));
  return {.loss = weight * (1.0 - s), .d_error = weight * y * slope * s * (1.0 - s)};
}

PairValue kto(const PairLoss& loss, double slope, const PairFactors& factors, const PairErrors& e) {
  const KtoRow winner =
      kto_row(loss, slope, factors.mean_gain, factors.winner_desirable, e.policy_winner, e.reference_winner);
  const KtoRow loser =
      kto_row(loss, slope, factors.mean_gain, factors.loser_desirable, e.policy_loser, e.reference_loser);
  return {.logit = dpo(slope, e).logit,
          .loss = (winner.loss + loser.loss) / 2.0,
          .d_winner = winner.d_error / 2.0,
          .d_loser = loser.d_error / 2.0};
}

// f(x) = s x / (e^(s x) - 1)
double mapo_f(double s, double x) { return s * x == 0.0 ? 1.0 : s * x / std::expm1(s * x); }

double mapo_df(double s, double x) {
  const double y = s * x;
  if (std::abs(y) < 1e-3) {
    return s * (-1.0 / 2.0 + y / 6.0 - y * y * y / 180.0);
  }
  const double m = std::expm1(y);
  return s * (m - y * std::exp(y)) / (m * m);
}

PairValue mapo(const PairLoss& loss, const PairErrors& e) {
  const double s = loss.parameters[0];
  const double t = loss.parameters[1];
  const double b = loss.parameters[2];
  const double z = t * (mapo_f(s, e.policy_winner) - mapo_f(s, e.policy_loser));
  return {.logit = z,
          .loss = e.policy_winner + b * minus_log_logistic(z),
          .d_winner = 1.0 - b * t * logistic(-z) * mapo_df(s, e.policy_winner),
          .d_loser = b * t * logistic(-z) * mapo_df(s, e.policy_loser)};
}

PairValue without_budget(const PairLoss& loss, double slope, const PairErrors& errors, const PairFactors& factors) {
  switch (static_cast<smpo_pair_loss_kind>(loss.kind)) {
    case SMPO_PAIR_LOSS_DPO:
      return dpo(slope, errors);
    case SMPO_PAIR_LOSS_SMPO:
      return dpo(slope * loss.parameters[0] * (2.0 * factors.label - 1.0), errors);
    case SMPO_PAIR_LOSS_NPO:
      return npo(slope, errors);
    case SMPO_PAIR_LOSS_DMPO:
      return dmpo(slope, loss.parameters[0], errors);
    case SMPO_PAIR_LOSS_IPO:
      return squared_distance(slope, loss.parameters[0], errors);
    case SMPO_PAIR_LOSS_CAPO:
      return squared_distance(slope, factors.label, errors);
    case SMPO_PAIR_LOSS_KTO:
      return kto(loss, slope, factors, errors);
    case SMPO_PAIR_LOSS_MAPO:
      return mapo(loss, errors);
    case SMPO_PAIR_LOSS_SFT:
      return {.logit = 0.0, .loss = errors.policy_winner, .d_winner = 1.0, .d_loser = 0.0};
    case SMPO_PAIR_LOSS_HINGE:
      return hinge(slope, errors);
    case SMPO_PAIR_LOSS_ROBUST:
      return robust(slope, loss.parameters[0], errors);
    case SMPO_PAIR_LOSS_SPO:
      return spo(loss, factors.logit_scale, errors);
    case SMPO_PAIR_LOSS_PSEUDO_HUBER:
      break;  // of single images
  }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return {.logit = nan, .loss = nan, .d_winner = nan, .d_loser = nan};
}

}  // namespace

SingleValue single_value(const PairLoss& loss, double policy, double reference, const PairFactors& factors) {
  if (!std::isfinite(policy) || !std::isfinite(reference)) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {.logit = nan, .loss = nan, .d_error = nan};
  }
  if (loss.kind != SMPO_PAIR_LOSS_KTO) {
    return {.logit = 0.0, .loss = policy, .d_error = 1.0};
  }
  const double slope = loss.strength * factors.logit_scale;
  const KtoRow row = kto_row(loss, slope, factors.mean_gain, factors.winner_desirable, policy, reference);
  return {.logit = slope * (reference - policy), .loss = row.loss, .d_error = row.d_error};
}

LogitValue dmpo_of_logit(double logit, double alpha) {
  const double q = std::clamp(1.0 - alpha, 1e-6, 1.0 - 1e-6);
  const double log_p = -minus_log_logistic(logit);
  const double log_not_p = -minus_log_logistic(-logit);
  const double p = std::exp(log_p);
  const double not_p = std::exp(log_not_p);
  return {.loss = p * (log_p - std::log(q)) + not_p * (log_not_p - std::log(1.0 - q)),
          .d_logit = p * not_p * (logit - std::log(q / (1.0 - q)))};
}

double safeguard_factor(double favoured_norm_squared, double inner_product, double mu) {
  if (!(inner_product > 0.0)) {
    return 1.0;
  }
  return std::clamp((1.0 - mu) * favoured_norm_squared / (inner_product + 1e-9), 0.0, 1.0);
}

PairValue pair_value(const PairLoss& loss, const PairErrors& errors, const PairFactors& factors) {
  const double slope = loss.strength * factors.logit_scale;
  PairValue value = without_budget(loss, slope, errors, factors);
  if (loss.kind != SMPO_PAIR_LOSS_MAPO && loss.kind != SMPO_PAIR_LOSS_SFT && loss.budget_weight != 0.0) {
    // NPO trains the loser up, so that it is the image whose fall has a price.
    const double fall = loss.kind == SMPO_PAIR_LOSS_NPO ? slope * (errors.policy_loser - errors.reference_loser)
                                                        : slope * (errors.policy_winner - errors.reference_winner);
    if (fall > loss.budget) {
      value.loss += loss.budget_weight * (fall - loss.budget);
      double& price = loss.kind == SMPO_PAIR_LOSS_NPO ? value.d_loser : value.d_winner;
      price += loss.budget_weight * slope;
    }
  }
  for (const double error :
       {errors.policy_winner, errors.policy_loser, errors.reference_winner, errors.reference_loser}) {
    if (!std::isfinite(error)) {
      const double nan = std::numeric_limits<double>::quiet_NaN();
      return {.logit = value.logit, .loss = nan, .d_winner = nan, .d_loser = nan};
    }
  }
  return value;
}

void preference_loss(const PreferenceLossArgs& args) {
  const int64_t P = args.pairs;
  const int64_t R = args.images * P;
  const int64_t N = args.elements;
  const bool huber = args.loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER;
  const auto difference = [&](int64_t row, int64_t n) {
    return load(args.prediction_RN, args.prediction_dtype, row * N + n) -
           load(args.target_RN, args.target_dtype, row * N + n);
  };

  double* policy_R = args.error_4P;
  double* reference_R = args.error_4P + 2 * P;
  // PSEUDO_HUBER: sqrt(q^2 d^2 + c^2) of one element.
  const auto root = [&](int64_t row, int64_t n) {
    const double q = args.error_scale_R != nullptr ? args.error_scale_R[row] : 1.0;
    return std::sqrt(std::pow(q * difference(row, n), 2) + std::pow(args.loss.parameters[0], 2));
  };
  if (huber) {
    for (int64_t r = 0; r < R; ++r) {
      double sum = 0.0;
      for (int64_t n = 0; n < N; ++n) sum += root(r, n) - args.loss.parameters[0];
      policy_R[r] = sum / static_cast<double>(N);
    }
  } else {
    row_mean_squared_error({.rows = R,
                            .elements = N,
                            .prediction_RN = args.prediction_RN,
                            .prediction_dtype = args.prediction_dtype,
                            .target_RN = args.target_RN,
                            .target_dtype = args.target_dtype,
                            .error_R = policy_R});
  }
  if (args.reference_RN != nullptr) {
    row_mean_squared_error({.rows = R,
                            .elements = N,
                            .prediction_RN = args.reference_RN,
                            .prediction_dtype = args.reference_dtype,
                            .target_RN = args.target_RN,
                            .target_dtype = args.target_dtype,
                            .error_R = reference_R});
  } else {
    for (int64_t r = 0; r < R; ++r) {
      reference_R[r] = args.reference_error_R != nullptr ? args.reference_error_R[r] : 0.0;
    }
  }

  double mean_gain = args.mean_gain != nullptr ? *args.mean_gain : 0.0;
  if (args.loss.kind == SMPO_PAIR_LOSS_KTO && args.mean_gain == nullptr) {
    double sum = 0.0;
    for (int64_t r = 0; r < R; ++r) {
      sum += reference_R[r] - policy_R[r];
    }
    mean_gain = sum / static_cast<double>(R);
    if (mean_gain < 0.0) {
      mean_gain = 0.0;
    }
  }

  double total = 0.0;
  for (int64_t p = 0; p < P; ++p) {
    PairFactors factors;
    factors.label = args.label_P != nullptr ? args.label_P[p] : 0.5;
    factors.logit_scale = args.logit_scale_P != nullptr ? args.logit_scale_P[p] : 1.0;
    factors.mean_gain = mean_gain;
    const double scale = args.gradient_scale * (args.weight_P != nullptr ? args.weight_P[p] : 1.0);
    if (args.images == 1) {
      if (args.desirable_R != nullptr) factors.winner_desirable = args.desirable_R[p] != 0;
      SingleValue value = single_value(args.loss, policy_R[p], reference_R[p], factors);
      if (args.loss.kind == SMPO_PAIR_LOSS_SFT && args.error_scale_R != nullptr) {
        const double q = args.error_scale_R[p];
        value.loss *= q * q;
        value.d_error *= q * q;
      }
      policy_R[P + p] = reference_R[P + p] = std::numeric_limits<double>::quiet_NaN();
      args.logit_P[p] = value.logit;
      args.loss_P[p] = value.loss;
      if (args.safeguard_P != nullptr) args.safeguard_P[p] = 1.0;
      args.d_error_R[p] = scale * value.d_error;
      total += scale * value.loss;
      continue;
    }
    if (args.desirable_R != nullptr) {
      factors.winner_desirable = args.desirable_R[p] != 0;
      factors.loser_desirable = args.desirable_R[P + p] != 0;
    }
    const PairValue value = pair_value(args.loss,
                                       {.policy_winner = policy_R[p],
                                        .policy_loser = policy_R[P + p],
                                        .reference_winner = reference_R[p],
                                        .reference_loser = reference_R[P + p]},
                                       factors);

    // NPO's favoured image is the loser; every other loss favours the winner.
    const bool swapped = args.loss.kind == SMPO_PAIR_LOSS_NPO;
    double safeguard = 1.0;
    if (args.loss.safeguard == 1) {
      double norm_squared = 0.0;
      double inner_product = 0.0;
      for (int64_t n = 0; n < N; ++n) {
        const double g_winner = 2.0 * difference(p, n) / static_cast<double>(N);
        const double g_loser = 2.0 * difference(P + p, n) / static_cast<double>(N);
        norm_squared += swapped ? g_loser * g_loser : g_winner * g_winner;
        inner_product += g_winner * g_loser;
      }
      safeguard = safeguard_factor(norm_squared, inner_product, args.loss.safeguard_mu);
    }

    args.logit_P[p] = value.logit;
    args.loss_P[p] = value.loss;
    if (args.safeguard_P != nullptr) {
      args.safeguard_P[p] = safeguard;
    }
    args.d_error_R[p] = scale * (swapped ? safeguard : 1.0) * value.d_winner;
    args.d_error_R[P + p] = scale * (swapped ? 1.0 : safeguard) * value.d_loser;
    total += scale * value.loss;
  }
  *args.loss_sum = total;

  if (args.d_prediction_RN != nullptr) {
    for (int64_t r = 0; r < R; ++r) {
      for (int64_t n = 0; n < N; ++n) {
        const double q = args.error_scale_R != nullptr ? args.error_scale_R[r] : 1.0;
        const double slope = huber ? q * q / root(r, n) : 2.0;
        store(args.d_prediction_RN, args.prediction_dtype, r * N + n,
              args.d_error_R[r] * slope * difference(r, n) / static_cast<double>(N));
      }
    }
  }
}

}  // namespace smpo::kernels::reference
