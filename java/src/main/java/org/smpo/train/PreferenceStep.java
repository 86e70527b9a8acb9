package org.smpo.train;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.smpo.ffi.Engine;
import org.smpo.ffi.ForwardNoise;
import org.smpo.ffi.InversionReport;
import org.smpo.ffi.InversionTable;
import org.smpo.ffi.MicroBatch;
import org.smpo.ffi.PairBatch;
import org.smpo.ffi.PairBatchInputs;
import org.smpo.ffi.PairLossFormula;
import org.smpo.ffi.PairLossOptions;
import org.smpo.ffi.PairResults;
import org.smpo.objective.Kto;
import org.smpo.objective.NoiseSource;
import org.smpo.objective.Objective;
import org.smpo.objective.PairErrors;
import org.smpo.objective.PairInput;
import org.smpo.objective.PairLossKind;
import org.smpo.objective.PairLossSpec;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.NoiseSchedule;

/// The method: from a batch of clean pairs to the gradient of its loss.
///
/// ```
/// latents, prompts, t, p  ->  noised latents and targets   by inversion with the policy, or by forward
/// noise
///                         ->  errors of policy and reference, in micro-batches
///                         ->  loss of each pair, gradient added to the policy's
/// ```
///
/// The policy does not change inside a batch, so each phase runs over all of it: the inversion at a batch size of
/// its own, the gradients in micro-batches that add up. Neither changes the result beyond the rounding of sums.
/// Belongs to the engine's thread.
public final class PreferenceStep {
    private final Engine engine;
    private final NoiseSchedule schedule;
    private final Objective objective;
    private final PairLossSpec loss;
    private final Inversion inversion;
    private final int slots;
    private final boolean sharesNoise;

    /// A step of this objective.
    ///
    /// @param loss the objective's own [Objective#spec()], or that with a budget or a safeguard added
    /// @param inversion how pairs are inverted; not read by objectives that add forward noise, and then may be null
    /// @param slots images inverted at once, 1 or more
    /// @throws IllegalArgumentException when the objective inverts and `inversion` is null
    public PreferenceStep(
            Engine engine,
            NoiseSchedule schedule,
            Objective objective,
            PairLossSpec loss,
            Inversion inversion,
            int slots) {
        this.engine = engine;
        this.schedule = schedule;
        this.objective = objective;
        this.loss = loss;
        this.slots = slots;
        this.sharesNoise = objective.noise() == NoiseSource.FORWARD_SHARED;
        if (objective.noise() != NoiseSource.INVERSION && objective.noise() != NoiseSource.INVERSION_WITH_ETA) {
            this.inversion = null;
        } else if (inversion == null) {
            throw new IllegalArgumentException(objective.name() + ": inversion: expected one, got none");
        } else {
            this.inversion = inversion.withEta(objective.inversionEta());
        }
    }

    /// A step without inversion; both images of a pair have the same noise.
    private PreferenceStep(PreferenceStep other) {
        this.engine = other.engine;
        this.schedule = other.schedule;
        this.objective = other.objective;
        this.loss = other.loss;
        this.slots = other.slots;
        this.inversion = null;
        this.sharesNoise = true;
    }

    /// Whether noised latents come of inversion.
    public boolean inverts() {
        return inversion != null;
    }

    /// This step with forward noise that both images of a pair share instead of its own: Diffusion-DPO's.
    public PreferenceStep withForwardNoise() {
        return new PreferenceStep(this);
    }

    /// Errors, losses and, with `backward`, the mean loss's gradient, added to the policy's.
    ///
    /// @param step of the random numbers
    /// @param microBatch pairs differentiated at once, 1 or more
    /// @param totalPairs pairs of the whole optimizer step, this batch's and other ranks': what means are over
    public StepResults run(
            PairLatents pairs, Networks networks, long step, int microBatch, int totalPairs, boolean backward) {
        try (PairBatch batch = open(pairs, step, false)) {
            return run(batch, pairs, networks, microBatch, totalPairs, backward);
        }
    }

    /// A batch of these pairs that can also be looked into; see [PairBatch#tensor].
    PairBatch open(PairLatents pairs, long step, boolean keepPredictions) {
        return PairBatch.open(
                engine,
                new PairBatchInputs(
                        (int) step,
                        keepPredictions,
                        pairs.latents(),
                        pairs.encoderHiddenStates(),
                        pairs.textEmbeds(),
                        pairs.timeIds(),
                        byImage(pairs.timesteps()),
                        pairs.items()));
    }

    StepResults run(
            PairBatch batch, PairLatents pairs, Networks networks, int microBatch, int totalPairs, boolean backward) {
        long start = System.nanoTime();
        InversionReport report = noise(batch, pairs, networks);
        long noised = System.nanoTime();
        double baseline = Double.NaN;
        if (loss.kind() == PairLossKind.KTO && microBatch < pairs.pairs()) {
            // KTO's pairs meet in their mean gain, which a micro-batch alone does not know.
            accumulate(batch, pairs, networks, options(loss, baseline), microBatch, 0, false);
            baseline = meanGain(batch.read());
        }
        accumulate(batch, pairs, networks, options(loss, baseline), microBatch, 1.0 / totalPairs, backward);
        return new StepResults(batch.read(), report, seconds(start, noised), seconds(noised, System.nanoTime()));
    }

    private void accumulate(
            PairBatch batch,
            PairLatents pairs,
            Networks networks,
            PairLossOptions options,
            int microBatch,
            double scale,
            boolean backward) {
        double[] label = label(pairs);
        for (int first = 0; first < pairs.pairs(); first += microBatch) {
            int count = Math.min(microBatch, pairs.pairs() - first);
            batch.accumulate(
                    networks.policy(),
                    objective.needsReference() ? networks.reference() : null,
                    options,
                    new MicroBatch(
                            first,
                            count,
                            backward,
                            scale,
                            label == null ? null : Arrays.copyOfRange(label, first, first + count),
                            logitScales(pairs.timesteps(), first, count),
                            null));
        }
    }

    private static double meanGain(PairResults results) {
        List<PairErrors> errors = new ArrayList<>();
        for (int i = 0; i < results.loss().length; i++) {
            if (!Double.isFinite(results.logit()[i])) {
                // The loss of this pair will not be finite either, and then it is named.
                return 0;
            }
            errors.add(new PairErrors(
                    results.policyWinner()[i],
                    results.policyLoser()[i],
                    results.referenceWinner()[i],
                    results.referenceLoser()[i]));
        }
        return Kto.meanGain(errors);
    }

    private InversionReport noise(PairBatch batch, PairLatents pairs, Networks networks) {
        int[] timesteps = byImage(pairs.timesteps());
        if (inversion == null) {
            batch.addNoise(forwardNoise(timesteps));
            return null;
        }
        InversionPlan plan = InversionPlan.of(schedule, inversion, timesteps);
        return batch.invert(
                networks.inverter() == null ? networks.policy() : networks.inverter(),
                new InversionTable(
                        slots,
                        plan.rowStarts(),
                        Arrays.stream(plan.timesteps()).asDoubleStream().toArray(),
                        plan.sampleCoefficients(),
                        plan.outputCoefficients(),
                        plan.noiseCoefficients(),
                        plan.averages(),
                        plan.targetSampleCoefficients(),
                        plan.targetCleanCoefficients()));
    }

    private ForwardNoise forwardNoise(int[] timesteps) {
        int rows = timesteps.length;
        double[] signal = new double[rows];
        double[] noise = new double[rows];
        double[] targetSample = new double[rows];
        double[] targetNoise = new double[rows];
        for (int row = 0; row < rows; row++) {
            double alpha = schedule.alphaCumprod(timesteps[row]);
            signal[row] = Math.sqrt(alpha);
            noise[row] = Math.sqrt(1 - alpha);
            switch (schedule.predictionType()) {
                case EPSILON -> targetNoise[row] = 1;
                case V_PREDICTION -> {
                    targetSample[row] = -noise[row];
                    targetNoise[row] = signal[row];
                }
                case SAMPLE -> targetSample[row] = 1;
            }
        }
        return new ForwardNoise(!sharesNoise, signal, noise, targetSample, targetNoise);
    }

    private double[] label(PairLatents pairs) {
        boolean reads = objective.inputs().contains(PairInput.LABEL)
                || objective.inputs().contains(PairInput.REWARD_MARGIN);
        if (reads && pairs.label() == null) {
            throw new IllegalArgumentException(objective.name() + ": label: expected one for each pair, got none");
        }
        return reads ? pairs.label() : null;
    }

    private double[] logitScales(int[] timesteps, int first, int count) {
        double[] scales = new double[count];
        for (int i = 0; i < count; i++) {
            scales[i] = objective.logitScale(schedule.alphaCumprod(timesteps[first + i]));
        }
        return scales;
    }

    private static PairLossOptions options(PairLossSpec spec, double ktoBaseline) {
        return new PairLossOptions(
                PairLossFormula.valueOf(spec.kind().name()),
                spec.beta(),
                spec.kappa(),
                spec.gamma(),
                spec.alpha(),
                spec.margin(),
                spec.mapoScale(),
                spec.mapoTemperature(),
                spec.mapoWeight(),
                spec.desirableWeight(),
                spec.undesirableWeight(),
                ktoBaseline,
                spec.winnerSafeguard(),
                spec.safeguardMu(),
                spec.budgetWeight(),
                spec.budget());
    }

    /// Both images of a pair have the pair's timestep.
    private static int[] byImage(int[] byPair) {
        int[] all = new int[2 * byPair.length];
        System.arraycopy(byPair, 0, all, 0, byPair.length);
        System.arraycopy(byPair, 0, all, byPair.length, byPair.length);
        return all;
    }

    private static double seconds(long from, long to) {
        return (to - from) / 1e9;
    }
}
