package org.smpo.train;

import java.util.Map;
import org.smpo.ffi.PairResults;
import org.smpo.objective.PairImage;
import org.smpo.objective.PairInput;
import org.smpo.objective.PairLoss;

/// Sums of the results of pairs, and their means under the names that logs use.
final class ErrorTotals {
    private final PairLoss loss;
    private final boolean readsMargin;
    private int pairs;
    private int couples;
    private double lossSum;
    private double preferred;
    private double closer;
    private double policyWinner;
    private double policyLoser;
    private double referenceWinner;
    private double referenceLoser;

    private double desirable;
    private double desirableGain;
    private double undesirableGain;
    private double overBudget;
    private double marginError;
    private double overshoot;
    private double negativeMargins;

    /// Empty sums.
    ErrorTotals(PairLoss loss) {
        this.loss = loss;
        this.readsMargin = loss.objective().inputs().contains(PairInput.REWARD_MARGIN);
    }

    static ErrorTotals of(PairLoss loss, StepResults results) {
        ErrorTotals totals = new ErrorTotals(loss);
        totals.add(results);
        return totals;
    }

    void add(StepResults step) {
        PairResults results = step.pairs();
        boolean favoursWinner = loss.objective().favours() == PairImage.WINNER;
        for (int i = 0; i < results.loss().length; i++) {
            pairs++;
            lossSum += results.loss()[i];
            preferred += step.isRight(i) ? 1 : 0;
            policyWinner += results.policyWinner()[i];
            referenceWinner += results.referenceWinner()[i];
            if (step.desirable() != null) {
                double gain = results.referenceWinner()[i] - results.policyWinner()[i];
                desirable += step.desirable()[i] ? 1 : 0;
                desirableGain += step.desirable()[i] ? gain : 0;
                undesirableGain += step.desirable()[i] ? 0 : gain;
            }
            if (results.isSingle()) {
                continue;
            }
            couples++;
            policyLoser += results.policyLoser()[i];
            referenceLoser += results.referenceLoser()[i];
            double policy = results.policyWinner()[i] - results.policyLoser()[i];
            closer += policy < results.referenceWinner()[i] - results.referenceLoser()[i] ? 1 : 0;
            boolean over = favoursWinner
                    ? loss.isOverBudget(step.logitScale()[i], results.policyWinner()[i], results.referenceWinner()[i])
                    : loss.isOverBudget(step.logitScale()[i], results.policyLoser()[i], results.referenceLoser()[i]);
            overBudget += over ? 1 : 0;
            if (readsMargin) {
                double error = step.label()[i] - results.logit()[i];
                marginError += Math.abs(error);
                overshoot += error < 0 ? 1 : 0;
                negativeMargins += step.label()[i] < 0 ? 1 : 0;
            }
        }
    }

    int pairs() {
        return pairs;
    }

    double loss() {
        return lossSum / pairs;
    }

    /// The share of pairs whose logit is above 0. The logit is the objective's own and includes the
    /// label.
    double implicitAccuracy() {
        return preferred / pairs;
    }

    /// The share of pairs for which the policy has gained more over the reference on the winner than on
    /// the loser.
    double errorAccuracy() {
        return closer / pairs;
    }

    /// Adds mean errors to an entry; for images with labels, the mean gains over the reference by kind, and the mean
    /// of all, at least 0, from which a loss of single images measures.
    ///
    /// @param prefix prefix of their names
    /// @param hasReference whether the errors of a reference are known
    void putErrors(Map<String, Object> entry, String prefix, boolean hasReference) {
        if (loss.objective().judgesImages() && couples == 0) {
            entry.put(prefix + "error", policyWinner / pairs);
            entry.put(prefix + "reference_error", referenceWinner / pairs);
            entry.put(prefix + "desirable", (long) desirable);
            if (desirable > 0) {
                entry.put(prefix + "desirable_gain", desirableGain / desirable);
            }
            if (desirable < pairs) {
                entry.put(prefix + "undesirable_gain", undesirableGain / (pairs - desirable));
            }
            entry.put(prefix + "mean_gain", Math.max(0, (desirableGain + undesirableGain) / pairs));
            return;
        }
        entry.put(prefix + "winner_error", policyWinner / pairs);
        if (couples > 0) {
            entry.put(prefix + "loser_error", policyLoser / pairs);
        }
        if (hasReference) {
            entry.put(prefix + "reference_winner_error", referenceWinner / pairs);
            entry.put(prefix + "reference_loser_error", referenceLoser / pairs);
        }
    }

    /// Adds what the budget and the margins of pairs say, where the loss has them: the share of pairs whose
    /// favoured image is over the budget; the mean distance of the logit from the margin, the share of logits
    /// beyond it, and the share of margins below 0.
    void putMethod(Map<String, Object> entry) {
        if (loss.budget().isPresent()) {
            entry.put(loss.objective().favours().word() + "_over_budget", overBudget / pairs);
        }
        if (readsMargin) {
            entry.put("margin_error", marginError / pairs);
            entry.put("margin_overshoot", overshoot / pairs);
            entry.put("negative_margins", negativeMargins / pairs);
        }
    }
}
