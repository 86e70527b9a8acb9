package org.smpo.objective;

import java.util.List;

/// The losses of [Objective] in double precision, value and gradient, as printed in their papers. They
/// are the reference for the native kernel and for golden numbers.
final class PairLosses {
    private PairLosses() {}

    /// Returns value and gradient for one pair.
    ///
    /// @throws IllegalArgumentException when `pair` lacks one of [Objective#inputs]
    static LossValue loss(Objective objective, PairInputs pair) {
        PairErrors errors = pair.errors();
        double slope = objective.strength() * pair.logitScale();
        double u = -slope * errors.difference();
        return switch (objective) {
            case Smpo smpo -> {
                double labelled = slope * smpo.gamma() * (2 * pair.require(smpo, PairInput.LABEL) - 1);
                yield preferWinner(-labelled * errors.difference(), labelled);
            }
            case Dpo dpo -> preferWinner(u, slope);
            case Inpo inpo -> preferWinner(u, slope);
            case Npo npo -> {
                double gradient = slope * Logistic.sigmoid(u);
                yield new LossValue(Logistic.softplus(u), u, -gradient, gradient);
            }
            case Dmpo dmpo -> divergence(u, slope, dmpo.alpha());
            case Ipo ipo -> distance(u, slope, ipo.margin());
            case Capo capo -> distance(u, slope, pair.require(capo, PairInput.REWARD_MARGIN));
            case Kto kto -> {
                double meanGain = pair.require(kto, PairInput.MEAN_GAIN);
                ImageLoss winner = image(kto, errors.winner(), errors.referenceWinner(), true, meanGain, slope);
                ImageLoss loser = image(kto, errors.loser(), errors.referenceLoser(), false, meanGain, slope);
                yield new LossValue(
                        0.5 * (winner.value() + loser.value()), u, 0.5 * winner.gradient(), 0.5 * loser.gradient());
            }
            case Hinge hinge -> u < 1 ? new LossValue(1 - u, u, slope, -slope) : new LossValue(0, u, 0, 0);
            case Robust robust -> {
                double share = 1 / (1 - 2 * robust.epsilon());
                double right = share * (1 - robust.epsilon());
                double wrong = share * robust.epsilon();
                double gradient = slope * (right * Logistic.sigmoid(-u) + wrong * Logistic.sigmoid(u));
                yield new LossValue(
                        right * Logistic.softplus(-u) - wrong * Logistic.softplus(u), u, gradient, -gradient);
            }
            case Mapo mapo -> mapo(mapo, errors);
            case Sft sft -> new LossValue(errors.winner(), 0, 1, 0);
            case Tailorpo tailorpo -> preferWinner(u, slope);
            case Spo spo -> spo(spo, errors, pair.logitScale());
            case Selfnpo selfnpo -> throw new IllegalArgumentException(selfnpo.name() + " is of single images");
        };
    }

    private static LossValue spo(Spo spo, PairErrors errors, double logitScale) {
        double winner = logitScale * (errors.referenceWinner() - errors.winner());
        double loser = logitScale * (errors.referenceLoser() - errors.loser());
        double low = Math.log1p(-spo.clip());
        double high = Math.log1p(spo.clip());
        double u = spo.beta() * (Math.clamp(winner, low, high) - Math.clamp(loser, low, high));
        double gradient = spo.beta() * logitScale * Logistic.sigmoid(-u);
        return new LossValue(
                Logistic.softplus(-u),
                u,
                Math.clamp(winner, low, high) == winner ? gradient : 0,
                Math.clamp(loser, low, high) == loser ? 0 - gradient : 0);
    }

    private static LossValue preferWinner(double logit, double slope) {
        double gradient = slope * Logistic.sigmoid(-logit);
        // 0 - g and not -g: an undecided pair has the gradient 0, not -0.
        return new LossValue(Logistic.softplus(-logit), logit, gradient, 0 - gradient);
    }

    private static LossValue divergence(double u, double slope, double alpha) {
        double right = Logistic.sigmoid(u);
        double wrong = Logistic.sigmoid(-u);
        double logTargetRight = Math.log1p(-alpha);
        double logTargetWrong = Math.log(alpha);
        double value =
                right * (-Logistic.softplus(-u) - logTargetRight) + wrong * (-Logistic.softplus(u) - logTargetWrong);
        double inLogit = right * wrong * (u - (logTargetRight - logTargetWrong));
        return new LossValue(value, u, -slope * inLogit, slope * inLogit);
    }

    private static LossValue distance(double u, double slope, double aim) {
        double missing = aim - u;
        return new LossValue(missing * missing, u, 2 * missing * slope, -2 * missing * slope);
    }

    /// KTO's loss of one image.
    ///
    /// @param value λ (1 − σ(v)); a batch's loss is the mean over its images
    /// @param gradient ∂value/∂ℓ
    record ImageLoss(double value, double gradient) {}

    /// Returns KTO's loss of one image.
    static ImageLoss image(
            Kto kto, double error, double referenceError, boolean desirable, double meanGain, double strength) {
        double weight = desirable ? kto.desirableWeight() : kto.undesirableWeight();
        double slope = desirable ? strength : -strength;
        double v = slope * (referenceError - error - meanGain);
        double miss = Logistic.sigmoid(-v);
        return new ImageLoss(weight * miss, weight * slope * Logistic.sigmoid(v) * miss);
    }

    /// KTO's reference point z0: the mean gain over all images of the pairs, at least 0.
    static double meanGain(List<PairErrors> batch) {
        double sum = 0;
        for (PairErrors pair : batch) {
            sum += pair.winnerGain() + pair.loserGain();
        }
        return Math.max(0, sum / (2.0 * batch.size()));
    }

    private static LossValue mapo(Mapo mapo, PairErrors errors) {
        double winner = mapo.scale() * errors.winner();
        double loser = mapo.scale() * errors.loser();
        double z = mapo.temperature() * (phi(winner) - phi(loser));
        double slope = mapo.weight() * mapo.temperature() * mapo.scale() * Logistic.sigmoid(-z);
        return new LossValue(
                errors.winner() + mapo.weight() * Logistic.softplus(-z),
                z,
                1 - slope * phiDerivative(winner),
                slope * phiDerivative(loser));
    }

    /// y / (e^y − 1), with the value 1 at 0.
    static double phi(double y) {
        return y == 0 ? 1 : y / Math.expm1(y);
    }

    /// d/dy of [#phi], −½ at 0.
    ///
    /// The closed form loses digits to cancellation near 0 (its numerator is of order y²), so there the
    /// derivative of the Bernoulli series Σ B_n yⁿ/n! is summed; at |y| = 0.4 its first omitted term is below
    /// 1e-17.
    static double phiDerivative(double y) {
        if (Math.abs(y) < 0.4) {
            double q = y * y;
            double tail = 1.0 / 5_337_446_400.0; // Horner, from y¹³ down
            tail = tail * q - 691.0 / 108_972_864_000.0;
            tail = tail * q + 1.0 / 4_790_016;
            tail = tail * q - 1.0 / 151_200;
            tail = tail * q + 1.0 / 5_040;
            tail = tail * q - 1.0 / 180;
            tail = tail * q + 1.0 / 6;
            return tail * y - 0.5;
        }
        if (y > 0) {
            // Uses e^−y, which cannot overflow.
            double e = Math.exp(-y);
            double oneMinusE = -Math.expm1(-y);
            return e * (oneMinusE - y) / (oneMinusE * oneMinusE);
        }
        double e = Math.exp(y);
        double eMinusOne = Math.expm1(y);
        return (eMinusOne - y * e) / (eMinusOne * eMinusOne);
    }

    /// Returns the pair's loss with the budget's term and its gradient added; the logit is unchanged.
    static LossValue withBudget(BcrBudget budget, Objective objective, PairInputs pair) {
        LossValue loss = loss(objective, pair);
        boolean loser = objective.favours() == PairImage.LOSER;
        double strength = objective.strength() * pair.logitScale();
        double gain = loser ? pair.errors().loserGain() : pair.errors().winnerGain();
        double overspent = strength * -gain - budget.delta();
        if (!(overspent > 0)) {
            return loss;
        }
        double price = budget.lambda() * strength;
        return new LossValue(
                loss.value() + budget.lambda() * overspent,
                loss.logit(),
                loss.winnerGradient() + (loser ? 0 : price),
                loss.loserGradient() + (loser ? price : 0));
    }

    /// The safeguard's λ from ‖g‖² of the favoured image and the inner product g·g'.
    static double safeguardFactor(SdpoSafeguard safeguard, double squaredNorm, double innerProduct) {
        if (!(innerProduct > 0)) {
            return 1;
        }
        return Math.clamp((1 - safeguard.mu()) * squaredNorm / (innerProduct + 1e-9), 0.0, 1.0);
    }
}
