package org.smpo.train;

import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.ffi.Engine;
import org.smpo.ffi.InversionReport;
import org.smpo.ffi.MicroBatch;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.PairBatch;
import org.smpo.ffi.PairResults;
import org.smpo.objective.Dora;
import org.smpo.objective.NoiseSource;
import org.smpo.objective.Objective;
import org.smpo.objective.PairInput;
import org.smpo.objective.PairLoss;
import org.smpo.parallel.Peers;
import org.smpo.schedule.ForwardProcess;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.RolloutPlan;
import org.smpo.schedule.TruncatedRollout;

/// The training method: computes the gradient of the loss from a batch of clean pairs.
///
/// ```text
/// latents, prompts, t  ->  noised latents and targets       by inversion, forward noise or rollouts, or
/// given
///                      ->  errors of policy and reference   in micro-batches
/// errors, labels       ->  loss of each pair                and its gradient, times its weight, added
/// to the policy's
/// ```
///
/// The policy does not change within a step, so each phase runs over the whole batch. The inversion has
/// its own batch size, and gradients are accumulated over micro-batches. Neither size changes the result
/// beyond the rounding of sums. Must be used on the engine's thread.
public final class PreferenceStep {
    private final Engine engine;
    private final NoiseSchedule schedule;
    private final PairLoss loss;
    private final Objective objective;
    private final NoiseSource noise;
    private final Inversion inversion;
    private final Optional<TruncatedRollout> rollout;
    private final int inversionBatch;
    private final Optional<Dora> dora;
    private final Peers peers;

    /// Creates a step with the noise that the objective asks for.
    ///
    /// @param inversion rule by which an inverting objective noises latents; may be null for other
    ///     objectives, which do not read it
    /// @param inversionBatch number of images inverted at once, 1 or more
    /// @throws IllegalArgumentException when the objective inverts and `inversion` is null
    public PreferenceStep(
            Engine engine, NoiseSchedule schedule, PairLoss loss, Inversion inversion, int inversionBatch) {
        this(
                engine,
                schedule,
                loss,
                loss.objective().noise(),
                inversion,
                Optional.empty(),
                inversionBatch,
                Optional.empty(),
                Peers.alone());
    }

    private PreferenceStep(
            Engine engine,
            NoiseSchedule schedule,
            PairLoss loss,
            NoiseSource noise,
            Inversion inversion,
            Optional<TruncatedRollout> rollout,
            int inversionBatch,
            Optional<Dora> dora,
            Peers peers) {
        this.engine = engine;
        this.peers = peers;
        this.schedule = schedule;
        this.loss = loss;
        this.objective = loss.objective();
        this.noise = noise;
        this.inversionBatch = inversionBatch;
        this.dora = dora;
        if (inverts() && inversion == null) {
            throw new IllegalArgumentException(objective.name() + ": inversion: expected one, got none");
        }
        this.inversion = inverts() ? inversion.withEta(objective.inversionEta()) : null;
        this.rollout = rollout;
    }

    /// Whether noised latents come from inversion.
    public boolean inverts() {
        return noise == NoiseSource.INVERSION;
    }

    /// Returns this step with Diffusion-DPO's noise instead of its own: both images of a pair share the
    /// same forward noise.
    public PreferenceStep withForwardNoise() {
        return new PreferenceStep(
                engine, schedule, loss, NoiseSource.FORWARD_SHARED, null, rollout, inversionBatch, dora, peers);
    }

    /// Returns this step with DoRA's weights, if there are any: a gradient is then that of DoRA's loss
    /// of the whole batch, in which the pairs' own weights are density ratios.
    public PreferenceStep withDora(Optional<Dora> reweighting) {
        return new PreferenceStep(
                engine, schedule, loss, noise, inversion, rollout, inversionBatch, reweighting, peers);
    }

    /// Returns this step with the rollouts of an objective that has a teacher.
    ///
    /// @param rollouts the rollouts; empty for other objectives
    PreferenceStep withRollout(Optional<TruncatedRollout> rollouts) {
        return new PreferenceStep(engine, schedule, loss, noise, inversion, rollouts, inversionBatch, dora, peers);
    }

    /// Returns this step for a global batch that several processes share: what depends on the whole
    /// batch is taken over the pairs of all of them. Each process then calls either [#run] or
    /// [#runWithoutPairs].
    PreferenceStep withPeers(Peers others) {
        return new PreferenceStep(engine, schedule, loss, noise, inversion, rollout, inversionBatch, dora, others);
    }

    /// Takes part in a step of which this process can read no pair.
    void runWithoutPairs() {
        if (needsMeanGain()) {
            meanGain(0, 0);
        }
        if (dora.isPresent()) {
            DoraBatch.of(peers, new double[0], new double[0]);
        }
    }

    private boolean needsMeanGain() {
        return objective.inputs().contains(PairInput.MEAN_GAIN);
    }

    /// The mean gain over the pairs of all processes.
    private double meanGain(double ownSum, int ownImages) {
        double[] sums = peers.sum(ownSum, ownImages);
        return PairResults.meanGain(sums[0], Math.round(sums[1]));
    }

    /// Computes errors and losses and, with `backward`, adds the gradient of the mean loss to the
    /// policy's.
    ///
    /// @param step step number for the random numbers
    /// @param microBatch number of pairs differentiated at once, 1 or more
    /// @param totalPairs number of pairs to average over: those of the whole optimizer step on all ranks
    public StepResults run(
            PairLatents pairs, Networks networks, long step, int microBatch, int totalPairs, boolean backward) {
        try (PairBatch batch = pairs.open(engine, step, false)) {
            return run(batch, pairs, networks, microBatch, totalPairs, backward);
        }
    }

    StepResults run(
            PairBatch batch, PairLatents pairs, Networks networks, int microBatch, int totalPairs, boolean backward) {
        long start = System.nanoTime();
        InversionReport report = noise(batch, pairs, networks);
        long noised = System.nanoTime();
        OptionalDouble meanGain = OptionalDouble.empty();
        if (needsMeanGain() && (microBatch < pairs.pairs() || peers.world().size() > 1)) {
            // The mean is over the whole batch, so a first pass without gradients computes it.
            accumulate(batch, pairs, networks, microBatch, 0, false, meanGain, null);
            PairResults before = batch.read();
            meanGain = OptionalDouble.of(meanGain(before.gainSum(), before.images()));
        }
        double[] weight = pairs.weight();
        DoraBatch whole = null;
        if (dora.isPresent() && backward) {
            // The weight of a pair depends on the losses of all, so a first pass without gradients computes them.
            accumulate(batch, pairs, networks, microBatch, 0, false, meanGain, null);
            whole = DoraBatch.of(peers, batch.read().loss(), ratios(pairs));
            weight = whole.weights(dora.get());
        }
        accumulate(batch, pairs, networks, microBatch, 1.0 / totalPairs, backward, meanGain, weight);
        PairResults results = batch.read();
        return new StepResults(
                results,
                pairs.labelsFor(objective),
                logitScale(pairs),
                pairs.desirable(),
                weight,
                weight == null
                        ? OptionalDouble.empty()
                        : OptionalDouble.of(
                                whole == null ? results.lossSum() : whole.shareOfValue(dora.get(), results.lossSum())),
                report,
                (noised - start) / 1e9,
                (System.nanoTime() - noised) / 1e9);
    }

    private static double[] ratios(PairLatents pairs) {
        double[] ones = new double[pairs.pairs()];
        Arrays.fill(ones, 1);
        return pairs.weight() == null ? ones : pairs.weight();
    }

    /// Computes the noised latents and targets of every image.
    ///
    /// @return null where no network moved them
    private InversionReport noise(PairBatch batch, PairLatents pairs, Networks networks) {
        NativeModel mover = networks.inverter() == null ? networks.policy() : networks.inverter();
        return switch (noise) {
            case INVERSION ->
                batch.invert(mover, InversionPlan.of(schedule, inversion, pairs.timesteps()), inversionBatch);
            case ROLLOUT -> {
                PairLatents.Start start = pairs.start();
                RolloutPlan plan =
                        RolloutPlan.of(schedule, rollout.orElseThrow(), start.timesteps(), pairs.timesteps());
                yield batch.rollOut(mover, plan, start.encoderHiddenStates(), start.textEmbeds(), inversionBatch);
            }
            case GIVEN -> {
                batch.set(pairs.given().noised(), pairs.given().target());
                yield null;
            }
            case FORWARD_SHARED, FORWARD_PER_IMAGE -> {
                batch.addNoise(ForwardProcess.of(schedule, pairs.timesteps()), noise == NoiseSource.FORWARD_PER_IMAGE);
                yield null;
            }
        };
    }

    private void accumulate(
            PairBatch batch,
            PairLatents pairs,
            Networks networks,
            int microBatch,
            double gradientScale,
            boolean backward,
            OptionalDouble meanGain,
            double[] weight) {
        double[] label = pairs.labelsFor(objective);
        double[] logitScale = logitScale(pairs);
        double[] errorScale = errorScale(pairs);
        for (int first = 0; first < pairs.pairs(); first += microBatch) {
            int end = Math.min(first + microBatch, pairs.pairs());
            batch.accumulate(
                    networks.policy(),
                    objective.needsReference() ? networks.reference() : null,
                    loss,
                    new MicroBatch(
                            first,
                            end - first,
                            backward,
                            gradientScale,
                            label == null ? null : Arrays.copyOfRange(label, first, end),
                            Arrays.copyOfRange(logitScale, first, end),
                            weight == null ? null : Arrays.copyOfRange(weight, first, end),
                            meanGain,
                            pairs.desirable() == null ? null : Arrays.copyOfRange(pairs.desirable(), first, end),
                            errorScale == null ? null : Arrays.copyOfRange(errorScale, first, end)));
        }
    }

    /// The factor of each image's differences; null where they stay as they are.
    private double[] errorScale(PairLatents pairs) {
        return objective.comparesCleanLatents()
                ? Arrays.stream(pairs.timesteps())
                        .mapToDouble(schedule::cleanErrorScale)
                        .toArray()
                : null;
    }

    /// The scale of each pair, which is given or that of its winner's timestep. An objective with a
    /// timestep per image has no such scale.
    private double[] logitScale(PairLatents pairs) {
        if (pairs.given() != null) {
            return pairs.given().logitScale();
        }
        double[] scales = new double[pairs.pairs()];
        Arrays.setAll(scales, pair -> objective.logitScale(schedule.alphaCumprod(pairs.timesteps()[pair])));
        return scales;
    }
}
