package org.smpo.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.smpo.objective.Near.assertNear;
import static org.smpo.objective.PairLosses.loss;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.smpo.schedule.NoiseSchedule;

final class ObjectiveTest {
    /// The errors behind the golden numbers: Δ = −3e-4.
    private static final PairErrors ERRORS = new PairErrors(0.1000, 0.1200, 0.1002, 0.1199);

    private static final List<Objective> ALL = List.of(
            new Smpo(2000, 10, 0.5),
            new Smpo(5000, 10, 0.5),
            new Dpo(5000, 0.5),
            new Dpo(5000, 0.5),
            new Dpo(5000, 1),
            new Inpo(2000, 0.5, 0.1),
            new Inpo(5000, 0.5, 0.1),
            new Dmpo(2000, 0.5, 0.01),
            new Dmpo(6000, 0.5, 0.01),
            new Dmpo(2000, 0.5, 0.7),
            new Ipo(5000, 0.5, 0.5),
            new Capo(1000, Double.POSITIVE_INFINITY),
            new Capo(1000, 0.3),
            new Npo(500, 1),
            new Npo(2000, 0.5),
            new Kto(5000, 1, 1),
            new Kto(1000, 1.33, 0.5),
            new Mapo(0.5, 1000, 0.1),
            new Hinge(5000, 0.5),
            new Robust(5000, 0.5, 0.125),
            new Tailorpo(10),
            new Spo(10, 0.1),
            new Spo(500, 0.1),
            new Sft());

    private static PairInputs inputs(PairErrors errors, double label, double rewardMargin, double scale) {
        return PairInputs.of(errors)
                .withLabel(label)
                .withRewardMargin(rewardMargin)
                .withLogitScale(scale)
                .withMeanGain(PairLosses.meanGain(List.of(errors)));
    }

    private static PairInputs with(PairInputs pair, double winner, double loser) {
        PairErrors e = pair.errors();
        return new PairInputs(
                new PairErrors(winner, loser, e.referenceWinner(), e.referenceLoser()),
                pair.label(),
                pair.rewardMargin(),
                pair.logitScale(),
                pair.meanGain());
    }

    private static double centralWinner(Objective o, PairInputs pair, double h) {
        PairErrors e = pair.errors();
        return (loss(o, with(pair, e.winner() + h, e.loser())).value()
                        - loss(o, with(pair, e.winner() - h, e.loser())).value())
                / (2 * h);
    }

    private static double centralLoser(Objective o, PairInputs pair, double h) {
        PairErrors e = pair.errors();
        return (loss(o, with(pair, e.winner(), e.loser() + h)).value()
                        - loss(o, with(pair, e.winner(), e.loser() - h)).value())
                / (2 * h);
    }

    /// Golden numbers to their printed digits: losses to 12 decimals; gradients to 6, which are central
    /// differences with step 1e-7 and are compared with the same differences here.
    @Test
    void reproducesThePrintedNumbers() {
        record Row(Objective objective, double p, double margin, double loss, double winner, double loser) {}
        List<Row> rows = List.of(
                new Row(new Dpo(5000, 0.5), Double.NaN, 0, 0.386871006115, 802.053254, -802.053254),
                new Row(new Dpo(5000, 1), Double.NaN, 0, 0.201413277983, 912.127639, -912.127639),
                new Row(new Inpo(5000, 0.5, 0.1), Double.NaN, 0, 0.386871006115, 802.053254, -802.053254),
                new Row(new Npo(500, 1), Double.NaN, 0, 0.770957047790, -268.71492267, 268.71492267),
                new Row(new Npo(2000, 0.5), Double.NaN, 0, 0.854355244469, -574.44251681, 574.44251681),
                new Row(new Npo(5000, 0.5), Double.NaN, 0, 1.136871006115, -1697.946746, 1697.946746),
                new Row(new Smpo(5000, 10, 0.5), 0.6, 0, 0.201413277983, 912.127639, -912.127639),
                new Row(new Smpo(5000, 10, 0.5), 0.5, 0, 0.693147180560, 0, 0),
                new Row(new Dmpo(2000, 0.5, 0.01), Double.NaN, 0, 1.283515484801, 1049.977746, -1049.977746),
                new Row(new Kto(5000, 1, 1), Double.NaN, 0, 0.320821300825, 544.737477, -544.737477),
                new Row(new Mapo(0.5, 1000, 0.1), Double.NaN, 0, 0.100735758372, 1.180210, -0.179600),
                new Row(new Ipo(5000, 0.5, 0.5), Double.NaN, 0, 0.0625, -1250, 1250),
                new Row(new Capo(1000, Double.POSITIVE_INFINITY), Double.NaN, 0.2, 0.01, -200, 200));
        // h² / 6 · max|f'''|, with f a logistic of slope at most 5000.
        double truncation = 1e-14 / 6 * 0.125 * 5000.0 * 5000 * 5000;
        for (Row row : rows) {
            PairInputs pair = inputs(ERRORS, row.p, row.margin, 1);
            LossValue loss = loss(row.objective, pair);
            String name = row.objective.toString();
            assertThat(loss.value()).as(name).isCloseTo(row.loss, within(5.1e-13));
            assertThat(centralWinner(row.objective, pair, 1e-7)).as(name).isCloseTo(row.winner, within(1e-6));
            assertThat(centralLoser(row.objective, pair, 1e-7)).as(name).isCloseTo(row.loser, within(1e-6));
            assertThat(loss.winnerGradient()).as(name).isCloseTo(row.winner, within(truncation + 6e-7));
            assertThat(loss.loserGradient()).as(name).isCloseTo(row.loser, within(truncation + 6e-7));
        }
    }

    @Test
    void dmpoDerivativeInTheLogit() {
        // Printed: u = .3, dL/du = −1.049977747073.
        Dmpo dmpo = new Dmpo(2000, 0.5, 0.01);
        LossValue loss = loss(dmpo, PairInputs.of(ERRORS));
        assertThat(loss.logit()).isCloseTo(0.3, within(1e-12));
        assertThat(loss.winnerGradient() / -1000).isCloseTo(-1.049977747073, within(5.1e-13));
    }

    /// Every gradient of every objective on random pairs. The error of a central difference with step h
    /// is f''' h² / 6 plus rounding ulp · |f| / h. With slope k (f''' of order k³), the step 1e-3 / k
    /// gives an error of about 1e-7 k.
    @Test
    void gradientsAreThoseOfTheValues() {
        SplittableRandom random = new SplittableRandom(17);
        for (Objective objective : ALL) {
            for (int i = 0; i < 200; i++) {
                PairInputs pair = randomPair(random);
                check(objective, objective, pair);
            }
        }
    }

    /// The same check with a value whose coefficient is off by 1e-5 fails, for each objective that has a
    /// coefficient.
    @Test
    void finiteDifferencesDetectAWrongCoefficient() {
        for (Objective objective : ALL) {
            if (objective instanceof Sft) {
                continue;
            }
            assertThatThrownBy(() -> {
                        SplittableRandom random = new SplittableRandom(17);
                        for (int i = 0; i < 200; i++) {
                            check(objective, GoldenPairLossTest.perturb(objective, 1 + 1e-5), randomPair(random));
                        }
                    })
                    .as(objective.name())
                    .isInstanceOf(AssertionError.class);
        }
    }

    private static PairInputs randomPair(SplittableRandom random) {
        double w = random.nextDouble(0.01, 1.5);
        double l = random.nextDouble(0.01, 1.5);
        double spread = Math.pow(10, random.nextDouble(-5, -2.5));
        return inputs(
                new PairErrors(w + spread * random.nextDouble(-1, 1), l + spread * random.nextDouble(-1, 1), w, l),
                random.nextDouble(0.2, 0.9),
                random.nextDouble(-1, 1),
                random.nextDouble(0.2, 1.2));
    }

    private static void check(Objective gradientOf, Objective valueOf, PairInputs pair) {
        double k = slope(gradientOf) * Math.max(1, pair.logitScale());
        double h = 1e-3 / k;
        double scale = gradientOf instanceof Mapo o ? o.weight() * k : k;
        LossValue loss = loss(gradientOf, pair);
        assertNear("winner " + pair, centralWinner(valueOf, pair, h), loss.winnerGradient(), 1e-6, scale);
        assertNear("loser " + pair, centralLoser(valueOf, pair, h), loss.loserGradient(), 1e-6, scale);
    }

    private static double slope(Objective objective) {
        return switch (objective) {
            case Smpo o -> o.kappa() * o.beta() * o.gamma();
            case Mapo o -> o.temperature() * o.scale();
            default -> Math.max(1, objective.strength());
        };
    }

    /// Logits of ±1e4 and beyond: the right limits, no overflow, no NaN.
    @Test
    void extremeLogits() {
        PairErrors good = new PairErrors(0, 4, 2, 2); // Δ = −4
        PairErrors bad = new PairErrors(4, 0, 2, 2); // Δ = +4
        LossValue right = loss(new Dpo(5000, 0.5), PairInputs.of(good));
        assertThat(right.logit()).isEqualTo(1e4);
        assertThat(right.value()).isZero();
        assertThat(right.winnerGradient()).isZero();
        LossValue wrong = loss(new Dpo(5000, 0.5), PairInputs.of(bad));
        assertThat(wrong.value()).isEqualTo(1e4);
        assertThat(wrong.winnerGradient()).isEqualTo(2500);
        assertThat(wrong.loserGradient()).isEqualTo(-2500);

        assertThat(loss(new Npo(5000, 0.5), PairInputs.of(good)).value()).isEqualTo(1e4);
        assertThat(loss(new Npo(5000, 0.5), PairInputs.of(bad)).value()).isZero();

        LossValue smpo = loss(new Smpo(5000, 1, 1), PairInputs.of(bad).withLabel(0.75));
        assertThat(smpo.value()).isEqualTo(1e4);

        LossValue dmpoRight = loss(new Dmpo(5000, 0.5, 0.01), PairInputs.of(good));
        assertThat(dmpoRight.value()).isCloseTo(-Math.log1p(-0.01), within(1e-15));
        assertThat(dmpoRight.winnerGradient()).isZero();
        LossValue dmpoWrong = loss(new Dmpo(5000, 0.5, 0.01), PairInputs.of(bad));
        assertThat(dmpoWrong.value()).isCloseTo(-Math.log(0.01), within(1e-15));
        assertThat(dmpoWrong.winnerGradient()).isZero();

        LossValue kto = loss(new Kto(5000, 1, 1), PairInputs.of(bad).withMeanGain(0));
        assertThat(kto.value()).isEqualTo(1);
        assertThat(kto.winnerGradient()).isZero();
        assertThat(loss(new Kto(5000, 1, 1), PairInputs.of(good).withMeanGain(0))
                        .value())
                .isZero();

        PairErrors huge = new PairErrors(0, 1e6, 1, 1); // φ(ℓ_l) underflows
        LossValue mapo = loss(new Mapo(0.5, 1e4, 0.1), PairInputs.of(huge));
        assertThat(mapo.logit()).isEqualTo(1e4);
        assertThat(mapo.value()).isZero();
        assertThat(mapo.winnerGradient()).isEqualTo(1);
        LossValue mapoWrong = loss(new Mapo(0.5, 1e4, 0.1), PairInputs.of(new PairErrors(1e6, 0, 1, 1)));
        assertThat(mapoWrong.value()).isEqualTo(1e6 + 0.1 * 1e4);
        assertThat(mapoWrong.loserGradient()).isCloseTo(0.1 * 1e4 * 0.5 * -0.5, within(1e-10));

        for (Objective objective : ALL) {
            for (PairErrors errors : List.of(good, bad, huge, new PairErrors(0, 0, 0, 0))) {
                LossValue loss = loss(objective, inputs(errors, 0.7, 0.1, 1));
                assertThat(List.of(loss.value(), loss.logit(), loss.winnerGradient(), loss.loserGradient()))
                        .as("%s %s", objective, errors)
                        .allMatch(Double::isFinite);
            }
        }
    }

    @Test
    void anUndecidedPairHasNoGradient() {
        LossValue loss = loss(new Smpo(5000, 10, 0.5), PairInputs.of(ERRORS).withLabel(0.5));
        assertThat(loss.value()).isEqualTo(Math.log(2));
        assertThat(loss.winnerGradient()).isEqualTo(0.0);
        assertThat(loss.loserGradient()).isEqualTo(0.0);
    }

    @Test
    void smpoWithFullConfidenceAndGammaOneIsDpo() {
        PairInputs pair = PairInputs.of(ERRORS).withLabel(1);
        assertThat(loss(new Smpo(5000, 1, 0.5), pair)).isEqualTo(loss(new Dpo(5000, 0.5), pair));
    }

    @Test
    void npoIsDpoOfTheReversedPair() {
        LossValue npo = loss(new Npo(5000, 0.5), PairInputs.of(ERRORS));
        LossValue reversed = loss(new Dpo(5000, 0.5), PairInputs.of(new PairErrors(0.1200, 0.1000, 0.1199, 0.1002)));
        assertThat(npo.value()).isCloseTo(reversed.value(), within(1e-15));
        assertThat(npo.winnerGradient()).isCloseTo(reversed.loserGradient(), within(1e-9));
        assertThat(npo.logit()).isCloseTo(-reversed.logit(), within(1e-12));
    }

    @Test
    void logitScaleScalesBetaWhereThereIsOne() {
        for (Objective objective : ALL) {
            PairInputs doubled = inputs(ERRORS, 0.6, 0.1, 2);
            PairInputs plain = inputs(ERRORS, 0.6, 0.1, 1);
            Objective stronger = GoldenPairLossTest.perturb(objective, 2);
            boolean hasBeta = objective.strength() > 0;
            assertThat(loss(objective, doubled))
                    .as(objective.name())
                    .isEqualTo(hasBeta ? loss(stronger, plain) : loss(objective, plain));
        }
    }

    /// Reversed labels exchange winner and loser and keep the probability, so every loss prefers the
    /// image that people rejected. Golden numbers for the pair whose image 0 people preferred.
    @Test
    void reversedLabelsReproduceThePrintedNumbers() {
        PairErrors reversed =
                new PairErrors(ERRORS.loser(), ERRORS.winner(), ERRORS.referenceLoser(), ERRORS.referenceWinner());
        LossValue dpo = loss(new Dpo(5000, 0.5), PairInputs.of(reversed));
        assertThat(dpo.logit()).isCloseTo(-0.75, within(1e-12));
        assertThat(dpo.value()).isCloseTo(1.136871006115, within(5.1e-13));
        assertThat(dpo.loserGradient()).isCloseTo(-1697.946747938456, within(1e-9));
        LossValue smpo = loss(new Smpo(5000, 10, 0.5), PairInputs.of(reversed).withLabel(0.6));
        assertThat(smpo.logit()).isCloseTo(-1.5, within(1e-12));
        assertThat(smpo.value()).isCloseTo(1.701413277983, within(5.1e-13));
        assertThat(smpo.loserGradient()).isCloseTo(-4087.872380968146, within(1e-9));
    }

    /// Golden numbers of the weight σ(1.5 − log SNR) under Stable Diffusion's schedule, and of a loss
    /// with it.
    @Test
    void capoReproducesThePrintedNumbers() {
        NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
        Capo capo = new Capo(1000, 1.5);
        Map<Integer, Double> printed = Map.of(
                0, 0.003798195195,
                51, 0.189151560849,
                251, 0.686125640768,
                501, 0.921968987106,
                751, 0.987004892202,
                951, 0.998168770999,
                999, 0.998956413386);
        printed.forEach((t, weight) -> assertThat(capo.logitScale(schedule.alphaCumprod(t)))
                .as("timestep %d", t)
                .isCloseTo(weight, within(1e-12)));
        double scale = capo.logitScale(schedule.alphaCumprod(501));
        LossValue loss = loss(capo, inputs(ERRORS, Double.NaN, 0.5, scale));
        assertThat(loss.value()).isCloseTo(0.049911717055, within(5.1e-13));
        assertThat(loss.winnerGradient()).isCloseTo(411.952899, within(1e-6));
        assertThat(loss.loserGradient()).isCloseTo(-411.952899, within(1e-6));
    }

    @Test
    void capoWeighsHighNoiseMore() {
        Capo capo = new Capo(1000, 0);
        assertThat(capo.logitScale(0.5)).isEqualTo(0.5);
        assertThat(capo.logitScale(0.01)).isCloseTo(0.99, within(1e-15));
        assertThat(capo.logitScale(0.99)).isCloseTo(0.01, within(1e-15));
        assertThat(new Capo(1000, Double.POSITIVE_INFINITY).logitScale(0.3)).isEqualTo(1);
        assertThat(new Dpo(5000, 0.5).logitScale(0.3)).isEqualTo(1);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> capo.logitScale(1))
                .withMessage("capo: alpha_cumprod: expected a number in (0, 1), got 1.0");
    }

    @Test
    void ktoOfAPairIsTheMeanOfItsImages() {
        Kto kto = new Kto(2000, 1.3, 0.7);
        double gain = PairLosses.meanGain(List.of(ERRORS, new PairErrors(0.2, 0.3, 0.4, 0.2)));
        assertThat(gain).isCloseTo((0.0002 - 0.0001 + 0.2 - 0.1) / 4, within(1e-16));
        PairLosses.ImageLoss winner = PairLosses.image(kto, 0.1000, 0.1002, true, gain, kto.beta());
        PairLosses.ImageLoss loser = PairLosses.image(kto, 0.1200, 0.1199, false, gain, kto.beta());
        LossValue pair = loss(kto, PairInputs.of(ERRORS).withMeanGain(gain));
        assertThat(pair.value()).isEqualTo((winner.value() + loser.value()) / 2);
        assertThat(pair.winnerGradient()).isEqualTo(winner.gradient() / 2);
        assertThat(pair.loserGradient()).isEqualTo(loser.gradient() / 2);
        assertThat(PairLosses.meanGain(List.of(new PairErrors(1, 1, 0.5, 0.5))))
                .as("never below 0")
                .isZero();
    }

    @Test
    void bcrBudget() {
        // Printed: DPO + λ = 1, δ = .1, with r_w := .0998 in the budget's term only.
        Objective dpo = new Dpo(5000, 0.5);
        LossValue base = loss(dpo, PairInputs.of(ERRORS));
        PairErrors worse = new PairErrors(0.1000, 0.1200, 0.0998, 0.1199);
        LossValue without = loss(dpo, PairInputs.of(worse));
        LossValue with = PairLosses.withBudget(new BcrBudget(1, 0.1), dpo, PairInputs.of(worse));
        assertThat(base.value() + with.value() - without.value()).isCloseTo(0.786871006115, within(5.1e-13));
        assertThat(base.winnerGradient() + with.winnerGradient() - without.winnerGradient())
                .isCloseTo(3302.053254, within(2e-8 * 3302));
        assertThat(with.loserGradient()).isEqualTo(without.loserGradient());
        assertThat(with.logit()).isEqualTo(without.logit());
        // Within the budget, or with an infinite budget, nothing is added.
        assertThat(PairLosses.withBudget(new BcrBudget(1, 0.6), dpo, PairInputs.of(worse)))
                .isEqualTo(without);
        assertThat(PairLosses.withBudget(new BcrBudget(1, Double.POSITIVE_INFINITY), dpo, PairInputs.of(worse)))
                .isEqualTo(without);
        // NPO favours the loser, so the budget penalizes the loser's fall.
        Objective npo = new Npo(5000, 0.5);
        PairErrors lost = new PairErrors(0.1000, 0.1200, 0.1002, 0.1196);
        LossValue plain = loss(npo, PairInputs.of(lost));
        LossValue limited = PairLosses.withBudget(new BcrBudget(1, 0.1), npo, PairInputs.of(lost));
        assertThat(limited.value() - plain.value()).isCloseTo(2500 * 0.0004 - 0.1, within(1e-12));
        assertThat(limited.winnerGradient()).isEqualTo(plain.winnerGradient());
        assertThat(limited.loserGradient()).isCloseTo(plain.loserGradient() + 2500, within(1e-9));
    }

    @Test
    void dora() {
        // Printed: losses (sp(−.3), sp(.8)), ratios (1.2, .7), λ = 1.
        double[] losses = {Math.log1p(Math.exp(-0.3)), Math.log1p(Math.exp(0.8))};
        double[] ratios = {1.2, 0.7};
        Dora dora = Dora.published();
        assertThat(dora.value(losses, ratios)).isCloseTo(0.745480901108, within(5.1e-13));
        double[] factors = dora.factors(losses, ratios);
        assertThat(factors[0]).isCloseTo(0.553728806240, within(5.1e-13));
        assertThat(factors[1]).isCloseTo(0.376991529694, within(5.1e-13));

        SplittableRandom random = new SplittableRandom(5);
        for (double lambda : new double[] {0.1, 1, 7}) {
            Dora any = new Dora(lambda);
            double[] l = random.doubles(9, 0, 3).toArray();
            double[] h = random.doubles(9, 0, 2).toArray();
            double[] gradient = any.factors(l, h);
            for (int i = 0; i < l.length; i++) {
                double step = 1e-5;
                double[] up = l.clone();
                double[] down = l.clone();
                up[i] += step;
                down[i] -= step;
                assertNear("factor", (any.value(up, h) - any.value(down, h)) / (2 * step), gradient[i], 1e-7, 1e-2);
            }
        }
        // Exponents far beyond exp's range.
        assertThat(new Dora(1e-3).value(new double[] {50, 10}, new double[] {1, 1}))
                .isCloseTo(50 - 1e-3 * Math.log(2), within(1e-12));
        assertThatIllegalArgumentException().isThrownBy(() -> dora.value(new double[0], new double[0]));
        assertThatIllegalArgumentException().isThrownBy(() -> dora.value(new double[1], new double[2]));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> dora.factors(new double[] {Double.NaN}, new double[] {1}))
                .withMessage("dora: loss 0: expected a finite number, got NaN");
    }

    @Test
    void bestWorst() {
        // Computed with numpy: the preference of 21.9 over 20.6.
        BestWorst found = BestWorst.of(21.3, 20.9, 21.9, 20.6);
        assertThat(found.best()).isEqualTo(2);
        assertThat(found.worst()).isEqualTo(3);
        assertThat(found.preference(1)).isCloseTo(0.571669966085, within(5.1e-13));
        assertThat(found.preference(0.5)).isGreaterThan(found.preference(1));
        assertThat(BestWorst.of(1, 1)).isEqualTo(new BestWorst(0, 0, 0));
        assertThat(BestWorst.of(1, 1).preference(1)).isZero();
    }

    @Test
    void sdpoSafeguard() {
        // Printed: ‖g_A‖² = .0175, g_A·g_B = .035; λ(μ = .9) = .05, λ(μ = .2) = .4 (before ε).
        double[] winner = {0.5 - 0.4, -0.2 + 0.1, 0.1 - 0.2, 0.3 - 0.1};
        double[] loser = {0.6 - 0.2, 0.1 - 0.3, -0.1 - 0.1, 0.4 - 0.1};
        double norm = 0;
        double inner = 0;
        for (int i = 0; i < 4; i++) {
            norm += (2 * winner[i] / 4) * (2 * winner[i] / 4);
            inner += (2 * winner[i] / 4) * (2 * loser[i] / 4);
        }
        assertThat(norm).isCloseTo(0.0175, within(1e-15));
        assertThat(inner).isCloseTo(0.035, within(1e-15));
        assertThat(PairLosses.safeguardFactor(new SdpoSafeguard(0.9), norm, inner))
                .isCloseTo(0.1 * 0.0175 / (0.035 + 1e-9), within(1e-15));
        assertThat(PairLosses.safeguardFactor(new SdpoSafeguard(0.9), norm, inner))
                .isCloseTo(0.05, within(2e-9));
        assertThat(PairLosses.safeguardFactor(new SdpoSafeguard(0.2), norm, inner))
                .isCloseTo(0.4, within(2e-8));
        assertThat(PairLosses.safeguardFactor(new SdpoSafeguard(0), 1, 0.5))
                .as("clamped")
                .isEqualTo(1);
        assertThat(PairLosses.safeguardFactor(new SdpoSafeguard(0.9), 1, -0.5))
                .as("no conflict")
                .isEqualTo(1);
        assertThat(PairLosses.safeguardFactor(new SdpoSafeguard(0.9), 0, 0)).isEqualTo(1);
    }

    @Test
    void whatEachObjectiveNeeds() {
        for (Objective objective : ALL) {
            // Each input that it names is required, and no other.
            for (PairInput missing : PairInput.values()) {
                PairInputs pair = inputs(ERRORS, 0.6, 0.1, 1);
                PairInputs without = switch (missing) {
                    case LABEL -> pair.withLabel(Double.NaN);
                    case REWARD_MARGIN -> pair.withRewardMargin(Double.NaN);
                    case MEAN_GAIN -> pair.withMeanGain(Double.NaN);
                };
                if (objective.inputs().contains(missing)) {
                    assertThatIllegalArgumentException()
                            .isThrownBy(() -> loss(objective, without))
                            .withMessageStartingWith(objective.name() + ": ")
                            .withMessageEndingWith("expected a value, got none");
                } else {
                    assertThat(loss(objective, without)).isEqualTo(loss(objective, pair));
                }
            }
            // The loss depends on the reference only if the objective needs it.
            PairErrors other = new PairErrors(0.1, 0.12, 0.2, 0.13);
            boolean differs = !loss(objective, inputs(other, 0.6, 0.1, 1))
                    .equals(loss(objective, inputs(new PairErrors(0.1, 0.12, 0.11, 0.13), 0.6, 0.1, 1)));
            assertThat(differs).as(objective.name()).isEqualTo(objective.needsReference());
            assertThat(objective.strength() > 0).isEqualTo(objective.needsReference());
            assertThat(objective.inversionEta() > 0 && objective.noise() != NoiseSource.INVERSION)
                    .isFalse();
        }
        assertThat(new Smpo(5000, 10, 0.5).noise()).isEqualTo(NoiseSource.INVERSION);
        assertThat(new Inpo(1, 1, 0).noise()).isEqualTo(NoiseSource.INVERSION);
        assertThat(new Smpo(5000, 10, 0.5).inputs()).isEqualTo(Set.of(PairInput.LABEL));
        assertThat(new Kto(1, 1, 1).inputs()).isEqualTo(Set.of(PairInput.MEAN_GAIN));
        assertThat(new Kto(1, 1, 1).timestepPerImage()).isTrue();
        assertThat(new Capo(1, 0).timestepPerImage()).isFalse();
    }

    @Test
    void theNativeParametersCarryEveryCoefficient() {
        for (Objective objective : ALL) {
            Objective changed = GoldenPairLossTest.perturb(objective, 1.5);
            if (!(objective instanceof Sft)) {
                assertThat(List.of(changed.strength(), Arrays.toString(changed.parameters())))
                        .as(objective.name())
                        .isNotEqualTo(List.of(objective.strength(), Arrays.toString(objective.parameters())));
            }
        }
        assertThat(new Inpo(2000, 0.5, 0.1).kind()).isEqualTo(new Dpo(2000, 0.5).kind());
        assertThat(new Dpo(2000, 0.5).strength()).isEqualTo(1000);
        assertThat(new Dpo(2000, 0.5).parameters()).isEmpty();
        assertThat(new Smpo(2000, 10, 0.5).parameters()).containsExactly(10);
        assertThat(new Dmpo(1, 1, 0.01).parameters()).containsExactly(0.01);
        assertThat(new Ipo(1, 1, 0.25).parameters()).containsExactly(0.25);
        assertThat(new Kto(1, 0.3, 0.4).parameters()).containsExactly(0.3, 0.4);
        assertThat(new Mapo(0.5, 1000, 0.1).parameters()).containsExactly(0.5, 1000.0, 0.1);
    }

    @Test
    void aBudgetThatCanAddNothingIsLeftOut() {
        Objective dpo = new Dpo(1, 1);
        for (BcrBudget idle : List.of(new BcrBudget(1, Double.POSITIVE_INFINITY), new BcrBudget(0, 0.5))) {
            assertThat(new PairLoss(dpo, Optional.of(idle), Optional.empty())).isEqualTo(PairLoss.of(dpo));
        }
        assertThat(new PairLoss(dpo, Optional.of(new BcrBudget(1, 0)), Optional.empty()).budget())
                .isPresent();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new PairLoss(new Sft(), Optional.of(new BcrBudget(1, 0)), Optional.empty()))
                .withMessage("bcr: objective: expected one with a reference, got sft");
    }

    /// The favoured image is the one whose error a step along the gradient lowers.
    @Test
    void theFavouredImageIsTheOneThatTrainingImproves() {
        for (Objective objective : ALL) {
            if (objective instanceof Dmpo dmpo && dmpo.alpha() > 0.5) {
                continue; // its target prefers losers, which no published setting does
            }
            LossValue loss = loss(objective, inputs(new PairErrors(0.1, 0.1, 0.1, 0.1), 0.6, 0.1, 1));
            boolean winner = loss.winnerGradient() > 0;
            boolean loser = loss.loserGradient() > 0;
            assertThat(winner).as(objective.name()).isEqualTo(objective.favours() == PairImage.WINNER);
            assertThat(loser).as(objective.name()).isEqualTo(objective.favours() == PairImage.LOSER);
            assertThat(loss.loserGradient() != 0).as(objective.name()).isEqualTo(objective.hasLogit());
        }
    }

    @Test
    void methodsDescribeTheirRecords() {
        assertThat(Method.all().stream().map(Method::name))
                .containsExactly(
                        "smpo",
                        "dpo",
                        "inpo",
                        "dmpo",
                        "ipo",
                        "sft",
                        "hinge",
                        "robust",
                        "npo",
                        "kto",
                        "mapo",
                        "capo",
                        "tailorpo",
                        "spo",
                        "selfnpo");
        for (Objective objective : ALL) {
            Method method = Method.all().stream()
                    .filter(candidate -> candidate.name().equals(objective.name()))
                    .findFirst()
                    .orElseThrow();
            assertThat(method.parameters().stream().map(Method.Parameter::name))
                    .containsExactlyElementsOf(objective.values().keySet());
            assertThat(method.with(objective.values().values().stream()
                            .mapToDouble(Double::doubleValue)
                            .toArray()))
                    .isEqualTo(objective);
            assertThat(List.of(method.title(), method.loss())).doesNotContain("");
        }
        assertThat(new Kto(3, 1, 2).values())
                .isEqualTo(Map.of("beta", 3.0, "desirable_weight", 1.0, "undesirable_weight", 2.0));
        Method dmpo = Method.all().get(3);
        assertThat(dmpo.parameters().get(2))
                .isEqualTo(new Method.Parameter(
                        "alpha", "Probability in the target that the loser is better", OptionalDouble.of(0.01)));
        assertThat(dmpo.parameters().get(0).byDefault()).isEmpty();
        assertThatExceptionOfType(InvalidParameterException.class)
                .isThrownBy(() -> dmpo.with(1, 1, 7))
                .satisfies(e -> {
                    assertThat(e.parameter()).isEqualTo("alpha");
                    assertThat(e.detail()).isEqualTo("expected a number in [1e-6, 1 - 1e-6], got 7.0");
                });
    }

    @Test
    void robustWithoutSwappedLabelsIsDpo() {
        PairInputs pair = PairInputs.of(ERRORS);
        LossValue dpo = loss(new Dpo(5000, 0.5), pair);
        assertThat(loss(new Robust(5000, 0.5, 0), pair)).isEqualTo(dpo);
        // TRL 0.24's formula at u = 0.75, with a share of 1/8.
        double u = dpo.logit();
        double expected = (Math.log1p(Math.exp(-u)) * 0.875 - Math.log1p(Math.exp(u)) * 0.125) / 0.75;
        assertThat(loss(new Robust(5000, 0.5, 0.125), pair).value()).isCloseTo(expected, within(1e-14));
    }

    @Test
    void badParametersAreNamed() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Robust(1, 1, 0.5))
                .withMessage("robust: epsilon: expected a number in [0, 0.5), got 0.5");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Smpo(0, 10, 0.5))
                .withMessage("smpo: beta: expected a finite number > 0, got 0.0");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Smpo(1, -1, 0.5))
                .withMessage("smpo: gamma: expected a finite number > 0, got -1.0");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Smpo(1, 1, Double.NaN))
                .withMessage("smpo: kappa: expected a finite number > 0, got NaN");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Dmpo(1, 1, 1))
                .withMessage("dmpo: alpha: expected a number in [1e-6, 1 - 1e-6], got 1.0");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new Dpo(Double.POSITIVE_INFINITY, 1))
                .withMessageStartingWith("dpo: beta: ");
        assertThatIllegalArgumentException().isThrownBy(() -> new Npo(-5, 1));
        assertThatIllegalArgumentException().isThrownBy(() -> new Inpo(1, 1, -0.1));
        assertThatIllegalArgumentException().isThrownBy(() -> new Ipo(1, 1, Double.NaN));
        assertThatIllegalArgumentException().isThrownBy(() -> new Capo(1, Double.NaN));
        assertThatIllegalArgumentException().isThrownBy(() -> new Kto(1, -1, 1));
        assertThatIllegalArgumentException().isThrownBy(() -> new Mapo(0, 1000, 0.1));
        assertThatIllegalArgumentException().isThrownBy(() -> new Spo(10, 1));
        assertThatIllegalArgumentException().isThrownBy(() -> new Dora(0));
        assertThatIllegalArgumentException().isThrownBy(() -> new SdpoSafeguard(1.5));
        assertThatIllegalArgumentException().isThrownBy(() -> new BcrBudget(1, Double.NaN));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new PairErrors(0.1, Double.NaN, 0.1, 0.1))
                .withMessage("pair errors: loser: expected a finite number >= 0, got NaN");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> PairInputs.of(ERRORS).withLabel(1.1))
                .withMessage("pair inputs: label: expected a number in [0, 1], got 1.1");
        assertThatIllegalArgumentException().isThrownBy(() -> PairInputs.of(null));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> PairInputs.of(ERRORS).withLogitScale(-1));
    }
}
