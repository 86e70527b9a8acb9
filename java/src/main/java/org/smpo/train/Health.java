package org.smpo.train;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.stream.Collectors;
import org.smpo.ffi.PairResults;
import org.smpo.io.JsonException;
import org.smpo.io.JsonObject;
import org.smpo.objective.Objective;
import org.smpo.objective.PairImage;
import org.smpo.recipe.HealthRecipe;

/// Watches a run for the known failures of preference tuning and describes them in words.
///
/// Errors of winners and losers are judged separately and against the reference: the loss alone falls even while both
/// rise, as long as the errors on the images that the objective disfavours rise faster. Judgements are about means over
/// the last steps; a run that diverges, in its loss or in its errors, is recognized within three steps.
final class Health {
    /// Number of first steps whose median loss is the baseline if the first step's loss cannot be.
    private static final int FIRST_STEPS = 5;

    /// Number of steps needed to recognize a diverging run: one unlucky batch is not a trend.
    private static final int LAST_STEPS = 3;

    /// Share of the pairs of a step below which they are few.
    private static final double FEW_PAIRS = 0.1;

    private final HealthRecipe recipe;
    private final Objective objective;
    private final Deque<Sums> recent = new ArrayDeque<>();
    private final List<Double> firstLosses = new ArrayList<>();
    private boolean beganAtReference;
    private Set<String> lastKinds = Set.of();

    /// Sums over the pairs of one step.
    ///
    /// @param saturated number of pairs with a saturated logit
    /// @param undecided number of pairs with an undecided label
    private record Sums(
            double pairs,
            double loss,
            double policyWinner,
            double policyLoser,
            double referenceWinner,
            double referenceLoser,
            double saturated,
            double undecided) {
        Sums plus(Sums other) {
            return new Sums(
                    pairs + other.pairs,
                    loss + other.loss,
                    policyWinner + other.policyWinner,
                    policyLoser + other.policyLoser,
                    referenceWinner + other.referenceWinner,
                    referenceLoser + other.referenceLoser,
                    saturated + other.saturated,
                    undecided + other.undecided);
        }

        /// The policy's error on one image of the pairs, as a multiple of the reference's.
        double ratio(PairImage image) {
            return switch (image) {
                case WINNER -> policyWinner / referenceWinner;
                case LOSER -> policyLoser / referenceLoser;
            };
        }

        Map<String, Object> json() {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("pairs", pairs);
            all.put("loss", loss);
            all.put("policy_winner", policyWinner);
            all.put("policy_loser", policyLoser);
            all.put("reference_winner", referenceWinner);
            all.put("reference_loser", referenceLoser);
            all.put("saturated", saturated);
            all.put("undecided", undecided);
            return all;
        }

        static Sums read(JsonObject json) throws JsonException {
            return new Sums(
                    json.number("pairs"),
                    json.number("loss"),
                    json.number("policy_winner"),
                    json.number("policy_loser"),
                    json.number("reference_winner"),
                    json.number("reference_loser"),
                    json.number("saturated"),
                    json.number("undecided"));
        }
    }

    /// A symptom of a failing run.
    ///
    /// @param kind `winners_worse`, `losers_worse`, `saturated`, `undecided`, `few_pairs` or `diverging`
    /// @param fatal whether the run must end regardless of the recipe's setting for warnings
    /// @param message what is happening and what to try
    record Warning(String kind, boolean fatal, String message) {}

    /// Consequences of the warnings of a step.
    ///
    /// @param fresh warnings of a kind that the previous step did not have
    /// @param end the most severe warning that should end the run, if there is one
    record Verdict(List<Warning> fresh, Optional<Warning> end) {}

    /// @param objective decides which image of a pair has to improve
    Health(HealthRecipe recipe, Objective objective) {
        this.recipe = recipe;
        this.objective = objective;
    }

    /// Share of the pairs whose smoothed label is so close to one half that they have almost no gradient; 0 for an
    /// objective without smoothed labels.
    double undecided(double[] label) {
        OptionalDouble scale = objective.labelScale();
        if (label == null || scale.isEmpty()) {
            return 0;
        }
        double count = 0;
        for (double p : label) {
            count += Math.abs(scale.getAsDouble() * (2 * p - 1)) < recipe.undecidedMargin() ? 1 : 0;
        }
        return count / label.length;
    }

    /// Records a step.
    ///
    /// @param undecided share of pairs with an undecided label; see [#undecided]
    /// @return warnings, at most one of each kind
    List<Warning> step(PairResults results, double loss, double undecided) {
        boolean hasReference = objective.needsReference();
        int pairs = results.loss().length;
        double saturated = 0;
        if (!objective.hasTarget()) {
            for (double logit : results.logit()) {
                saturated += Math.abs(logit) > recipe.saturatedLogit() ? 1 : 0;
            }
        }
        recent.addLast(new Sums(
                pairs,
                loss * pairs,
                sum(results.policyWinner()),
                sum(results.policyLoser()),
                hasReference ? sum(results.referenceWinner()) : 0,
                hasReference ? sum(results.referenceLoser()) : 0,
                saturated,
                undecided * pairs));
        if (recent.size() > recipe.window()) {
            recent.removeFirst();
        }
        if (firstLosses.isEmpty()) {
            beganAtReference = hasReference && equal(results);
        }
        if (firstLosses.size() < FIRST_STEPS) {
            firstLosses.add(loss);
        }
        List<Warning> warnings = new ArrayList<>();
        diverging().ifPresent(warnings::add);
        // A mean over a few steps of a few pairs is not meaningful.
        if (recent.size() == recipe.window()) {
            judge(recent.stream().reduce(Sums::plus).orElseThrow(), warnings);
        }
        return warnings;
    }

    /// Returns a warning about a step whose weights leave few of its pairs a say.
    ///
    /// @param effective number of pairs of equal weight that would say as much; empty when pairs have no weights
    static Optional<Warning> fewPairs(OptionalDouble effective, int pairs) {
        return effective.isPresent() && effective.getAsDouble() < FEW_PAIRS * pairs
                ? Optional.of(new Warning(
                        "few_pairs",
                        false,
                        String.format(
                                Locale.ROOT,
                                "%.1f of %d pairs carry the step: the others have hardly any weight; raise"
                                        + " objective.dora.lambda, share the timestep (timesteps.shared), or weigh the"
                                        + " data again",
                                effective.getAsDouble(),
                                pairs)))
                : Optional.empty();
    }

    /// Decides which warnings of a step are reported and whether one of them ends the run.
    ///
    /// @param warnings all warnings of the step, as [#step] returns them
    Verdict verdict(List<Warning> warnings) {
        Optional<Warning> end = Optional.empty();
        for (Warning warning : warnings) {
            if (warning.fatal() || (recipe.stop() && end.isEmpty())) {
                end = Optional.of(warning);
            }
        }
        Set<String> before = lastKinds;
        lastKinds = warnings.stream().map(Warning::kind).collect(Collectors.toSet());
        return new Verdict(
                warnings.stream()
                        .filter(warning -> !before.contains(warning.kind()))
                        .toList(),
                end);
    }

    /// Whether the policy still equals the reference except for rounding, as it does at the start of most runs.
    private static boolean equal(PairResults results) {
        return equal(results.policyWinner(), results.referenceWinner())
                && equal(results.policyLoser(), results.referenceLoser());
    }

    private static boolean equal(double[] policy, double[] reference) {
        for (int i = 0; i < policy.length; i++) {
            if (!(Math.abs(policy[i] / reference[i] - 1) < 1e-4)) {
                return false;
            }
        }
        return true;
    }

    /// The loss that later losses are compared with; empty while too few losses are known.
    private OptionalDouble startingLoss() {
        // A policy that equals the reference has the loss of an undecided objective, log 2 for most, and
        // later losses may already diverge. Any other first loss depends on the few pairs of its step.
        if (beganAtReference) {
            return OptionalDouble.of(firstLosses.getFirst());
        }
        if (firstLosses.size() < FIRST_STEPS) {
            return OptionalDouble.empty();
        }
        return OptionalDouble.of(firstLosses.stream().sorted().toList().get(FIRST_STEPS / 2));
    }

    /// The smallest loss of which multiples are judged. A squared distance from a target begins near 0 where targets
    /// are small, and a logit that is one off is no sign of divergence.
    private double smallestLoss() {
        return objective.hasTarget() ? 1 : 0.1;
    }

    private Optional<Warning> diverging() {
        List<Sums> last =
                recent.stream().skip(Math.max(0, recent.size() - LAST_STEPS)).toList();
        if (last.size() < Math.min(LAST_STEPS, recipe.window())) {
            return Optional.empty();
        }
        Sums sums = last.stream().reduce(Sums::plus).orElseThrow();
        OptionalDouble start = startingLoss();
        double mean = sums.loss / sums.pairs;
        if (recipe.runawayLoss().isPresent()
                && start.isPresent()
                && mean > recipe.runawayLoss().getAsDouble() * Math.max(start.getAsDouble(), smallestLoss())) {
            return Optional.of(new Warning(
                    "diverging",
                    true,
                    String.format(
                            Locale.ROOT,
                            "the loss is diverging: %.4g over the last %d steps, %.4g at the start. The policy moves"
                                    + " away from the reference too fast; lower the learning rate (to a third, for"
                                    + " example) or beta",
                            mean,
                            last.size(),
                            start.getAsDouble())));
        }
        double favoured = sums.ratio(objective.favours());
        if (recipe.runawayError().isPresent()
                && objective.needsReference()
                && favoured > recipe.runawayError().getAsDouble()) {
            PairImage other = objective.favours().other();
            return Optional.of(new Warning(
                    "diverging",
                    true,
                    String.format(
                            Locale.ROOT,
                            "the model is falling apart: its error on %ss is %.3g times the reference's over the last "
                                    + "%d steps (on %ss %.3g times), however small the loss; lower the learning rate "
                                    + "(to a third, for example)",
                            objective.favours().word(),
                            favoured,
                            last.size(),
                            other.word(),
                            sums.ratio(other))));
        }
        return Optional.empty();
    }

    private void judge(Sums sums, List<Warning> warnings) {
        if (objective.needsReference()) {
            PairImage favoured = objective.favours();
            double worse = sums.ratio(favoured) - 1;
            if (worse > recipe.winnerDegradation()) {
                String better = favoured.word();
                String other = favoured.other().word();
                warnings.add(new Warning(
                        better + "s_worse",
                        false,
                        String.format(
                                Locale.ROOT,
                                "the policy is worse on %1$ss than the reference: error %2$+.1f %% (%3$ss %4$+.1f %%) "
                                        + "over the last %5$d steps. The margin grows by unlearning %3$ss, not by "
                                        + "learning %1$ss; lower the learning rate, raise beta, or add a budget "
                                        + "(objective.bcr)",
                                better,
                                100 * worse,
                                other,
                                100 * (sums.ratio(favoured.other()) - 1),
                                recent.size())));
            }
        }
        double saturated = sums.saturated / sums.pairs;
        if (saturated > recipe.saturatedFraction()) {
            warnings.add(new Warning(
                    "saturated",
                    false,
                    String.format(
                            Locale.ROOT,
                            "the margin is saturated: %.0f %% of the pairs have a logit beyond ±%.3g and almost no "
                                    + "gradient; lower beta (or gamma), or stop the run",
                            100 * saturated,
                            recipe.saturatedLogit())));
        }
        double undecided = sums.undecided / sums.pairs;
        if (undecided > recipe.undecidedFraction()) {
            warnings.add(new Warning(
                    "undecided",
                    false,
                    String.format(
                            Locale.ROOT,
                            "%.0f %% of the pairs are undecided: their smoothed labels are so close to one half that "
                                    + "they have almost no gradient; check labels.range (try data) and "
                                    + "labels.temperature",
                            100 * undecided)));
        }
    }

    private static double sum(double[] values) {
        double sum = 0;
        for (double value : values) {
            sum += value;
        }
        return sum;
    }

    /// The state that [#restore] reads.
    Map<String, Object> state() {
        Map<String, Object> state = new LinkedHashMap<>();
        state.put("began_at_reference", beganAtReference);
        state.put("first_losses", List.copyOf(firstLosses));
        state.put("recent", recent.stream().map(Sums::json).toList());
        return state;
    }

    /// Restores the state of a checkpoint.
    void restore(JsonObject state) throws JsonException {
        beganAtReference = state.bool("began_at_reference");
        firstLosses.clear();
        firstLosses.addAll(state.numbers("first_losses"));
        recent.clear();
        for (JsonObject sums : state.objects("recent")) {
            recent.addLast(Sums.read(sums));
        }
    }
}
