package org.smpo.ffi;

import java.util.Objects;

/// A pair loss in numbers; what the formula does not read may be 0. `org.smpo.objective.PairLossSpec` explains them.
///
/// @param ktoBaseline KTO's reference point; NaN: that of each micro-batch
/// @param budgetWeight 0: no budget
public record PairLossOptions(
        PairLossFormula formula,
        double beta,
        double kappa,
        double gamma,
        double alpha,
        double margin,
        double mapoScale,
        double mapoTemperature,
        double mapoWeight,
        double desirableWeight,
        double undesirableWeight,
        double ktoBaseline,
        boolean winnerSafeguard,
        double safeguardMu,
        double budgetWeight,
        double budget) {

    public PairLossOptions {
        Objects.requireNonNull(formula, "formula");
    }

    void write(Struct loss) {
        loss.set("kind", formula.code());
        loss.set("beta", beta);
        loss.set("kappa", kappa);
        loss.set("gamma", gamma);
        loss.set("alpha", alpha);
        loss.set("margin", margin);
        loss.set("mapo_scale", mapoScale);
        loss.set("mapo_temperature", mapoTemperature);
        loss.set("mapo_weight", mapoWeight);
        loss.set("desirable_weight", desirableWeight);
        loss.set("undesirable_weight", undesirableWeight);
        loss.set("kto_baseline", Double.isNaN(ktoBaseline) ? 0 : ktoBaseline);
        loss.set("kto_baseline_given", Double.isNaN(ktoBaseline) ? 0 : 1);
        loss.set("winner_safeguard", winnerSafeguard ? 1 : 0);
        loss.set("safeguard_mu", safeguardMu);
        loss.set("budget_weight", budgetWeight);
        loss.set("budget", budget);
    }
}
