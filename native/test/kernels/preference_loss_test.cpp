#include "kernels/preference_loss.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <numbers>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/pair_loss_math.h"
#include "kernels/preference_loss_case.h"
#include "kernels/tensor.h"
#include "support/samples.h"
#include "support/threads.h"
#include "support/tolerance.h"

// Shapes: P pairs, R = 2P rows (winners first), N elements.
namespace smpo::kernels {
namespace {

using reference::pair_value;
using reference::PairErrors;
using reference::PairFactors;
using reference::PairValue;
using test::kAllKinds;
using test::loss_of;
using test::loss_with;
using test::PreferenceLossCase;
using test::PreferenceLossTypes;
using test::Tolerance;

void run_reference(const PreferenceLossArgs& args) { reference::preference_loss(args); }
void run_cpu(const PreferenceLossArgs& args) { cpu::preference_loss(args); }

/// The formulas of the fast versions, in the reference's types.
PairValue fast_value(const PairLoss& loss, const PairErrors& e, const PairFactors& f) {
  const pair_loss_math::Outcome out =
      pair_loss_math::outcome(loss, {e.policy_winner, e.policy_loser, e.reference_winner, e.reference_loser},
                              {f.label, f.logit_scale, f.mean_gain, f.winner_desirable, f.loser_desirable});
  return {.logit = out.logit, .loss = out.loss, .d_winner = out.d_winner, .d_loser = out.d_loser};
}

// ---- SPO: a step at timestep 501 of 20 DDIM steps with eta 1, four elements, computed with numpy in float64

struct SpoGolden {
  double beta;
  double clip;
  double logit;
  double loss;
  bool winner_moves;  // a log ratio outside of the clamp has no gradient
  bool loser_moves;
};

constexpr SpoGolden kSpoGolden[] = {{10, 0.1, 0.089225792137, 0.649529109803, true, true},
                                    {500, 0.1, 4.461289606853, 0.011481298912, true, true},
                                    {10, 0.01, 0.027216835021, 0.679631354705, false, true},
                                    {10, 0.001, 0, 0.693147180560, false, false}};

TEST(PreferenceLossTest, SposLossOfAStep) {
  constexpr double kScale = 0.196029350138;
  const PairErrors errors{.policy_winner = 1.460744389722,
                          .policy_loser = 1.480754552542,
                          .reference_winner = 1.543136269068,
                          .reference_loser = 1.517629884455};
  for (const SpoGolden& golden : kSpoGolden) {
    SCOPED_TRACE(testing::Message() << "beta " << golden.beta << ", clip " << golden.clip);
    const PairLoss loss = loss_with(SMPO_PAIR_LOSS_SPO, golden.beta, {golden.clip});
    PairFactors factors;
    factors.logit_scale = kScale;
    for (const PairValue& value : {pair_value(loss, errors, factors), fast_value(loss, errors, factors)}) {
      const double pull = golden.beta * kScale / (1 + std::exp(golden.logit));
      EXPECT_NEAR(value.logit, golden.logit, 1e-9 * golden.beta);
      EXPECT_NEAR(value.loss, golden.loss, 1e-9);
      EXPECT_NEAR(value.d_winner, golden.winner_moves ? pull : 0, 1e-8);
      EXPECT_NEAR(value.d_loser, golden.loser_moves ? -pull : 0, 1e-8);
    }
  }
}

TEST(PreferenceLossTest, SposLossOfLogRatios) {
  const PairLoss loss = loss_with(SMPO_PAIR_LOSS_SPO, 10, {0.1});
  const auto of = [&loss](double winner, double loser) {
    return pair_value(
               loss,
               {.policy_winner = 1, .policy_loser = 1, .reference_winner = 1 + winner, .reference_loser = 1 + loser},
               PairFactors{})
        .loss;
  };
  EXPECT_NEAR(of(0.03, -0.05), 0.371100665948, 1e-12);
  EXPECT_NEAR(of(0.3, -0.3), 0.126130879913, 1e-12);
}

// ---- published numbers, for l_w = .1000, l_l = .1200, r_w = .1002, r_l = .1199

constexpr PairErrors kGoldenErrors{
    .policy_winner = 0.1000, .policy_loser = 0.1200, .reference_winner = 0.1002, .reference_loser = 0.1199};

struct Golden {
  const char* name;
  PairLoss loss;
  PairFactors factors;
  double value;
  double d_winner;
  double d_loser;
};

std::vector<Golden> golden_cases() {
  const auto make = [](int32_t kind, double kappa, double beta) { return loss_of(kind, kappa * beta); };
  const PairLoss dmpo = loss_with(SMPO_PAIR_LOSS_DMPO, 0.5 * 2000, {0.01});
  const PairLoss mapo = loss_with(SMPO_PAIR_LOSS_MAPO, 0, {0.5, 1000, 0.1});
  const PairLoss ipo = loss_with(SMPO_PAIR_LOSS_IPO, 0.5 * 5000, {0.5});
  return {
      {"DPO", make(SMPO_PAIR_LOSS_DPO, 0.5, 5000), {}, 0.386871006115, 802.053254, -802.053254},
      {"DPO, kappa 1", make(SMPO_PAIR_LOSS_DPO, 1, 5000), {}, 0.201413277983, 912.127639, -912.127639},
      {"NPO", make(SMPO_PAIR_LOSS_NPO, 0.5, 5000), {}, 1.136871006115, -1697.946746, 1697.946746},
      {"SmPO, p .6", make(SMPO_PAIR_LOSS_SMPO, 0.5, 5000), {.label = 0.6}, 0.201413277983, 912.127639, -912.127639},
      {"SmPO, p .5", make(SMPO_PAIR_LOSS_SMPO, 0.5, 5000), {.label = 0.5}, 0.693147180560, 0, 0},
      {"DMPO", dmpo, {}, 1.283515484801, 1049.977746, -1049.977746},
      {"KTO",
       make(SMPO_PAIR_LOSS_KTO, 1, 5000),
       {.mean_gain = ((0.1002 - 0.1000) + (0.1199 - 0.1200)) / 2},
       0.320821300825,
       544.737477,
       -544.737477},
      {"MaPO", mapo, {}, 0.100735758372, 1.180210, -0.179600},
      {"IPO", ipo, {}, 0.0625, -1250, 1250},
      {"CaPO", make(SMPO_PAIR_LOSS_CAPO, 1, 1000), {.label = 0.2}, 0.01, -200, 200},
      {"hinge", make(SMPO_PAIR_LOSS_HINGE, 0.5, 5000), {}, 0.25, 2500, -2500},
  };
}

/// Losses have twelve digits. Gradients are finite differences with seven valid digits: for kappa 1 the table has
/// 912.127639 for DPO, while 5000 s(-1.5) is 912.127619. ExactGradients tests nine digits.
constexpr Tolerance kGoldenLoss{.absolute = 1e-9};
constexpr Tolerance kGoldenGradient{.relative = 3e-8, .absolute = 5.1e-7};

using PairFunction = PairValue (*)(const PairLoss&, const PairErrors&, const PairFactors&);

void expect_golden(PairFunction evaluate) {
  for (const Golden& golden : golden_cases()) {
    SCOPED_TRACE(golden.name);
    const PairValue value = evaluate(golden.loss, kGoldenErrors, golden.factors);
    EXPECT_TRUE(kGoldenLoss.accepts(value.loss, golden.value)) << value.loss;
    EXPECT_TRUE(kGoldenGradient.accepts(value.d_winner, golden.d_winner)) << value.d_winner;
    EXPECT_TRUE(kGoldenGradient.accepts(value.d_loser, golden.d_loser)) << value.d_loser;

    // A relative change of 1e-5 in a coefficient must be detected. (At p = 1/2 the SmPO loss depends on none.)
    if (golden.loss.kind == SMPO_PAIR_LOSS_SMPO && golden.factors.label == 0.5) continue;
    PairLoss mutated = golden.loss;
    (golden.loss.kind == SMPO_PAIR_LOSS_MAPO ? mutated.parameters[1] : mutated.strength) *= 1 + 1e-5;
    const PairValue wrong = evaluate(mutated, kGoldenErrors, golden.factors);
    EXPECT_FALSE(kGoldenLoss.accepts(wrong.loss, golden.value));
    EXPECT_FALSE(kGoldenGradient.accepts(wrong.d_winner, golden.d_winner));
    EXPECT_FALSE(kGoldenGradient.accepts(wrong.d_loser, golden.d_loser));
  }
}

void expect_golden_budget(PairFunction evaluate) {
  // DPO at the errors above, and the budget term at r_w = .0998: 0.386871006115 + 0.4, 802.053254 + 2500.
  PairLoss loss = loss_of(SMPO_PAIR_LOSS_DPO, 2500);
  loss.budget_weight = 1;
  loss.budget = 0.1;
  PairErrors errors = kGoldenErrors;
  errors.reference_winner = 0.0998;
  PairLoss plain = loss;
  plain.budget_weight = 0;
  const PairValue with = evaluate(loss, errors, {});
  const PairValue without = evaluate(plain, errors, {});
  const PairValue dpo = evaluate(plain, kGoldenErrors, {});
  EXPECT_TRUE(kGoldenLoss.accepts(dpo.loss + (with.loss - without.loss), 0.786871006115));
  EXPECT_TRUE(kGoldenGradient.accepts(dpo.d_winner + (with.d_winner - without.d_winner), 3302.053254));
  EXPECT_TRUE(kGoldenGradient.accepts(dpo.d_loser + (with.d_loser - without.d_loser), -802.053254));
  const PairValue within = evaluate(loss, kGoldenErrors, {});
  EXPECT_EQ(within.loss, dpo.loss) << "inside the budget the term costs nothing";
  EXPECT_EQ(within.d_winner, dpo.d_winner);
}

TEST(PreferenceLossReference, PublishedNumbers) { expect_golden(&pair_value); }
TEST(PreferenceLossMath, PublishedNumbers) { expect_golden(&fast_value); }
TEST(PreferenceLossReference, PublishedBudgetTerm) { expect_golden_budget(&pair_value); }
TEST(PreferenceLossMath, PublishedBudgetTerm) { expect_golden_budget(&fast_value); }

TEST(PreferenceLossReference, ExactGradients) {
  // Derived from the twelve digits of losses that are logistic functions: s(-.75), and s(-1.5) = 1 - e^-0.201413277983.
  const double s75 = 0.320821300825;
  const double s150 = -std::expm1(-0.201413277983);
  const std::vector<Golden> golden = golden_cases();
  const double wanted[] = {
      2500 * s75, 5000 * s150, -2500 * (1 - s75), 5000 * s150, 0, -1000 * -1.049977747073, 2500 * s75 * (1 - s75)};
  for (const PairFunction evaluate : {&pair_value, &fast_value}) {
    for (size_t i = 0; i < std::size(wanted); ++i) {
      const PairValue value = evaluate(golden[i].loss, kGoldenErrors, golden[i].factors);
      EXPECT_NEAR(value.d_winner, wanted[i], 1e-9 * 2500) << golden[i].name;
      EXPECT_NEAR(value.d_loser, -wanted[i], 1e-9 * 2500) << golden[i].name;
    }
  }
}

TEST(PreferenceLossReference, PublishedDmpoSlope) {
  EXPECT_NEAR(reference::dmpo_of_logit(0.3, 0.01).d_logit, -1.049977747073, 1e-9);
  EXPECT_GT(std::abs(reference::dmpo_of_logit(0.3, 0.0101).d_logit + 1.049977747073), 1e-9);
}

// From p = s(r'_w - r'_l) of the published cosines to the slope 2 alpha - gamma = gamma (2p - 1) of the logit.
TEST(PreferenceLossReference, PublishedSmoothedLabels) {
  const double least = 0.11543526500463486;
  const double most = 0.28201571106910706;
  const struct {
    double winner, loser, label, slope;
  } cases[] = {{0.215, 0.205, 0.515003259, 0.300065170}, {0.25, 0.18, 0.603535268, 2.070705356}};
  for (const auto& c : cases) {
    const double label = 1 / (1 + std::exp(-((c.winner - least) - (c.loser - least)) / (most - least)));
    EXPECT_NEAR(label, c.label, 5.1e-10);
    // At strength 1 the logit is (2 alpha - gamma) times the difference of the advantages.
    const PairLoss loss = loss_with(SMPO_PAIR_LOSS_SMPO, 1, {10});
    for (const PairFunction evaluate : {&pair_value, &fast_value}) {
      const PairValue value = evaluate(loss, {.policy_loser = 1}, {.label = label});
      EXPECT_NEAR(value.logit, c.slope, 5.1e-10);
      EXPECT_GT(std::abs(value.logit * (1 + 1e-5) - c.slope), 5.1e-10);
    }
  }
}

// DoRA around DPO: L = lambda log mean exp(h l / lambda). Its row factors h softmax(h l / lambda) are passed as
// weights.
TEST(PreferenceLossReference, PublishedDoraFactorsAreWeights) {
  const double ratios[] = {1.2, 0.7};
  const double logits[] = {0.3, -0.8};
  const auto value_of = [&](const double* losses) {
    return std::log((std::exp(ratios[0] * losses[0]) + std::exp(ratios[1] * losses[1])) / 2);
  };
  double losses[2];
  double factors[2];
  for (int i = 0; i < 2; ++i) losses[i] = std::log1p(std::exp(-logits[i]));
  const double total = std::exp(ratios[0] * losses[0]) + std::exp(ratios[1] * losses[1]);
  for (int i = 0; i < 2; ++i) factors[i] = ratios[i] * std::exp(ratios[i] * losses[i]) / total;
  EXPECT_NEAR(value_of(losses), 0.745480901108, 1e-9);
  EXPECT_NEAR(factors[0], 0.553728806240, 1e-9);
  EXPECT_NEAR(factors[1], 0.376991529694, 1e-9);

  // At strength 1 the logit is r_w - l_w with the one-element rows below.
  const PairLoss loss = loss_of(SMPO_PAIR_LOSS_DPO, 1);
  PreferenceLossCase c(2, 1, loss);
  for (int64_t i = 0; i < 4; ++i) {
    c.target.set(i, 0);
    c.reference.set(i, 0);
    c.prediction.set(i, 0);
  }
  c.reference.set(0, std::sqrt(0.3f));
  c.prediction.set(1, std::sqrt(0.8f));
  c.weight[0] = factors[0];
  c.weight[1] = factors[1];
  c.args.logit_scale_P = nullptr;
  c.args.gradient_scale = 1;
  for (const auto& run : {&run_reference, &run_cpu}) {
    c.run(run);
    EXPECT_NEAR(c.logit[0], 0.3, 1e-7);
    EXPECT_NEAR(c.logit[1], -0.8, 1e-7);
    // Numerically, by the chain rule through value_of.
    for (size_t p = 0; p < 2; ++p) {
      const double step = 1e-5;
      double up[2];
      double down[2];
      for (size_t q = 0; q < 2; ++q) {
        up[q] = std::log1p(std::exp(-(c.logit[q] - (p == q ? step : 0))));
        down[q] = std::log1p(std::exp(-(c.logit[q] + (p == q ? step : 0))));
      }
      const double slope = (value_of(up) - value_of(down)) / (2 * step);  // d/dl_w = -d/du
      EXPECT_NEAR(c.d_error[p], slope, 1e-7) << p;
      EXPECT_NEAR(c.d_error[2 + p], -slope, 1e-7) << p;
    }
  }
}

TEST(PreferenceLossReference, PublishedSafeguard) {
  EXPECT_NEAR(reference::safeguard_factor(0.0175, 0.035, 0.9), 0.05, 1e-8);
  EXPECT_NEAR(reference::safeguard_factor(0.0175, 0.035, 0.2), 0.4, 1e-7);
  EXPECT_EQ(reference::safeguard_factor(0.0175, -0.035, 0.9), 1);
  EXPECT_EQ(reference::safeguard_factor(1, 0.001, 0.9), 1);

  const float winner[] = {0.5f, -0.2f, 0.1f, 0.3f};
  const float winner_target[] = {0.4f, -0.1f, 0.2f, 0.1f};
  const float loser[] = {0.6f, 0.1f, -0.1f, 0.4f};
  const float loser_target[] = {0.2f, 0.3f, 0.1f, 0.1f};
  for (const auto& run : {&run_reference, &run_cpu}) {
    for (const double mu : {0.9, 0.2}) {
      PairLoss loss = loss_of(SMPO_PAIR_LOSS_DPO, 5);
      loss.safeguard_mu = mu;
      PreferenceLossCase off(1, 4, loss);
      loss.safeguard = 1;
      PreferenceLossCase on(1, 4, loss);
      for (PreferenceLossCase* c : {&off, &on}) {
        for (int64_t n = 0; n < 4; ++n) {
          c->prediction.set(n, winner[n]);
          c->target.set(n, winner_target[n]);
          c->prediction.set(4 + n, loser[n]);
          c->target.set(4 + n, loser_target[n]);
        }
        c->run(run);
      }
      const double factor = mu == 0.9 ? 0.05 : 0.4;
      EXPECT_NEAR(on.safeguard[0], factor, 4e-7);
      EXPECT_EQ(on.loss_of_pair[0], off.loss_of_pair[0]) << "the loss keeps its value";
      EXPECT_EQ(on.d_error[0], off.d_error[0]) << "the winner keeps its gradient";
      EXPECT_NEAR(on.d_error[1], factor * off.d_error[1], 4e-7 * std::abs(off.d_error[1]));
      EXPECT_EQ(off.safeguard[0], 1);
    }
  }
}

// ---- finite differences

/// Errors as in training, and some a thousand times larger.
std::vector<PairErrors> sample_errors(double spread) {
  std::vector<PairErrors> all;
  const std::vector<float> noise = test::normal_floats(80, 5, 0.0f, static_cast<float>(spread));
  for (size_t i = 0; i + 4 <= noise.size(); i += 4) {
    all.push_back({.policy_winner = 0.1 + std::abs(static_cast<double>(noise[i])),
                   .policy_loser = 0.11 + std::abs(static_cast<double>(noise[i + 1])),
                   .reference_winner = 0.1 + std::abs(static_cast<double>(noise[i + 2])),
                   .reference_loser = 0.11 + std::abs(static_cast<double>(noise[i + 3]))});
  }
  return all;
}

/// Central difference, with Richardson's extrapolation: the error falls with the fourth power of the step.
template <class F>
double derivative(F f, double x, double step) {
  const auto central = [&](double h) { return (f(x + h) - f(x - h)) / (2 * h); };
  return (4 * central(step / 2) - central(step)) / 3;
}

TEST(PreferenceLossReference, GradientIsTheDerivativeByTheErrors) {
  for (const int32_t kind : kAllKinds) {
    const PairLoss loss = test::sample_loss(kind);
    for (const PairErrors& errors : sample_errors(0.02)) {
      for (const bool swapped : {false, true}) {
        SCOPED_TRACE(test::name_of(kind));
        const PairFactors factors{.label = 0.7,
                                  .logit_scale = 1.3,
                                  .mean_gain = 0.002,
                                  .winner_desirable = !swapped,
                                  .loser_desirable = swapped};
        const double fall = loss.strength * factors.logit_scale *
                            (kind == SMPO_PAIR_LOSS_NPO ? errors.policy_loser - errors.reference_loser
                                                        : errors.policy_winner - errors.reference_winner);
        if (std::abs(fall - loss.budget) < 1e-2) continue;  // a kink of the budget term
        const PairValue value = pair_value(loss, errors, factors);
        if (kind == SMPO_PAIR_LOSS_HINGE && std::abs(value.logit - 1) < 2e-2) continue;  // the hinge's kink
        PairErrors moved = errors;
        const double d_winner = derivative(
            [&](double x) {
              moved.policy_winner = x;
              return pair_value(loss, moved, factors).loss;
            },
            errors.policy_winner, 1e-4);
        moved = errors;
        const double d_loser = derivative(
            [&](double x) {
              moved.policy_loser = x;
              return pair_value(loss, moved, factors).loss;
            },
            errors.policy_loser, 1e-4);
        const double scale = 1e-7 * (1 + std::abs(value.d_winner) + std::abs(value.d_loser));
        EXPECT_NEAR(value.d_winner, d_winner, scale);
        EXPECT_NEAR(value.d_loser, d_loser, scale);
        if (value.d_winner != 0) {
          EXPECT_GT(std::abs(value.d_winner * (1 + 1e-5) - d_winner), 0) << "the derivatives agree in every bit";
        }
      }
    }
  }
}

/// Moves one element by a step that is exact in f32, so that only the curvature of the loss causes a difference.
double derivative_by_element(PreferenceLossCase& c, int64_t i) {
  const double step = 0x1p-10;
  const float before = c.prediction.floats()[i];
  const auto sum_at = [&](double x) {
    c.prediction.set(i, static_cast<float>(x));
    EXPECT_EQ(c.prediction.at(i), x) << "the step must be exact";
    reference::preference_loss(c.args);
    return c.loss_sum[0];
  };
  const double value = derivative(sum_at, before, step);
  c.prediction.set(i, before);
  return value;
}

TEST(PreferenceLossReference, GradientIsTheDerivativeByThePrediction) {
  const int64_t P = 3;
  const int64_t N = 7;
  for (const int32_t kind : kAllKinds) {
    SCOPED_TRACE(test::name_of(kind));
    PairLoss loss = test::sample_loss(kind);
    loss.strength = kind == SMPO_PAIR_LOSS_KTO ? 4 : 2;
    if (kind == SMPO_PAIR_LOSS_MAPO) loss.parameters[1] = 4;
    loss.budget = -0.9;             // exceeded by all pairs, so there is no kink
    loss.safeguard = 0;             // with a safeguard the gradient differs from that of the loss
    const double mean_gain = 0.01;  // likewise with the batch's mean gain
    PreferenceLossCase c(P, N, loss);
    c.args.mean_gain = &mean_gain;
    c.args.desirable_R = c.desirable.data();
    for (int64_t i = 0; i < 2 * P * N; ++i) {
      c.prediction.set(i, std::round(c.prediction.floats()[i] * 4096) / 4096);  // leaves bits for the step
    }
    c.run(run_reference);
    std::vector<float> gradients(c.d_prediction.floats(), c.d_prediction.floats() + 2 * P * N);
    double largest = 0;
    for (const float g : gradients) largest = std::max(largest, std::abs(static_cast<double>(g)));
    ASSERT_GT(largest, 0);
    for (int64_t i = 0; i < 2 * P * N; ++i) {
      // The gradient is stored in f32; the difference quotient is accurate to about 1e-10.
      EXPECT_NEAR(gradients[static_cast<size_t>(i)], derivative_by_element(c, i), 0x1p-23 * largest) << "element " << i;
    }
  }
}

// ---- the fast formulas against the reference's

TEST(PreferenceLossMath, AgreesWithTheReferenceOnOrdinaryErrors) {
  for (const int32_t kind : kAllKinds) {
    SCOPED_TRACE(test::name_of(kind));
    for (const double spread : {1e-4, 0.02, 1.0}) {
      for (const double beta : {1.0, 100.0, 5000.0}) {
        PairLoss loss = test::sample_loss(kind);
        loss.strength = kind == SMPO_PAIR_LOSS_KTO ? beta : 0.5 * beta;
        for (const PairErrors& errors : sample_errors(spread)) {
          const PairFactors factors{.label = 0.62, .logit_scale = 0.8, .mean_gain = 1e-4};
          const PairValue fast = fast_value(loss, errors, factors);
          const PairValue wanted = pair_value(loss, errors, factors);
          // Differences of errors near 1 cancel; the logit magnifies that by its slope, up to 7 beta.
          const double cancelled = 32 * 0x1p-53 * (1 + 7 * std::max(beta, test::kSampleTemperature) * (1 + spread));
          const double slope = 1 + 7 * std::max(beta, test::kSampleTemperature);
          const double size = 1 + std::abs(wanted.logit);
          EXPECT_NEAR(fast.logit, wanted.logit, cancelled);
          EXPECT_NEAR(fast.loss, wanted.loss, cancelled * size * 2);
          EXPECT_NEAR(fast.d_winner, wanted.d_winner, cancelled * slope * size);
          EXPECT_NEAR(fast.d_loser, wanted.d_loser, cancelled * slope * size);
        }
      }
    }
  }
}

TEST(PreferenceLossMath, MapoScoreIsSmoothWhereItsSeriesEnds) {
  // The closed form in long double, which is accurate enough on both sides of the switch at y = 0.02.
  for (const double y : {1e-6, 1e-3, 0.0199999, 0.02, 0.0200001, 0.1, 1.0, 30.0}) {
    const long double m = std::expm1(static_cast<long double>(y));
    const auto value = static_cast<double>(y / m);
    const auto slope = static_cast<double>((m - y * std::exp(static_cast<long double>(y))) / (m * m));
    const pair_loss_math::MapoScore score = pair_loss_math::mapo_score(0.5, 2 * y);
    EXPECT_NEAR(score.value, value, 1e-14 * value) << y;
    EXPECT_NEAR(score.derivative, 0.5 * slope, 1e-11 * std::abs(slope)) << y;
  }
  EXPECT_EQ(pair_loss_math::mapo_score(0.5, 0).value, 1);
  EXPECT_EQ(pair_loss_math::mapo_score(0.5, 0).derivative, -0.25);
}

TEST(PreferenceLossMath, HugeLogitsNeitherOverflowNorLoseTheLoss) {
  for (const PairFunction evaluate : {&pair_value, &fast_value}) {
    for (const double u : {30.0, 700.0, 800.0, 1e6, 1e100}) {
      const PairErrors lost{.policy_winner = 2, .policy_loser = 1, .reference_winner = 1, .reference_loser = 1};
      const PairErrors won{.policy_winner = 1, .policy_loser = 2, .reference_winner = 1, .reference_loser = 1};
      const PairLoss loss = loss_of(SMPO_PAIR_LOSS_DPO, u);
      EXPECT_EQ(evaluate(loss, lost, {}).logit, -u);
      EXPECT_NEAR(evaluate(loss, lost, {}).loss / u, 1, 1e-14);
      EXPECT_NEAR(evaluate(loss, lost, {}).d_winner / u, 1, 1e-12);
      EXPECT_NEAR(evaluate(loss, won, {}).loss, std::exp(-u), 1e-12 * std::exp(-u));
      EXPECT_NEAR(evaluate(loss, won, {}).d_winner, u * std::exp(-u), 1e-12 * u * std::exp(-u));
      for (const int32_t kind : {SMPO_PAIR_LOSS_NPO, SMPO_PAIR_LOSS_DMPO, SMPO_PAIR_LOSS_KTO}) {
        for (const PairErrors& errors : {lost, won}) {
          const PairValue value = evaluate(loss_of(kind, u), errors, {});
          EXPECT_TRUE(std::isfinite(value.loss) && value.loss >= 0) << test::name_of(kind) << " " << u;
          EXPECT_TRUE(std::isfinite(value.d_winner)) << test::name_of(kind) << " " << u;
        }
      }
    }
    const PairLoss loss = loss_of(SMPO_PAIR_LOSS_MAPO, 0);
    for (const double error : {1e3, 1e6, 1e300}) {
      const PairValue value = evaluate(loss, {.policy_winner = 0.1, .policy_loser = error}, {});
      if (evaluate == &fast_value) {
        EXPECT_TRUE(std::isfinite(value.loss) && std::isfinite(value.d_loser)) << error;
      }
    }
  }
}

TEST(PreferenceLossMath, NothingHidesANonFiniteError) {
  for (const PairFunction evaluate : {&pair_value, &fast_value}) {
    for (const int32_t kind : kAllKinds) {
      for (const double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
        for (int which = 0; which < 4; ++which) {
          PairErrors errors = kGoldenErrors;
          double* const fields[] = {&errors.policy_winner, &errors.policy_loser, &errors.reference_winner,
                                    &errors.reference_loser};
          *fields[which] = bad;
          const PairValue value = evaluate(test::sample_loss(kind), errors, {});
          EXPECT_TRUE(std::isnan(value.loss) && std::isnan(value.d_winner) && std::isnan(value.d_loser))
              << test::name_of(kind) << ", error " << which << " = " << bad;
        }
      }
    }
  }
}

// ---- the kernel

void expect_agreement(int64_t pairs, int64_t elements, const PairLoss& loss, PreferenceLossTypes types = {},
                      const std::function<void(PreferenceLossCase&)>& change = {}) {
  SCOPED_TRACE(testing::Message() << test::name_of(loss.kind) << ", " << pairs << " pairs of " << elements << ", "
                                  << test::name_of(types.prediction) << " " << test::name_of(types.reference) << " "
                                  << test::name_of(types.target));
  PreferenceLossCase c(pairs, elements, loss, types);
  PreferenceLossCase judge(pairs, elements, loss, types);
  if (change) {
    change(c);
    change(judge);
  }
  judge.run(run_reference);
  c.run(run_cpu);
  test::expect_agreement(c, judge);
}

TEST(PreferenceLossCpu, AgreesWithTheReferenceOnAwkwardSizes) {
  for (const int64_t elements : test::kRowSizes) {
    for (const int64_t pairs : {1, 2, 3, 5}) {
      expect_agreement(pairs, elements, test::sample_loss(SMPO_PAIR_LOSS_DPO));
      if (HasFatalFailure()) return;
    }
  }
}

TEST(PreferenceLossCpu, AgreesWithTheReferenceForEveryKind) {
  for (const int32_t kind : kAllKinds) {
    for (const int64_t elements : {1, 65, 5000}) {
      PairLoss loss = test::sample_loss(kind);
      expect_agreement(3, elements, loss);
      loss.safeguard = 0;
      loss.budget_weight = 0;
      expect_agreement(2, elements, loss, {}, [](PreferenceLossCase& c) { c.args.desirable_R = c.desirable.data(); });
      if (HasFatalFailure()) return;
    }
  }
}

TEST(PreferenceLossCpu, AgreesWithTheReferenceForEveryType) {
  for (const DType prediction : test::kDTypes) {
    for (const DType reference : test::kDTypes) {
      for (const DType target : test::kDTypes) {
        for (const int64_t elements : {3, 127, 4097}) {
          expect_agreement(2, elements, test::sample_loss(SMPO_PAIR_LOSS_SMPO), {prediction, reference, target});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(PreferenceLossCpu, OptionalInputsMayBeMissing) {
  const PairLoss loss = test::sample_loss(SMPO_PAIR_LOSS_DPO);
  expect_agreement(3, 1000, loss, {}, [](PreferenceLossCase& c) {
    c.args.logit_scale_P = nullptr;
    c.args.weight_P = nullptr;
    c.args.label_P = nullptr;
  });
  expect_agreement(3, 1000, loss, {}, [](PreferenceLossCase& c) {
    c.args.reference_RN = nullptr;
    c.args.reference_error_R = c.reference_error.data();
  });
  expect_agreement(3, 1000, loss, {}, [](PreferenceLossCase& c) { c.args.d_prediction_RN = nullptr; });
  for (const int32_t kind : {SMPO_PAIR_LOSS_MAPO, SMPO_PAIR_LOSS_SFT}) {
    expect_agreement(2, 1000, test::sample_loss(kind), {},
                     [](PreferenceLossCase& c) { c.args.reference_RN = nullptr; });
  }
  const double mean_gain = 0.003;
  expect_agreement(2, 1000, test::sample_loss(SMPO_PAIR_LOSS_KTO), {},
                   [&](PreferenceLossCase& c) { c.args.mean_gain = &mean_gain; });
}

// ---- single images

TEST(PreferenceLossReference, PublishedNumbersOfSingleImages) {
  // Five images with their gains r - l, beta 5000, weights 1.
  const double gains[] = {2e-4, -1e-4, 3e-4, 5e-5, 1e-4};
  const unsigned char desirable[] = {1, 1, 0, 0, 1};
  const double d_policy[] = {237.758960, 192.027448, -201.108078, -244.458312, 249.843815};
  double z0 = 0, loss = 0;
  for (const double gain : gains) z0 += gain / 5;
  EXPECT_NEAR(z0, 1.1e-4, 1e-18);
  const PairLoss kto = loss_of(SMPO_PAIR_LOSS_KTO, 5000);
  for (int i = 0; i < 5; ++i) {
    const reference::SingleValue value =
        reference::single_value(kto, 0.1, 0.1 + gains[i], {.mean_gain = z0, .winner_desirable = desirable[i] != 0});
    EXPECT_NEAR(value.d_error / 5, d_policy[i], 1e-4) << i;
    EXPECT_GT(std::abs(value.d_error * (1 + 1e-6) / 5 - d_policy[i]), 1e-4) << "the comparison is too loose";
    loss += value.loss / 5;
  }
  EXPECT_NEAR(loss, 0.557861144586, 1e-12);
}

TEST(PreferenceLossReference, PublishedPseudoHuber) {
  // Timestep 239, s 339 of Self-NPO: q^2 = .905153317204, targets eps*, predictions .1 -.6 1.2, c 1e-3.
  PreferenceLossCase c(1, 3, loss_with(SMPO_PAIR_LOSS_PSEUDO_HUBER, 0, {1e-3}));
  const double target[] = {-0.215936801338, -0.206136945876, 1.342918624345};
  const float prediction[] = {0.1f, -0.6f, 1.2f};
  const double gradient[] = {0.317130064237, -0.317130690042, -0.317123243138};
  for (int i = 0; i < 3; ++i) {
    c.target.set(i, static_cast<float>(target[i]));
    c.prediction.set(i, prediction[i]);
  }
  const double q = std::sqrt(0.905153317204);
  c.args.images = 1;
  c.args.error_scale_R = &q;
  c.args.weight_P = nullptr;
  c.args.reference_RN = nullptr;
  c.args.gradient_scale = 1;
  for (const auto& kernel : {&run_reference, &run_cpu}) {
    c.run(kernel);
    EXPECT_NEAR(c.loss_sum[0], 0.269426387817, 1e-7);
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(c.d_prediction.at(i), gradient[i], 1e-7);
  }
  // The same errors squared, as SFT of a single image with a scale has them.
  const double squared_gradient[] = {0.190647495838, -0.237670966643, -0.086242177944};
  c.args.loss = loss_with(SMPO_PAIR_LOSS_SFT, 0, {});
  for (const auto& kernel : {&run_reference, &run_cpu}) {
    c.run(kernel);
    EXPECT_NEAR(c.loss_sum[0], 0.083083993125, 1e-7);
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(c.d_prediction.at(i), squared_gradient[i], 1e-7);
  }
}

void expect_single_agreement(int64_t images, int64_t elements, int32_t kind, PreferenceLossTypes types = {}) {
  SCOPED_TRACE(testing::Message() << test::name_of(kind) << ", " << images << " images of " << elements);
  const PairLoss loss = loss_of(kind, kind == SMPO_PAIR_LOSS_KTO ? 100.0 : 0.0);
  PreferenceLossCase c(images, elements, loss, types);
  PreferenceLossCase judge(images, elements, loss, types);
  for (PreferenceLossCase* each : {&c, &judge}) {
    test::make_single(*each);
    if (kind != SMPO_PAIR_LOSS_KTO) each->args.reference_RN = nullptr;
  }
  judge.run(run_reference);
  c.run(run_cpu);
  test::expect_single_agreement(c, judge);
}

TEST(PreferenceLossCpu, SingleImagesAgreeWithTheReference) {
  for (const int32_t kind : test::kSingleKinds) {
    for (const int64_t elements : {1, 65, 127, 4097, 5000}) {
      for (const int64_t images : {1, 2, 5}) {
        expect_single_agreement(images, elements, kind);
        if (HasFatalFailure()) return;
      }
    }
    for (const DType prediction : test::kDTypes) {
      expect_single_agreement(3, 200, kind, {prediction, prediction, DType::kF32});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(PreferenceLossReference, GradientOfSingleImagesIsTheDerivative) {
  for (const int32_t kind : test::kSingleKinds) {
    SCOPED_TRACE(test::name_of(kind));
    PreferenceLossCase c(3, 7, loss_of(kind, 4));
    test::make_single(c);
    const double mean_gain = 0.01;
    c.args.mean_gain = &mean_gain;
    for (int64_t i = 0; i < 21; ++i) c.prediction.set(i, std::round(c.prediction.floats()[i] * 4096) / 4096);
    c.run(run_reference);
    const std::vector<float> gradients(c.d_prediction.floats(), c.d_prediction.floats() + 21);
    for (int64_t i = 0; i < 21; ++i) {
      EXPECT_NEAR(gradients[static_cast<size_t>(i)], derivative_by_element(c, i), 1e-7) << "element " << i;
    }
  }
}

TEST(PreferenceLossCpu, SingleImagesHaveTheSameBitsForEveryInstructionSetAndThreadCount) {
  for (const int32_t kind : test::kSingleKinds) {
    std::vector<std::vector<unsigned char>> wanted;
    for (const cpu::InstructionSet set : test::runnable_instruction_sets()) {
      for (const int threads : {1, 3}) {
        const test::ThreadScope scope(threads);
        PreferenceLossCase c(3, 4201, loss_of(kind, 100));
        test::make_single(c);
        c.run([&](const PreferenceLossArgs& args) { cpu::preference_loss(args, set); });
        if (wanted.empty()) wanted = c.bits();
        EXPECT_TRUE(c.bits() == wanted) << cpu::name_of(set) << ", " << threads << " threads";
      }
    }
  }
}

TEST(PreferenceLossCpu, ANonFiniteElementOfASingleImageShowsInItAlone) {
  for (const int32_t kind : test::kSingleKinds) {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      PreferenceLossCase c(3, 150, loss_of(kind, 100));
      test::make_single(c);
      const double mean_gain = 0;
      c.args.mean_gain = &mean_gain;
      c.prediction.set(150 + 7, bad);
      c.run(run_cpu);
      EXPECT_TRUE(std::isnan(c.loss_of_pair[1]) && std::isnan(c.loss_sum[0])) << test::name_of(kind);
      EXPECT_TRUE(std::isfinite(c.loss_of_pair[0]) && std::isfinite(c.loss_of_pair[2])) << test::name_of(kind);
    }
  }
}

TEST(PreferenceLossCpu, GradientMayReplaceThePrediction) {
  for (const DType dtype : test::kDTypes) {
    const PairLoss loss = test::sample_loss(SMPO_PAIR_LOSS_DPO);
    PreferenceLossCase c(2, 4100, loss, {.prediction = dtype});
    c.run(run_cpu);
    PreferenceLossCase in_place(2, 4100, loss, {.prediction = dtype});
    in_place.args.d_prediction_RN = in_place.prediction.data();
    in_place.run(run_cpu);
    EXPECT_EQ(in_place.prediction.bits(), c.d_prediction.bits());
    EXPECT_EQ(in_place.loss_sum[0], c.loss_sum[0]);
  }
}

TEST(PreferenceLossCpu, SameBitsForEveryInstructionSetAndThreadCount) {
  for (const DType dtype : test::kDTypes) {
    for (const int64_t elements : {int64_t{17}, int64_t{4097}, int64_t{40001}}) {
      std::vector<std::vector<unsigned char>> wanted;
      for (const cpu::InstructionSet set : test::runnable_instruction_sets()) {
        for (const int threads : {1, 2, 3, 7}) {
          const test::ThreadScope scope(threads);
          PreferenceLossCase c(3, elements, test::sample_loss(SMPO_PAIR_LOSS_KTO), {dtype, dtype, DType::kF32});
          c.run([&](const PreferenceLossArgs& args) { cpu::preference_loss(args, set); });
          if (wanted.empty()) wanted = c.bits();
          EXPECT_TRUE(c.bits() == wanted) << cpu::name_of(set) << ", " << threads << " threads";
        }
      }
    }
  }
}

TEST(PreferenceLossCpu, MicroBatchesAddUpToTheBatch) {
  // Four pairs at once and the same four one by one have the same errors and gradients, bit for bit.
  const int64_t N = 5000;
  const PairLoss loss = test::sample_loss(SMPO_PAIR_LOSS_SMPO);
  PreferenceLossCase all(4, N, loss);
  all.run(run_cpu);
  double total = 0;
  for (int64_t p = 0; p < 4; ++p) {
    PreferenceLossCase one(1, N, loss);
    for (int64_t n = 0; n < N; ++n) {
      for (const auto& [row, from] : {std::pair{int64_t{0}, p}, std::pair{int64_t{1}, 4 + p}}) {
        one.prediction.set(row * N + n, all.prediction.floats()[from * N + n]);
        one.reference.set(row * N + n, all.reference.floats()[from * N + n]);
        one.target.set(row * N + n, all.target.floats()[from * N + n]);
      }
    }
    const auto at = static_cast<size_t>(p);
    one.label[0] = all.label[at];
    one.logit_scale[0] = all.logit_scale[at];
    one.weight[0] = all.weight[at];
    one.args.gradient_scale = all.args.gradient_scale;
    one.run(run_cpu);
    EXPECT_EQ(one.loss_of_pair[0], all.loss_of_pair[at]);
    for (int64_t n = 0; n < N; ++n) {
      ASSERT_EQ(one.d_prediction.at(n), all.d_prediction.at(p * N + n));
      ASSERT_EQ(one.d_prediction.at(N + n), all.d_prediction.at((4 + p) * N + n));
    }
    total += one.loss_sum[0];
  }
  EXPECT_EQ(total, all.loss_sum[0]);
}

// ---- compared with torch's autograd in f64 (tools/golden/preference_loss.py)

struct AutogradCase {
  std::string name;
  PairLoss loss;
  std::vector<double> logit, value, sum, gradient;
};

std::vector<AutogradCase> read_autograd_cases() {
  std::ifstream file(std::string(SMPO_SOURCE_DIR) + "/native/test/golden/preference_loss.txt");
  EXPECT_TRUE(file) << "native/test/golden/preference_loss.txt cannot be read";
  std::vector<AutogradCase> cases;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string what;
    if (!(words >> what) || what == "#") continue;
    if (what == "case") {
      AutogradCase& c = cases.emplace_back();
      double beta = 0, budget_weight = 0, safeguard_mu = 0;
      words >> c.name >> beta >> budget_weight >> safeguard_mu;
      for (const int32_t kind : kAllKinds) {
        if (c.name == test::name_of(kind)) c.loss = loss_of(kind, 0.5 * beta);
      }
      c.loss.budget_weight = budget_weight;
      c.loss.safeguard_mu = safeguard_mu;
      EXPECT_EQ(c.name, test::name_of(c.loss.kind));
      c.loss.budget = -0.5;
      c.loss.safeguard = c.loss.safeguard_mu >= 0 ? 1 : 0;
      if (c.loss.kind == SMPO_PAIR_LOSS_DMPO) c.loss.parameters[0] = 0.0625;
      if (c.loss.kind == SMPO_PAIR_LOSS_KTO) c.loss.parameters[1] = 1.5;
      if (c.loss.kind == SMPO_PAIR_LOSS_MAPO) c.loss.parameters[1] = 64;
      if (c.loss.kind == SMPO_PAIR_LOSS_MAPO) c.loss.parameters[2] = 0.5;
      continue;
    }
    AutogradCase& c = cases.back();
    std::vector<double>& values = what == "logit"  ? c.logit
                                  : what == "loss" ? c.value
                                  : what == "sum"  ? c.sum
                                                   : c.gradient;
    for (double value; words >> value;) values.push_back(value);
  }
  return cases;
}

TEST(PreferenceLossGolden, LossesAndGradientsOfAutograd) {
  const int64_t P = 2;
  const int64_t N = 5;
  const std::vector<AutogradCase> cases = read_autograd_cases();
  ASSERT_EQ(cases.size(), 15u);
  for (const AutogradCase& golden : cases) {
    SCOPED_TRACE(testing::Message() << golden.name << ", budget_weight " << golden.loss.budget_weight << ", mu "
                                    << golden.loss.safeguard_mu);
    PreferenceLossCase c(P, N, golden.loss);
    for (int64_t i = 0; i < 2 * P * N; ++i) {
      const float target = static_cast<float>((i * 31 + 7) % 97 - 48) / 32;
      const float reference = target + static_cast<float>((i * 57 + 11) % 61 - 30) / 64;
      c.target.set(i, target);
      c.reference.set(i, reference);
      c.prediction.set(i, reference + static_cast<float>((i * 43 + 5) % 37 - 18) / 512);
    }
    c.label[0] = 0.625;
    c.label[1] = 0.71875;
    c.args.gradient_scale = 0.25;
    c.weight[0] = 1;
    c.weight[1] = 0.5;
    double largest = 0;
    for (const double g : golden.gradient) largest = std::max(largest, std::abs(g));
    // Reference: f64, with a gradient stored in f32. Fast: errors near 0.1 to kRowErrorTolerance, times a slope of 25.
    const auto expect = [&](double scalar, double gradient) {
      for (size_t p = 0; p < 2; ++p) {
        EXPECT_NEAR(c.logit[p], golden.logit[p], scalar);
        EXPECT_NEAR(c.loss_of_pair[p], golden.value[p], scalar);
      }
      EXPECT_NEAR(c.loss_sum[0], golden.sum[0], scalar);
      for (int64_t i = 0; i < 2 * P * N; ++i) {
        EXPECT_NEAR(c.d_prediction.at(i), golden.gradient[static_cast<size_t>(i)], gradient * largest) << i;
      }
    };
    c.run(run_reference);
    expect(1e-12, 0x1p-24);
    c.run(run_cpu);
    expect(1e-5, 1e-5);
    if (golden.loss.strength != 0) {
      c.args.loss.strength *= 1 + 1e-5;
      c.run(run_reference);
      EXPECT_GT(std::abs(c.loss_sum[0] - golden.sum[0]), 1e-12) << "a strength off by 1e-5 must show";
    }
  }
}

// ---- special values

TEST(PreferenceLossCpu, APolicyEqualToItsReferenceHasLogitZero) {
  for (const DType dtype : test::kDTypes) {
    const PairLoss loss = loss_of(SMPO_PAIR_LOSS_DPO, 2500);
    PreferenceLossCase c(2, 16384, loss, {.prediction = dtype, .reference = dtype});
    for (int64_t i = 0; i < c.prediction.count(); ++i) c.prediction.set(i, static_cast<float>(c.reference.at(i)));
    c.run(run_cpu);
    for (size_t p = 0; p < 2; ++p) {
      EXPECT_EQ(c.error[p], c.error[4 + p]);
      EXPECT_EQ(c.error[2 + p], c.error[6 + p]);
      EXPECT_EQ(c.logit[p], 0);
      EXPECT_NEAR(c.loss_of_pair[p], std::numbers::ln2, 0x1p-53);
      EXPECT_NE(c.d_error[p], 0) << "a zero logit still pulls";
    }
  }
}

TEST(PreferenceLossCpu, AnUndecidedPairHasNoGradient) {
  const PairLoss loss = loss_of(SMPO_PAIR_LOSS_SMPO, 2500);
  PreferenceLossCase c(2, 4097, loss);
  c.label[0] = 0.5;
  c.run(run_cpu);
  EXPECT_NEAR(c.loss_of_pair[0], std::numbers::ln2, 0x1p-53);
  EXPECT_EQ(c.d_error[0], 0);
  EXPECT_EQ(c.d_error[2], 0);
  for (int64_t n = 0; n < 4097; ++n) {
    ASSERT_EQ(c.d_prediction.at(n), 0);
    ASSERT_EQ(c.d_prediction.at(2 * 4097 + n), 0);
  }
  EXPECT_NE(c.d_error[1], 0) << "its neighbour has";
}

TEST(PreferenceLossCpu, NonFiniteElementsShowInTheirPairAlone) {
  const int64_t P = 3;
  const int64_t N = 5000;
  for (const int32_t kind : kAllKinds) {
    PreferenceLossCase c(P, N, test::sample_loss(kind));
    // The batch's mean spreads a non-finite value to all pairs; a given mean does not.
    const double mean_gain = 0;
    c.args.mean_gain = &mean_gain;
    test::Tensor* const tensors[] = {&c.prediction, &c.reference, &c.target};
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN(), 1e25f}) {
      for (const int64_t row : {int64_t{1}, P + 1}) {
        for (const int64_t n : {int64_t{0}, N / 2, N - 1}) {
          for (test::Tensor* const tensor : tensors) {
            SCOPED_TRACE(testing::Message()
                         << test::name_of(kind) << ", " << bad << " in row " << row << ", element " << n);
            const float before = tensor->floats()[row * N + n];
            tensor->set(row * N + n, bad);
            c.run(run_cpu);
            tensor->set(row * N + n, before);
            ASSERT_TRUE(std::isnan(c.loss_of_pair[1]));
            ASSERT_TRUE(std::isnan(c.loss_sum[0]));
            ASSERT_TRUE(std::isnan(c.d_error[1]) && std::isnan(c.d_error[4]));
            ASSERT_TRUE(std::isnan(c.d_prediction.at(N)) && std::isnan(c.d_prediction.at(4 * N)));
            for (const size_t p : {size_t{0}, size_t{2}}) {
              ASSERT_TRUE(std::isfinite(c.loss_of_pair[p]) && std::isfinite(c.d_error[p]));
              ASSERT_TRUE(std::isfinite(c.d_prediction.at(static_cast<int64_t>(p) * N)));
            }
          }
        }
      }
    }
  }
}

TEST(PreferenceLossCpu, AWeightOfZeroStillShowsANonFinitePair) {
  PreferenceLossCase c(1, 10, test::sample_loss(SMPO_PAIR_LOSS_DPO));
  c.weight[0] = 0;
  c.prediction.set(3, std::numeric_limits<float>::quiet_NaN());
  c.run(run_cpu);
  EXPECT_TRUE(std::isnan(c.loss_sum[0]));
}

TEST(PreferenceLossCpu, NoPairsIsALossOfZero) {
  PreferenceLossArgs args;
  args.elements = 16;
  double sum = -1;
  args.loss_sum = &sum;
  EXPECT_EQ(preference_loss_workspace_bytes(args), 0);
  cpu::preference_loss(args);
  EXPECT_EQ(sum, 0);
}

// The comparison itself: a perturbed output of each stage must be detected.
TEST(PreferenceLossJudge, NoticesPerturbedOutputs) {
  const PairLoss loss = test::sample_loss(SMPO_PAIR_LOSS_DPO);
  PreferenceLossCase judge(2, 200, loss);
  judge.run(run_reference);
  const auto rejects = [&](const std::function<void(PreferenceLossCase&)>& perturb) {
    PreferenceLossCase c(2, 200, loss);
    c.run(run_cpu);
    perturb(c);
    testing::TestPartResultArray failures;
    {
      const testing::ScopedFakeTestPartResultReporter reporter(
          testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
      test::expect_agreement(c, judge);
    }
    return failures.size() > 0;
  };
  EXPECT_FALSE(rejects([](PreferenceLossCase&) {}));
  EXPECT_TRUE(rejects([](PreferenceLossCase& c) { c.error[3] *= 1 + 1e-6; }));
  EXPECT_TRUE(rejects([](PreferenceLossCase& c) { c.logit[1] += 1e-6; }));
  EXPECT_TRUE(rejects([](PreferenceLossCase& c) { c.loss_of_pair[0] += 1e-6; }));
  EXPECT_TRUE(rejects([](PreferenceLossCase& c) { c.safeguard[0] *= 0.99; }));
  EXPECT_TRUE(rejects([](PreferenceLossCase& c) { c.d_error[2] *= 1 + 1e-6; }));
  EXPECT_TRUE(rejects([](PreferenceLossCase& c) { c.loss_sum[0] += 1e-6; }));
  EXPECT_TRUE(rejects([](PreferenceLossCase& c) { c.d_prediction.set(7, c.d_prediction.floats()[7] * 1.000001f); }));
  EXPECT_TRUE(rejects([](PreferenceLossCase& c) { c.d_prediction.set(799, std::nanf("")); }));
}

}  // namespace
}  // namespace smpo::kernels
