package org.smpo.train;

import java.util.Map;
import org.smpo.ffi.PairResults;

/// Sums of the results of pairs, and their means under the names that logs use.
final class ErrorTotals {
    private int pairs;
    private double loss;
    private double preferred;
    private double closer;
    private double policyWinner;
    private double policyLoser;
    private double referenceWinner;
    private double referenceLoser;

    static ErrorTotals of(PairResults results) {
        ErrorTotals totals = new ErrorTotals();
        totals.add(results);
        return totals;
    }

    void add(PairResults results) {
        for (int i = 0; i < results.loss().length; i++) {
            pairs++;
            loss += results.loss()[i];
            preferred += results.logit()[i] > 0 ? 1 : 0;
            policyWinner += results.policyWinner()[i];
            policyLoser += results.policyLoser()[i];
            referenceWinner += results.referenceWinner()[i];
            referenceLoser += results.referenceLoser()[i];
            double policy = results.policyWinner()[i] - results.policyLoser()[i];
            closer += policy < results.referenceWinner()[i] - results.referenceLoser()[i] ? 1 : 0;
        }
    }

    int pairs() {
        return pairs;
    }

    double loss() {
        return loss / pairs;
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

    /// Adds mean errors to an entry.
    ///
    /// @param prefix prefix of their names
    /// @param hasReference whether the errors of a reference are known
    void putErrors(Map<String, Object> entry, String prefix, boolean hasReference) {
        entry.put(prefix + "winner_error", policyWinner / pairs);
        entry.put(prefix + "loser_error", policyLoser / pairs);
        if (hasReference) {
            entry.put(prefix + "reference_winner_error", referenceWinner / pairs);
            entry.put(prefix + "reference_loser_error", referenceLoser / pairs);
        }
    }
}
