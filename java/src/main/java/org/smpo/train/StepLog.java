package org.smpo.train;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.smpo.ffi.EngineStatistics;
import org.smpo.ffi.LogRecord;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.StepOutcome;
import org.smpo.objective.PairLoss;
import org.smpo.parallel.World;
import org.smpo.recipe.Recipe;

/// Entries of `log.jsonl` and TensorBoard about a run's steps and evaluations.
///
/// An entry about a step has `weighted_loss` beside the plain `loss` where pairs have weights, which is DoRA's loss
/// with objective.dora, and `effective_pairs`, the number of pairs of equal weight that would say as much. An entry
/// about held-out pairs has the following keys, and so has a step where they apply.
///
/// ```text
/// loss, winner_error, ...    means with the objective's own noise: inverted latents for an inverting objective
/// winner_over_budget         with objective.bcr: share of pairs whose winner is worse than the budget allows
/// margin_error, ...          a method that reads margins: mean |margin − logit|, margin_overshoot the share of
///                            logits beyond the margin, negative_margins the share of margins below 0
/// desirable_gain, ...        images with labels instead of pairs: mean error of the reference minus the policy's on
///                            desirable images, undesirable_gain on the others, desirable the number of the former,
///                            mean_gain the mean over all, at least 0: the reference point of the loss
/// implicit_accuracy          share of pairs with a logit above 0; absent for an objective without a logit
/// forward_accuracy           inverting objectives only: share of pairs for which the policy has gained
///                            more over the reference on the winner than on the loser, with forward
///                            noise that both images share (Diffusion-DPO's metric)
/// forward_winner_error, ...  the errors behind forward_accuracy
/// ```
///
/// An entry about a rollout precedes that of the first step that trains on its pairs:
///
/// ```text
/// compared, kept, kept_share  comparisons of candidates, and those that are trained on
/// mean_score                  mean score of the final images: the learning curve
/// median_difference           median difference of the best and the worst score of a comparison
/// guided, moved               with a guide: winners for which a move was tried, and moves that were kept
/// mean_rise                   mean rise of these winners' scores
/// mean_difference             mean difference of the scores of their pairs before
/// time.guide_seconds          time that the moves took
/// ```
///
/// A policy that inverts changes its own latents, so the two accuracies answer two questions: whether it prefers
/// winners on the latents that it is trained on, and whether it prefers them on the latents that every
/// diffusion model is trained on.
final class StepLog {
    private static final int MARGIN_BUCKETS = 10;

    private final PairLoss loss;
    private final boolean hasReference;
    private final boolean hasLogit;
    private final int bucketWidth;

    /// Durations of the phases of a step in seconds.
    ///
    /// @param waiting part of `update` spent until the slowest process had its gradients; 0 for one
    ///     process
    /// @param reduction part of `update` spent on the sum of the gradients over the processes; 0 for
    ///     one process
    record Phases(
            double data, double noise, double gradients, double update, double waiting, double reduction, double all) {
        /// Computes the durations from readings of [System#nanoTime()].
        ///
        /// @param encoded reading after the pairs were read and encoded
        /// @param differentiated reading after the gradients were computed
        /// @param met reading after all processes had computed theirs
        /// @param reduced reading after the gradients were summed
        static Phases of(
                long start, long encoded, StepResults results, long differentiated, long met, long reduced, long end) {
            return new Phases(
                    (encoded - start) / 1e9,
                    results.noiseSeconds(),
                    results.gradientSeconds(),
                    (end - differentiated) / 1e9,
                    (met - differentiated) / 1e9,
                    (reduced - met) / 1e9,
                    (end - start) / 1e9);
        }
    }

    StepLog(Recipe recipe) {
        this.loss = recipe.objective().pairLoss();
        this.hasReference = recipe.objective().loss().needsReference();
        this.hasLogit = recipe.objective().loss().hasLogit();
        this.bucketWidth = Math.max(1, recipe.timesteps().end() / MARGIN_BUCKETS);
    }

    /// Whether the objective's loss is a function of a logit.
    boolean hasLogit() {
        return hasLogit;
    }

    /// Describes a step.
    ///
    /// @param done number of steps taken, including this one
    Map<String, Object> step(
            long done,
            StepPairs batch,
            StepResults results,
            StepOutcome outcome,
            double undecided,
            List<Health.Warning> warnings) {
        PairResults pairs = results.pairs();
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("event", "step");
        entry.put("step", done);
        putErrors(entry, ErrorTotals.of(loss, results), results.loss());
        results.weightedLoss().ifPresent(weighted -> entry.put("weighted_loss", weighted));
        results.effectivePairs().ifPresent(effective -> entry.put("effective_pairs", effective));
        if (!pairs.isSingle()) {
            entry.put("margins", margins(batch.timesteps(), pairs));
        }
        entry.put("undecided", undecided);
        entry.put("learning_rate", outcome.learningRate());
        entry.put("gradient_norm", outcome.gradNorm());
        entry.put("clip_coefficient", outcome.clipCoefficient());
        if (!batch.skipped().isEmpty()) {
            entry.put("skipped", batch.skipped());
        }
        if (!warnings.isEmpty()) {
            entry.put("warnings", warnings.stream().map(Health.Warning::kind).toList());
        }
        return entry;
    }

    /// Describes a step for which no pair could be read.
    static Map<String, Object> skipped(long done, StepPairs batch) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("event", "skipped_step");
        entry.put("step", done);
        entry.put("skipped", batch.skipped());
        return entry;
    }

    /// Describes a rollout, whose pairs the step is the first to train on.
    ///
    /// @param done number of steps taken, including that one
    static Map<String, Object> rollout(long done, Map<String, Object> event) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("event", "rollout");
        entry.put("step", done);
        entry.putAll(event);
        return entry;
    }

    /// Describes an evaluation of the held-out pairs.
    ///
    /// @param forward totals of the same pairs with forward noise; null if that is the objective's own
    ///     noise
    Map<String, Object> evaluation(long done, ErrorTotals own, ErrorTotals forward) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("event", "evaluation");
        entry.put("step", done);
        putErrors(entry, own, own.loss());
        if (forward != null) {
            entry.put("forward_accuracy", forward.errorAccuracy());
            forward.putErrors(entry, "forward_", hasReference);
        }
        return entry;
    }

    /// Describes a warning of the engine.
    static Map<String, Object> engine(long done, LogRecord record) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("event", "engine_" + record.level().name().toLowerCase(Locale.ROOT));
        entry.put("step", done);
        entry.put("message", record.message());
        return entry;
    }

    private void putErrors(Map<String, Object> entry, ErrorTotals totals, double meanLoss) {
        entry.put("pairs", totals.pairs());
        entry.put("loss", meanLoss);
        if (hasLogit) {
            entry.put("implicit_accuracy", totals.implicitAccuracy());
        }
        totals.putErrors(entry, "", hasReference);
        totals.putMethod(entry);
    }

    /// Mean margin by timestep: how much more the policy has gained over the reference on winners than on losers.
    ///
    /// @param timesteps timestep of each pair's winner, at which the pair is counted
    private List<Map<String, Object>> margins(int[] timesteps, PairResults pairs) {
        double[] sums = new double[MARGIN_BUCKETS + 1];
        int[] counts = new int[MARGIN_BUCKETS + 1];
        for (int i = 0; i < pairs.loss().length; i++) {
            int bucket = Math.min(MARGIN_BUCKETS, timesteps[i] / bucketWidth);
            double reference = hasReference ? pairs.referenceWinner()[i] - pairs.referenceLoser()[i] : 0;
            sums[bucket] -= pairs.policyWinner()[i] - pairs.policyLoser()[i] - reference;
            counts[bucket]++;
        }
        List<Map<String, Object>> all = new ArrayList<>();
        for (int bucket = 0; bucket <= MARGIN_BUCKETS; bucket++) {
            if (counts[bucket] > 0) {
                Map<String, Object> one = new LinkedHashMap<>();
                one.put("from", bucket * bucketWidth);
                one.put("pairs", counts[bucket]);
                one.put("margin", sums[bucket] / counts[bucket]);
                all.add(one);
            }
        }
        return all;
    }

    /// Describes the time and memory that a step took.
    ///
    /// @param world processes that share the step; with several, their waiting and the sum of the
    ///     gradients are named
    static Map<String, Object> time(Phases phases, StepResults results, EngineStatistics statistics, World world) {
        Map<String, Object> time = new LinkedHashMap<>();
        time.put("seconds", phases.all());
        time.put("data_seconds", phases.data());
        time.put("noise_seconds", phases.noise());
        time.put("gradient_seconds", phases.gradients());
        time.put("update_seconds", phases.update());
        if (world.size() > 1) {
            time.put("waiting_seconds", phases.waiting());
            time.put("all_reduce_seconds", phases.reduction());
            time.put("all_reduce_share", phases.reduction() / phases.all());
        }
        time.put("pairs_per_second", results.pairs().loss().length / phases.all());
        if (results.inversion() != null) {
            time.put("inversion_evaluations", results.inversion().evaluations());
            time.put("inversion_batches", results.inversion().batches());
            time.put("inversion_unet_seconds", results.inversion().unetSeconds());
        }
        time.put("host_bytes", statistics.hostBytesInUse());
        time.put("host_bytes_peak", statistics.hostBytesPeak());
        time.put("device_bytes_peak", statistics.deviceBytesPeak());
        return time;
    }

    /// The numbers of an entry, by their names in TensorBoard.
    ///
    /// @param group `train` or `held_out`
    static Map<String, Double> scalars(String group, Map<String, Object> entry) {
        Map<String, Double> scalars = new LinkedHashMap<>();
        entry.forEach((name, value) -> {
            if (value instanceof Double number) {
                scalars.put(group + "/" + name, number);
            }
        });
        if (entry.get("margins") instanceof List<?> margins) {
            for (Object margin : margins) {
                Map<?, ?> one = (Map<?, ?>) margin;
                scalars.put("margin/t" + one.get("from"), (Double) one.get("margin"));
            }
        }
        if (entry.get("time") instanceof Map<?, ?> time) {
            time.forEach((name, value) -> {
                if (value instanceof Number number) {
                    scalars.put("time/" + name, number.doubleValue());
                }
            });
        }
        return scalars;
    }
}
