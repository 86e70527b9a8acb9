package org.smpo.train;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.data.BadPair;
import org.smpo.ffi.EngineStatistics;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.StepOutcome;
import org.smpo.objective.Sft;
import org.smpo.recipe.Recipe;

/// What `log.jsonl` and TensorBoard are told of a run's steps and evaluations.
///
/// | of held-out pairs | |
/// |---|---|
/// | `loss`, `winner_error`, ... | means, with noise as the objective makes it: an inverting one's latents are inverted
/// |
/// | `implicit_accuracy` | share of pairs whose logit is above 0, likewise; absent for `sft`, which has no logit |
/// | `forward_accuracy` | inverting objectives only: share of pairs on whose winner the policy, beside the reference,
/// gained more than on the loser, under forward noise that both share: Diffusion-DPO's measure |
/// | `forward_winner_error`, ... | the errors which that is about |
///
/// A policy that inverts moves its latents with it, so the two accuracies answer two questions: whether it prefers
/// winners on the latents that it is trained on, and whether it does on those that every diffusion model is trained
/// on.
final class StepLog {
    private static final int MARGIN_BUCKETS = 10;

    private final boolean hasReference;
    private final boolean hasLogit;
    private final int bucketWidth;

    /// How long the phases of a step took.
    record Phases(double data, double noise, double gradients, double update, double all) {}

    StepLog(Recipe recipe) {
        this.hasReference = recipe.objective().loss().needsReference();
        this.hasLogit = !(recipe.objective().loss() instanceof Sft);
        this.bucketWidth = Math.max(1, recipe.timesteps().end() / MARGIN_BUCKETS);
    }

    /// Whether the objective prefers one picture of a pair over the other.
    boolean hasLogit() {
        return hasLogit;
    }

    /// @param done steps, this one included
    Map<String, Object> step(
            long done,
            TrainingData.Window window,
            StepResults results,
            StepOutcome outcome,
            double undecided,
            List<Health.Warning> warnings) {
        PairResults pairs = results.pairs();
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("event", "step");
        entry.put("step", done);
        putErrors(entry, ErrorTotals.of(pairs), results.loss());
        entry.put("margins", margins(window.latents().timesteps(), pairs));
        entry.put("undecided", undecided);
        entry.put("learning_rate", outcome.learningRate());
        entry.put("gradient_norm", outcome.gradNorm());
        entry.put("clip_coefficient", outcome.clipCoefficient());
        if (!window.bad().isEmpty()) {
            entry.put("skipped", ids(window));
        }
        if (!warnings.isEmpty()) {
            entry.put("warnings", warnings.stream().map(Health.Warning::kind).toList());
        }
        return entry;
    }

    /// A step of which no pair could be read.
    static Map<String, Object> skipped(long done, TrainingData.Window window) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("event", "skipped_step");
        entry.put("step", done);
        entry.put("skipped", ids(window));
        return entry;
    }

    /// @param forward of the same pairs with forward noise; null where the objective's own noise is that
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

    private void putErrors(Map<String, Object> entry, ErrorTotals totals, double loss) {
        entry.put("pairs", totals.pairs());
        entry.put("loss", loss);
        if (hasLogit) {
            entry.put("implicit_accuracy", totals.implicitAccuracy());
        }
        totals.putErrors(entry, "", hasReference);
    }

    private static List<String> ids(TrainingData.Window window) {
        return window.bad().stream().map(BadPair::id).toList();
    }

    /// Mean of how much better the policy does on winners than on losers, beside the reference, by timestep.
    private List<Map<String, Object>> margins(int[] timesteps, PairResults pairs) {
        double[] sums = new double[MARGIN_BUCKETS + 1];
        int[] counts = new int[MARGIN_BUCKETS + 1];
        for (int i = 0; i < timesteps.length; i++) {
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

    /// What a step took.
    static Map<String, Object> time(Phases phases, StepResults results, EngineStatistics statistics) {
        Map<String, Object> time = new LinkedHashMap<>();
        time.put("seconds", phases.all());
        time.put("data_seconds", phases.data());
        time.put("noise_seconds", phases.noise());
        time.put("gradient_seconds", phases.gradients());
        time.put("update_seconds", phases.update());
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

    /// The numbers of an entry as TensorBoard gets them.
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
