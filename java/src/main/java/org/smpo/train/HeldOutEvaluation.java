package org.smpo.train;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.smpo.objective.PairLoss;
import org.smpo.parallel.Frames;
import org.smpo.parallel.Peers;
import org.smpo.recipe.Recipe;

/// Errors and losses of the held-out pairs: the same pairs, noise and timesteps in every evaluation.
final class HeldOutEvaluation {
    private static final int BATCH = 16;

    private final PairLoss loss;
    private final PairStream pairs;
    private final Policy policy;
    private final PreferenceStep step;
    private final int microBatch;
    private final int count;
    private final Peers peers;
    private final Consumer<String> warn;

    /// Totals over all held-out pairs.
    ///
    /// @param own totals with the objective's own noise
    /// @param forward totals of the same pairs with forward noise; null if that is the objective's own
    ///     noise
    record Totals(ErrorTotals own, ErrorTotals forward) {}

    /// @param peers processes that share the held-out pairs, whole batches each
    /// @param warn receives one line about each pair that cannot be read
    HeldOutEvaluation(Recipe recipe, Setup setup, Peers peers, Consumer<String> warn) {
        this.peers = peers;
        this.loss = recipe.objective().pairLoss();
        this.pairs = setup.pairs();
        this.policy = setup.policy();
        // The batches are of one process each, whoever evaluates them.
        this.step = setup.step().withPeers(Peers.alone());
        this.microBatch = setup.sizes().microBatch();
        this.count =
                Math.min(setup.pairs().heldOutPairs(), recipe.evaluate().pairs().orElse(Integer.MAX_VALUE));
        this.warn = warn;
    }

    /// Evaluates the policy.
    ///
    /// @throws IOException when none of the pairs can be read
    Totals run() throws IOException, InterruptedException {
        PreferenceStep withForwardNoise = step.inverts() ? step.withForwardNoise() : null;
        Networks networks = policy.networks();
        List<byte[]> results = new ArrayList<>();
        for (int from = 0; from < count; from += BATCH) {
            if (peers.world().has(from / BATCH)) {
                results.add(evaluate(from, withForwardNoise, networks));
            }
        }
        ErrorTotals own = new ErrorTotals(loss);
        ErrorTotals forward = withForwardNoise == null ? null : new ErrorTotals(loss);
        for (byte[] batch : peers.deal(results)) {
            Frames.read(batch, in -> {
                if (in.readBoolean()) {
                    own.add(StepResults.read(in));
                    if (forward != null) {
                        forward.add(StepResults.read(in));
                    }
                }
                return null;
            });
        }
        if (own.pairs() == 0) {
            throw new IOException(
                    "data: none of the " + count + " held-out pairs can be read; smpo data validate says why");
        }
        return new Totals(own, forward);
    }

    /// Whether pairs of a batch could be read, then their results.
    private byte[] evaluate(int from, PreferenceStep withForwardNoise, Networks networks)
            throws IOException, InterruptedException {
        try (PairStream.Batch batch = pairs.heldOutBatch(from, Math.min(BATCH, count - from))) {
            batch.bad().forEach(bad -> warn.accept("skipped, held out: " + bad.message()));
            if (batch.isEmpty()) {
                return Frames.write(out -> out.writeBoolean(false));
            }
            StepResults own = errors(step, batch, networks);
            StepResults forward = withForwardNoise == null ? null : errors(withForwardNoise, batch, networks);
            return Frames.write(out -> {
                out.writeBoolean(true);
                own.write(out);
                if (forward != null) {
                    forward.write(out);
                }
            });
        }
    }

    private StepResults errors(PreferenceStep how, PairStream.Batch batch, Networks networks) {
        PairLatents latents = batch.latents();
        return how.run(latents, networks, PairStream.HELD_OUT_STEP, microBatch, latents.pairs(), false);
    }

    /// Describes totals in one line.
    String describe(long done, Totals totals) {
        StringBuilder text = new StringBuilder(String.format(
                Locale.ROOT,
                "step %d, %d held-out pairs: loss %.4g",
                done,
                totals.own().pairs(),
                totals.own().loss()));
        if (loss.objective().hasLogit()) {
            text.append(String.format(
                    Locale.ROOT,
                    ", implicit accuracy %.1f %%",
                    100 * totals.own().implicitAccuracy()));
        }
        if (totals.forward() != null) {
            text.append(String.format(
                    Locale.ROOT,
                    " (%.1f %% with forward noise)",
                    100 * totals.forward().errorAccuracy()));
        }
        return text.toString();
    }
}
