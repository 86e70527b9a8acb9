// Inputs, outputs and comparison for the tests of preference_loss on CPU and device.
// Shapes: P pairs, R = 2P rows (winners first), N elements.
#ifndef SMPO_TEST_KERNELS_PREFERENCE_LOSS_CASE_H_
#define SMPO_TEST_KERNELS_PREFERENCE_LOSS_CASE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <vector>

#include "kernels/preference_loss.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::test {

using kernels::DType;
using kernels::PairLoss;
using kernels::PreferenceLossArgs;

inline constexpr int32_t kAllKinds[] = {SMPO_PAIR_LOSS_DPO,   SMPO_PAIR_LOSS_SMPO,   SMPO_PAIR_LOSS_NPO,
                                        SMPO_PAIR_LOSS_DMPO,  SMPO_PAIR_LOSS_IPO,    SMPO_PAIR_LOSS_CAPO,
                                        SMPO_PAIR_LOSS_KTO,   SMPO_PAIR_LOSS_MAPO,   SMPO_PAIR_LOSS_SFT,
                                        SMPO_PAIR_LOSS_HINGE, SMPO_PAIR_LOSS_ROBUST, SMPO_PAIR_LOSS_SPO};

inline constexpr int32_t kSingleKinds[] = {SMPO_PAIR_LOSS_KTO, SMPO_PAIR_LOSS_SFT, SMPO_PAIR_LOSS_PSEUDO_HUBER};

inline const char* name_of(int32_t kind) {
  switch (static_cast<smpo_pair_loss_kind>(kind)) {
    case SMPO_PAIR_LOSS_DPO:
      return "DPO";
    case SMPO_PAIR_LOSS_SMPO:
      return "SmPO";
    case SMPO_PAIR_LOSS_NPO:
      return "NPO";
    case SMPO_PAIR_LOSS_DMPO:
      return "DMPO";
    case SMPO_PAIR_LOSS_IPO:
      return "IPO";
    case SMPO_PAIR_LOSS_CAPO:
      return "CaPO";
    case SMPO_PAIR_LOSS_KTO:
      return "KTO";
    case SMPO_PAIR_LOSS_MAPO:
      return "MaPO";
    case SMPO_PAIR_LOSS_SFT:
      return "SFT";
    case SMPO_PAIR_LOSS_HINGE:
      return "Hinge";
    case SMPO_PAIR_LOSS_ROBUST:
      return "Robust";
    case SMPO_PAIR_LOSS_PSEUDO_HUBER:
      return "pseudo-Huber";
    case SMPO_PAIR_LOSS_SPO:
      return "SPO";
  }
  return "?";
}

struct PreferenceLossTypes {
  DType prediction = DType::kF32;
  DType reference = DType::kF32;
  DType target = DType::kF32;
};

/// Policy, reference and target close to each other, as in training: errors near 0.1, logits of a few units at beta
/// 100.
struct PreferenceLossCase {
  PreferenceLossCase(int64_t pairs, int64_t elements, const PairLoss& loss, PreferenceLossTypes types = {},
                     uint32_t seed = 1)
      : prediction(types.prediction, 2 * pairs * elements),
        reference(types.reference, 2 * pairs * elements),
        target(types.target, normal_floats(2 * pairs * elements, seed)),
        d_prediction(types.prediction, 2 * pairs * elements),
        reference_error(static_cast<size_t>(2 * pairs)),
        label(static_cast<size_t>(pairs)),
        logit_scale(static_cast<size_t>(pairs)),
        weight(static_cast<size_t>(pairs)),
        desirable(static_cast<size_t>(2 * pairs)),
        error_scale(static_cast<size_t>(2 * pairs)),
        error(static_cast<size_t>(4 * pairs)),
        logit(static_cast<size_t>(pairs)),
        loss_of_pair(static_cast<size_t>(pairs)),
        safeguard(static_cast<size_t>(pairs)),
        d_error(static_cast<size_t>(2 * pairs)),
        loss_sum(1) {
    const std::vector<float> reference_noise = normal_floats(2 * pairs * elements, seed + 1, 0.02f, 0.3f);
    const std::vector<float> policy_noise = normal_floats(2 * pairs * elements, seed + 2, 0.0f, 0.05f);
    for (int64_t i = 0; i < 2 * pairs * elements; ++i) {
      const size_t at = static_cast<size_t>(i);
      reference.set(i, static_cast<float>(target.at(i)) + reference_noise[at]);
      prediction.set(i, static_cast<float>(reference.at(i)) + policy_noise[at]);
    }
    for (size_t p = 0; p < static_cast<size_t>(pairs); ++p) {
      label[p] = 0.55 + 0.05 * static_cast<double>(p % 5);
      logit_scale[p] = 1.0 + 0.25 * static_cast<double>(p % 3);
      weight[p] = 1.0 / (1.0 + static_cast<double>(p));
    }
    for (size_t r = 0; r < desirable.size(); ++r) {
      desirable[r] = r % 3 != 1 ? 1 : 0;
      reference_error[r] = 0.1 + 0.001 * static_cast<double>(r);
      error_scale[r] = 0.5 + 0.75 * static_cast<double>(r % 4);
    }
    args = {.pairs = pairs,
            .elements = elements,
            .loss = loss,
            .prediction_RN = prediction.data(),
            .prediction_dtype = types.prediction,
            .reference_RN = reference.data(),
            .reference_dtype = types.reference,
            .target_RN = target.data(),
            .target_dtype = types.target,
            .label_P = label.data(),
            .logit_scale_P = logit_scale.data(),
            .weight_P = weight.data(),
            .gradient_scale = 1.0 / static_cast<double>(pairs + 3),
            .error_4P = error.data(),
            .logit_P = logit.data(),
            .loss_P = loss_of_pair.data(),
            .safeguard_P = safeguard.data(),
            .d_error_R = d_error.data(),
            .loss_sum = loss_sum.data(),
            .d_prediction_RN = d_prediction.data()};
  }

  void run(const std::function<void(const PreferenceLossArgs&)>& kernel) {
    RedZone<unsigned char> workspace(static_cast<size_t>(preference_loss_workspace_bytes(args)));
    args.workspace = workspace.data();
    const bool in_place = args.d_prediction_RN == args.prediction_RN;
    if (!in_place) prediction.freeze();
    reference.freeze();
    target.freeze();
    for (RedZone<double>* input : {&reference_error, &label, &logit_scale, &weight, &error_scale}) input->freeze();
    desirable.freeze();
    kernel(args);
    for (Tensor* input : {&prediction, &reference, &target}) input->make_writable();
    for (RedZone<double>* input : {&reference_error, &label, &logit_scale, &weight, &error_scale}) {
      input->make_writable();
    }
    desirable.make_writable();
    for (const Tensor* tensor : std::initializer_list<const Tensor*>{&prediction, &reference, &target, &d_prediction}) {
      EXPECT_TRUE(tensor->intact());
    }
    for (const RedZone<double>* output : std::initializer_list<const RedZone<double>*>{
             &error, &logit, &loss_of_pair, &safeguard, &d_error, &loss_sum}) {
      EXPECT_TRUE(output->intact());
    }
    EXPECT_TRUE(workspace.intact());
  }

  /// Expects every output to be equal, bit for bit.
  std::vector<std::vector<unsigned char>> bits() const {
    std::vector<std::vector<unsigned char>> all = {d_prediction.bits()};
    for (const RedZone<double>* output : std::initializer_list<const RedZone<double>*>{
             &error, &logit, &loss_of_pair, &safeguard, &d_error, &loss_sum}) {
      const auto* first = reinterpret_cast<const unsigned char*>(output->data());
      all.emplace_back(first, first + output->size() * sizeof(double));
    }
    return all;
  }

  Tensor prediction, reference, target, d_prediction;
  RedZone<double> reference_error, label, logit_scale, weight;
  RedZone<unsigned char> desirable;
  RedZone<double> error_scale;
  RedZone<double> error, logit, loss_of_pair, safeguard, d_error, loss_sum;
  PreferenceLossArgs args;
};

/// Returns a loss with the given parameters of its kind, in the order of smpo.h.
inline PairLoss loss_with(int32_t kind, double strength, std::initializer_list<double> parameters) {
  PairLoss loss = {};
  loss.size = sizeof loss;
  loss.kind = kind;
  loss.parameter_count = static_cast<uint32_t>(parameters.size());
  loss.strength = strength;
  std::copy(parameters.begin(), parameters.end(), loss.parameters);
  return loss;
}

/// Returns a loss with the published parameters of its kind.
inline PairLoss loss_of(int32_t kind, double strength) {
  switch (static_cast<smpo_pair_loss_kind>(kind)) {
    case SMPO_PAIR_LOSS_DPO:
    case SMPO_PAIR_LOSS_NPO:
    case SMPO_PAIR_LOSS_CAPO:
    case SMPO_PAIR_LOSS_SFT:
    case SMPO_PAIR_LOSS_HINGE:
      return loss_with(kind, strength, {});
    case SMPO_PAIR_LOSS_SMPO:
      return loss_with(kind, strength, {10.0});
    case SMPO_PAIR_LOSS_DMPO:
      return loss_with(kind, strength, {0.01});
    case SMPO_PAIR_LOSS_IPO:
      return loss_with(kind, strength, {0.5});
    case SMPO_PAIR_LOSS_ROBUST:
      return loss_with(kind, strength, {0.125});
    case SMPO_PAIR_LOSS_PSEUDO_HUBER:
      return loss_with(kind, 0, {0.25});
    case SMPO_PAIR_LOSS_SPO:
      return loss_with(kind, strength, {0.1});
    case SMPO_PAIR_LOSS_KTO:
      return loss_with(kind, strength, {1.0, 1.0});
    case SMPO_PAIR_LOSS_MAPO:
      return loss_with(kind, strength, {0.5, 1000.0, 0.1});
  }
  return {};
}

/// MaPO's temperature in sample_loss. Tolerances allow for it with every kind.
inline constexpr double kSampleTemperature = 50.0;

/// Returns a loss with every add-on, whose scalars saturate no formula on the data above.
inline PairLoss sample_loss(int32_t kind) {
  PairLoss loss = loss_of(kind, kind == SMPO_PAIR_LOSS_KTO ? 100.0 : 50.0);
  if (kind == SMPO_PAIR_LOSS_SMPO) loss.parameters[0] = 7.0;
  if (kind == SMPO_PAIR_LOSS_MAPO) loss.parameters[1] = kSampleTemperature;
  if (kind == SMPO_PAIR_LOSS_KTO) loss.parameters[1] = 1.5;
  loss.budget_weight = 0.3;
  loss.budget = 0.05;
  loss.safeguard = 1;
  loss.safeguard_mu = 0.4;
  return loss;
}

inline void expect_value(double value, double wanted, const Tolerance& tolerance, double sensitivity,
                         const char* what) {
  ASSERT_TRUE(tolerance.accepts(value, wanted)) << what << ": " << value << ", wanted " << wanted << " within "
                                                << tolerance.absolute << " + " << tolerance.relative << " of it";
  ASSERT_FALSE(tolerance.accepts(value + sensitivity * std::max(std::abs(value), 1e-3), wanted))
      << what << ": the comparison is too loose";
}

/// Compares stage by stage, each from the outputs of the stage before, so that a tolerance covers one stage only:
/// errors with `judge`, the reference's results for the same inputs; loss, logit and d_error with the reference's
/// formulas at these errors; d_prediction at these d_errors.
inline void expect_agreement(const PreferenceLossCase& c, const PreferenceLossCase& judge) {
  const PreferenceLossArgs& args = c.args;
  const int64_t P = args.pairs;
  const int64_t N = args.elements;
  const Tolerance error_tolerance{.relative = kernels::kRowErrorTolerance};
  for (int64_t r = 0; r < 4 * P; ++r) {
    const auto at = static_cast<size_t>(r);
    if (judge.error[at] == 0.0) {
      ASSERT_EQ(c.error[at], 0.0);
    } else {
      expect_value(c.error[at], judge.error[at], error_tolerance, 1e-6, "error");
    }
  }

  // A few dozen operations in f64; cancellation in r - l amplifies errors by their share of the logit.
  double largest = 0.0;
  for (int64_t r = 0; r < 4 * P; ++r) largest = std::max(largest, c.error[static_cast<size_t>(r)]);
  double baseline = 0.0;
  if (args.mean_gain != nullptr) {
    baseline = *args.mean_gain;
  } else {
    double sum = 0.0;
    for (int64_t r = 0; r < 2 * P; ++r)
      sum += c.error[static_cast<size_t>(2 * P + r)] - c.error[static_cast<size_t>(r)];
    baseline = std::max(0.0, sum / static_cast<double>(2 * P));
  }
  const bool loser_favoured = args.loss.kind == SMPO_PAIR_LOSS_NPO;
  double total = 0.0;
  for (int64_t p = 0; p < P; ++p) {
    const auto w = static_cast<size_t>(p);
    const auto l = static_cast<size_t>(P + p);
    kernels::reference::PairFactors factors;
    factors.label = args.label_P != nullptr ? c.label[w] : 0.5;
    factors.logit_scale = args.logit_scale_P != nullptr ? c.logit_scale[w] : 1.0;
    factors.mean_gain = baseline;
    if (args.desirable_R != nullptr) {
      factors.winner_desirable = c.desirable[w] != 0;
      factors.loser_desirable = c.desirable[l] != 0;
    }
    const kernels::reference::PairValue wanted = kernels::reference::pair_value(
        args.loss,
        {c.error[w], c.error[l], c.error[w + 2 * static_cast<size_t>(P)], c.error[l + 2 * static_cast<size_t>(P)]},
        factors);
    const double slope = args.loss.strength * factors.logit_scale *
                         std::max(1.0, args.loss.kind == SMPO_PAIR_LOSS_SMPO ? args.loss.parameters[0] : 0.0);
    const double rounding = 64 * 0x1p-53 * (1.0 + std::max(slope, kSampleTemperature) * largest);
    const Tolerance scalar{.relative = rounding, .absolute = rounding};
    expect_value(c.logit[w], wanted.logit, scalar, 1e-6, "logit");
    expect_value(c.loss_of_pair[w], wanted.loss, scalar, 1e-6, "loss");

    if (args.loss.safeguard == 1) {
      // The products have both signs, so the error is relative to the sum of their absolute values.
      double product = 0.0;
      double absolute = 0.0;
      double square = 0.0;
      for (int64_t n = 0; n < N; ++n) {
        const double d_w = c.prediction.at(p * N + n) - c.target.at(p * N + n);
        const double d_l = c.prediction.at((P + p) * N + n) - c.target.at((P + p) * N + n);
        product += d_w * d_l;
        absolute += std::abs(d_w * d_l);
        square += loser_favoured ? d_l * d_l : d_w * d_w;
      }
      const double scale = 4.0 / (static_cast<double>(N) * static_cast<double>(N));
      const double exact =
          kernels::reference::safeguard_factor(scale * square, scale * product, args.loss.safeguard_mu);
      const double conditioning = product > 0.0 ? absolute / product : 1.0;
      const Tolerance tolerance{.relative = 2 * kernels::kRowErrorTolerance * (1.0 + conditioning)};
      if (std::abs(product) > 1e-5 * absolute) {  // otherwise the sign is uncertain
        ASSERT_TRUE(tolerance.accepts(c.safeguard[w], exact)) << "safeguard " << c.safeguard[w] << ", wanted " << exact;
      }
    } else {
      ASSERT_EQ(c.safeguard[w], 1.0);
    }

    const double factor = args.gradient_scale * (args.weight_P != nullptr ? c.weight[w] : 1.0);
    const double gradient_size = factor * std::max({slope, kSampleTemperature, 1.0});
    const Tolerance gradient{.relative = rounding, .absolute = rounding * gradient_size};
    const double on_winner = loser_favoured ? c.safeguard[w] : 1.0;
    const double on_loser = loser_favoured ? 1.0 : c.safeguard[w];
    expect_value(c.d_error[w], factor * on_winner * wanted.d_winner, gradient, 1e-6, "winner's d_error");
    expect_value(c.d_error[l], factor * on_loser * wanted.d_loser, gradient, 1e-6, "loser's d_error");
    total += factor * wanted.loss;
  }
  const Tolerance sum_tolerance{.relative = 1e-11, .absolute = 1e-11};
  expect_value(c.loss_sum[0], total, sum_tolerance, 1e-6, "loss_sum");

  if (args.d_prediction_RN == nullptr) return;
  const bool bf16 = args.prediction_dtype == DType::kBF16;
  const Tolerance write{.relative = kernels::kGradientTolerance + (bf16 ? unit_roundoff(DType::kBF16) : 0.0)};
  const Tensor& written = args.d_prediction_RN == args.prediction_RN ? c.prediction : c.d_prediction;
  for (int64_t r = 0; r < 2 * P; ++r) {
    for (int64_t n = 0; n < N; ++n) {
      const int64_t i = r * N + n;
      const double wanted = c.d_error[static_cast<size_t>(r)] * 2.0 * (judge.prediction.at(i) - judge.target.at(i)) /
                            static_cast<double>(N);
      ASSERT_TRUE(write.accepts(written.at(i), wanted))
          << "d_prediction of row " << r << " at " << n << ": " << written.at(i) << ", wanted " << wanted;
      ASSERT_TRUE(wanted == 0.0 || !write.accepts(written.at(i) * (bf16 ? 1.02 : 1.000001), wanted))
          << "the comparison is too loose";
    }
  }
}

/// Makes the rows of a case single images: the first P rows of its tensors.
inline void make_single(PreferenceLossCase& c) {
  c.args.images = 1;
  if (c.args.loss.kind == SMPO_PAIR_LOSS_KTO) c.args.desirable_R = c.desirable.data();
  if (c.args.loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER) c.args.error_scale_R = c.error_scale.data();
}

/// Compares single images, stage by stage, as expect_agreement does for pairs.
inline void expect_single_agreement(const PreferenceLossCase& c, const PreferenceLossCase& judge) {
  const PreferenceLossArgs& args = c.args;
  const int64_t P = args.pairs;
  const int64_t N = args.elements;
  const bool huber = args.loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER;
  const Tolerance policy_tolerance{.relative = huber ? kernels::kHuberErrorTolerance : kernels::kRowErrorTolerance};
  double baseline = 0.0;
  for (int64_t p = 0; p < P; ++p) {
    const auto at = static_cast<size_t>(p);
    const auto reference = static_cast<size_t>(2 * P + p);
    expect_value(c.error[at], judge.error[at], policy_tolerance, 2e-6, "error");
    if (args.reference_RN != nullptr) {
      const Tolerance tolerance{.relative = kernels::kRowErrorTolerance};
      expect_value(c.error[reference], judge.error[reference], tolerance, 1e-6, "reference's error");
    }
    ASSERT_TRUE(std::isnan(c.error[static_cast<size_t>(P + p)]) && std::isnan(c.error[static_cast<size_t>(3 * P + p)]));
    ASSERT_TRUE(std::isnan(judge.error[static_cast<size_t>(P + p)]));
    baseline += (c.error[reference] - c.error[at]) / static_cast<double>(P);
  }
  baseline = args.mean_gain != nullptr ? *args.mean_gain : std::max(0.0, baseline);
  double total = 0.0;
  for (int64_t p = 0; p < P; ++p) {
    const auto at = static_cast<size_t>(p);
    kernels::reference::PairFactors factors;
    factors.logit_scale = args.logit_scale_P != nullptr ? c.logit_scale[at] : 1.0;
    factors.mean_gain = baseline;
    if (args.desirable_R != nullptr) factors.winner_desirable = c.desirable[at] != 0;
    const kernels::reference::SingleValue wanted =
        kernels::reference::single_value(args.loss, c.error[at], c.error[static_cast<size_t>(2 * P + p)], factors);
    const double factor = args.gradient_scale * (args.weight_P != nullptr ? c.weight[at] : 1.0);
    const double rounding = 64 * 0x1p-53 * (1.0 + args.loss.strength * factors.logit_scale);
    const Tolerance scalar{.relative = rounding, .absolute = rounding};
    expect_value(c.logit[at], wanted.logit, scalar, 1e-6, "logit");
    expect_value(c.loss_of_pair[at], wanted.loss, scalar, 1e-6, "loss");
    const Tolerance gradient{.relative = rounding, .absolute = rounding * factor * (1.0 + args.loss.strength)};
    expect_value(c.d_error[at], factor * wanted.d_error, gradient, 1e-6, "d_error");
    ASSERT_EQ(c.safeguard[at], 1.0);
    total += factor * wanted.loss;
  }
  expect_value(c.loss_sum[0], total, {.relative = 1e-11, .absolute = 1e-11}, 1e-6, "loss_sum");

  const bool bf16 = args.prediction_dtype == DType::kBF16;
  const double own = huber ? kernels::kHuberGradientTolerance : kernels::kGradientTolerance;
  const Tolerance write{.relative = own + (bf16 ? unit_roundoff(DType::kBF16) : 0.0)};
  const double smooth = args.loss.parameters[0];
  for (int64_t r = 0; r < P; ++r) {
    const double q = args.error_scale_R != nullptr ? c.error_scale[static_cast<size_t>(r)] : 1.0;
    for (int64_t n = 0; n < N; ++n) {
      const double d = judge.prediction.at(r * N + n) - judge.target.at(r * N + n);
      const double slope = huber ? q * q * d / std::sqrt(q * q * d * d + smooth * smooth) : 2.0 * d;
      const double wanted = c.d_error[static_cast<size_t>(r)] * slope / static_cast<double>(N);
      const double value = c.d_prediction.at(r * N + n);
      ASSERT_TRUE(write.accepts(value, wanted))
          << "d_prediction of row " << r << " at " << n << ": " << value << ", wanted " << wanted;
      ASSERT_TRUE(wanted == 0.0 || !write.accepts(value * (bf16 ? 1.02 : 1.000002), wanted))
          << "the comparison is too loose";
    }
  }
}

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_PREFERENCE_LOSS_CASE_H_
