package org.smpo.train;

import org.smpo.ffi.Engine;
import org.smpo.ffi.ForwardNoise;
import org.smpo.ffi.InversionReport;
import org.smpo.ffi.InversionTable;
import org.smpo.ffi.PairBatch;
import org.smpo.ffi.PairLossFormula;
import org.smpo.ffi.PairLossOptions;
import org.smpo.ffi.PairWindow;
import org.smpo.ffi.PairWindowInputs;
import org.smpo.objective.NoiseSource;
import org.smpo.objective.Objective;
import org.smpo.objective.PairInput;
import org.smpo.objective.PairLossSpec;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.NoiseSchedule;

/// The method: from a window of clean pairs to the gradient of its loss.
///
/// ```
/// latents, prompts, t, p  ->  noised latents and targets   by inversion with the policy, or by forward
/// noise
///                         ->  errors of policy and reference, in micro-batches
///                         ->  loss of each pair, gradient added to the policy's
/// ```
///
/// The policy does not change inside a window, so each phase runs over all of it: the inversion at a batch size of
/// its own, the gradients in micro-batches that add up. Neither changes the result beyond the rounding of sums.
/// Belongs to the engine's thread.
public final class PreferenceStep {
    private final Engine engine;
    private final NoiseSchedule schedule;
    private final Objective objective;
    private final PairLossOptions loss;
    private final Inversion inversion;
    private final int slots;

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
        this.loss = options(loss);
        this.slots = slots;
        if (!inverts()) {
            this.inversion = null;
        } else if (inversion == null) {
            throw new IllegalArgumentException(objective.name() + ": inversion: expected one, got none");
        } else {
            this.inversion = inversion.withEta(objective.inversionEta());
        }
    }

    private boolean inverts() {
        return objective.noise() == NoiseSource.INVERSION || objective.noise() == NoiseSource.INVERSION_WITH_ETA;
    }

    /// Errors, losses and, with `backward`, the mean loss's gradient, added to the policy's.
    ///
    /// @param step of the random numbers
    /// @param microBatch pairs differentiated at once, 1 or more
    /// @param totalPairs pairs of the whole optimizer step, this window's and other ranks': what means are over
    public StepResults run(
            PairLatents pairs, Networks networks, long step, int microBatch, int totalPairs, boolean backward) {
        try (PairWindow window = open(pairs, step, false)) {
            return run(window, pairs, networks, microBatch, totalPairs, backward);
        }
    }

    /// A window of these pairs that can also be looked into; see [PairWindow#tensor].
    PairWindow open(PairLatents pairs, long step, boolean keepPredictions) {
        return PairWindow.open(
                engine,
                new PairWindowInputs(
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
            PairWindow window, PairLatents pairs, Networks networks, int microBatch, int totalPairs, boolean backward) {
        long start = System.nanoTime();
        InversionReport report = noise(window, pairs, networks);
        long noised = System.nanoTime();
        for (int first = 0; first < pairs.pairs(); first += microBatch) {
            int count = Math.min(microBatch, pairs.pairs() - first);
            window.accumulate(
                    networks.policy(),
                    objective.needsReference() ? networks.reference() : null,
                    loss,
                    new PairBatch(
                            first,
                            count,
                            backward,
                            1.0 / totalPairs,
                            slice(label(pairs), first, count),
                            logitScales(pairs.timesteps(), first, count),
                            null));
        }
        return new StepResults(window.read(), report, seconds(start, noised), seconds(noised, System.nanoTime()));
    }

    private InversionReport noise(PairWindow window, PairLatents pairs, Networks networks) {
        int[] timesteps = byImage(pairs.timesteps());
        if (inversion == null) {
            window.addNoise(forwardNoise(timesteps));
            return null;
        }
        InversionPlan plan = InversionPlan.of(schedule, inversion, timesteps);
        return window.invert(
                networks.inverter() == null ? networks.policy() : networks.inverter(),
                new InversionTable(
                        slots,
                        plan.rowStarts(),
                        doubles(plan.timesteps()),
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
        boolean perImage = objective.noise() != NoiseSource.FORWARD_SHARED;
        return new ForwardNoise(perImage, signal, noise, targetSample, targetNoise);
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

    private static PairLossOptions options(PairLossSpec spec) {
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
                Double.NaN,
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

    private static double[] slice(double[] values, int first, int count) {
        if (values == null) {
            return null;
        }
        double[] part = new double[count];
        System.arraycopy(values, first, part, 0, count);
        return part;
    }

    private static double[] doubles(int[] values) {
        double[] converted = new double[values.length];
        for (int i = 0; i < values.length; i++) {
            converted[i] = values[i];
        }
        return converted;
    }

    private static double seconds(long from, long to) {
        return (to - from) / 1e9;
    }
}
