package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.smpo.ffi.CancelledException;
import org.smpo.ffi.EngineException;
import org.smpo.ffi.StepOutcome;
import org.smpo.io.Closer;
import org.smpo.parallel.Frames;
import org.smpo.parallel.PeerStoppedException;
import org.smpo.parallel.Peers;
import org.smpo.recipe.Recipe;
import org.smpo.train.TrainingResult.Ending;

/// A training run: the loop over optimizer steps, with checkpoints, evaluations and samples between them.
///
/// Everything random is a function of the recipe's seed and the step, and everything else that a step depends on is
/// in a checkpoint, so a run that was stopped and resumed ends with the same bits as an uninterrupted
/// run. Belongs to the thread that opened it, except [#stop()].
public final class Trainer implements AutoCloseable {
    private final Recipe recipe;
    private final Peers peers;
    private final Listener listener;
    private final Closer parts = new Closer();
    private final Run run;
    private final Setup setup;
    private final Health health;
    private final StepLog entries;
    private final Reports reports;
    private final EngineLog engineLog;

    private RunState state;
    private RunState saved;
    private volatile boolean stopRequested;

    /// Receives events of the run, on the trainer's thread.
    public interface Listener {
        /// Called with a message for the user.
        void say(String message);

        /// Called with a warning for the user.
        void warn(String message);

        /// Called at the end of a step.
        ///
        /// @param done number of steps taken in the whole run
        /// @param of number of steps of the whole run
        /// @param loss mean loss of this step
        /// @param implicitAccuracy implicit accuracy of this step; empty where the objective has no logit
        void stepped(long done, long of, double loss, OptionalDouble implicitAccuracy);
    }

    /// Opens a run: reads the model and the data, and restores the newest checkpoint when the run is resumed.
    ///
    /// @param resume whether to resume the run in the folder; if false, the folder must have no run
    /// @param cacheFolder folder of encoded images and prompts; see [Cache#defaultFolder()]
    /// @throws IllegalArgumentException when the recipe does not suit the model or the data
    /// @throws IOException when a file cannot be read, the folder has a run already, or another process works there
    public static Trainer open(Recipe recipe, boolean resume, Path cacheFolder, Listener listener) throws IOException {
        return open(recipe, resume, cacheFolder, Peers.alone(), listener);
    }

    /// Opens a run that several processes share: each takes its part of every global batch, and rank 0
    /// writes.
    ///
    /// @param resume whether to resume the run in the folder; if false, the folder must have no run
    /// @param cacheFolder folder of encoded images and prompts; see [Cache#defaultFolder()]
    /// @param peers the processes; the caller keeps ownership
    /// @throws IllegalArgumentException when the recipe does not suit the model, the data or the
    ///     number of processes
    /// @throws IOException when a file cannot be read, the folder has a run already, or another process works there
    /// @throws PeerException when another process fails or has another recipe, model, data or build
    public static Trainer open(Recipe recipe, boolean resume, Path cacheFolder, Peers peers, Listener listener)
            throws IOException {
        try {
            Recipe completed = Completion.of(resume ? Completion.ofFinished(recipe, listener) : recipe, listener);
            return new Trainer(completed, resume, cacheFolder, peers, listener);
        } catch (IOException | RuntimeException e) {
            peers.fail(e);
            throw e;
        }
    }

    private Trainer(Recipe recipe, boolean resume, Path cacheFolder, Peers peers, Listener listener)
            throws IOException {
        this.recipe = recipe;
        this.peers = peers;
        this.listener = listener;
        this.health = new Health(recipe.health(), recipe.objective().loss());
        this.entries = new StepLog(recipe);
        try {
            run = parts.add(Run.open(recipe, resume, peers, listener));
            setup = parts.add(Setup.open(recipe, run.begun(), cacheFolder, peers, listener));
            reports = new Reports(recipe, setup, run, entries, peers, listener);
            engineLog = new EngineLog(setup.engine()::drainLog, listener, run::log);
            state = run.start(setup.manifest(), setup.policy(), setup.pairs(), health);
            saved = state;
            engineLog.pass(state.done());
        } catch (IOException | RuntimeException e) {
            parts.closeAfter(e);
            throw e;
        }
    }

    /// Number of steps taken so far, including those before a resumption.
    public long done() {
        return state.done();
    }

    /// Number of pairs differentiated together.
    public int microBatch() {
        return setup.sizes().microBatch();
    }

    /// Requests the end of the run, from any thread. The step in progress is dropped at its next safe point,
    /// between two micro-batches or two evaluations of the UNet. [#run()] then writes a checkpoint of the last
    /// whole step and returns. A resumed run repeats the dropped step and ends with the same bits as an
    /// uninterrupted run.
    public void stop() {
        stopRequested = true;
        setup.engine().cancel();
    }

    /// Takes the steps that are left and writes the tuned model.
    ///
    /// @throws NonFiniteStepException when a loss or gradient is not finite: no weight has then changed since the
    ///     last good step
    /// @throws IOException when data cannot be read or a file cannot be written, on a full disk for example; the
    ///     last checkpoint is then intact
    public TrainingResult run() throws IOException, InterruptedException {
        try {
            TrainingResult result = takeSteps();
            // Rank 0 may have failed to write the model.
            peers.check();
            return result;
        } catch (IOException | InterruptedException | RuntimeException e) {
            peers.fail(e);
            throw e;
        }
    }

    private TrainingResult takeSteps() throws IOException, InterruptedException {
        long steps = recipe.train().steps();
        Optional<Health.Warning> sick = Optional.empty();
        boolean stopped = false;
        while ((state.done() < steps || state.reportsDue()) && !stopped && sick.isEmpty()) {
            try {
                if (stopRequested) {
                    stopped = tellToStop();
                } else if (!state.reportsDue()) {
                    sick = takeStep();
                    if (sick.isPresent() && sick.get().fatal()) {
                        // This state is not worth keeping: the last checkpoint stays the newest.
                        return ended(Ending.UNHEALTHY, sick.get().message());
                    }
                }
                if (!stopped) {
                    report();
                }
            } catch (CancelledException e) {
                if (!stopRequested) {
                    throw e;
                }
                stopped = tellToStop();
            } catch (PeerStoppedException e) {
                setup.policy().discardGradients();
                stopped = true;
            } catch (EngineException e) {
                throw RecipeAdvice.explain(e);
            }
            if (recipe.checkpoint().isDue(state.done(), steps) || sick.isPresent() || stopped) {
                checkpoint();
            }
        }
        if (state.done() == steps && !state.reportsDue()) {
            run.finish();
            return new TrainingResult(steps, Ending.FINISHED, "", run.newestCheckpoint(), run.export(setup.policy()));
        }
        return sick.isPresent() ? ended(Ending.UNHEALTHY, sick.get().message()) : ended(Ending.STOPPED, "");
    }

    private boolean tellToStop() {
        setup.policy().discardGradients();
        peers.stop();
        return true;
    }

    private TrainingResult ended(Ending ending, String reason) throws IOException {
        run.finish();
        return new TrainingResult(state.done(), ending, reason, run.newestCheckpoint(), List.of());
    }

    private void checkpoint() throws IOException {
        // Without a checkpoint, a run resumes from its beginning.
        if (state.done() > 0 && !state.equals(saved)) {
            run.checkpoint(state, setup.policy(), setup.pairs(), health);
            saved = state;
        }
    }

    /// Takes one optimizer step: read and encode pairs, invert, differentiate, update, log.
    ///
    /// @return the reason why the run should end, if there is one
    private Optional<Health.Warning> takeStep() throws IOException, InterruptedException {
        long start = System.nanoTime();
        long step = state.done();
        try (PairStream.Batch batch = setup.pairs().batch(step)) {
            batch.bad().forEach(bad -> listener.warn("skipped: " + bad.message()));
            StepPairs pairs = StepPairs.of(batch, peers);
            RunState next = count(pairs).withStepDone();
            if (pairs.isEmpty()) {
                skipStep(pairs, next);
                return Optional.empty();
            }
            long encoded = System.nanoTime();
            StepResults own = differentiate(batch, pairs, step);
            long differentiated = System.nanoTime();
            StepResults results = StepResults.merged(exchange(own), own);
            long met = System.nanoTime();
            results.requireFinite(pairs.ids(), pairs.timesteps());
            setup.policy().sumGradients();
            long reduced = System.nanoTime();
            StepOutcome outcome = setup.policy().update(step, pairs.ids());
            StepLog.Phases phases =
                    StepLog.Phases.of(start, encoded, results, differentiated, met, reduced, System.nanoTime());
            state = next;
            double undecided = health.undecided(results.label());
            List<Health.Warning> warnings = health.step(
                    results.desirable() == null
                            ? results.pairs()
                            : results.pairs().byKind(results.desirable()),
                    results.loss(),
                    undecided);
            Health.fewPairs(results.effectivePairs(), pairs.count()).ifPresent(warnings::add);
            Map<String, Object> entry = entries.step(state.done(), pairs, results, outcome, undecided, warnings);
            entry.put("time", StepLog.time(phases, results, setup.engine().statistics(), peers.world()));
            for (Map<String, Object> event : batch.events()) {
                run.log(state.done(), "rollout", StepLog.rollout(state.done(), event));
            }
            run.log(state.done(), "train", entry);
            engineLog.pass(state.done());
            stepDone();
            listener.stepped(
                    state.done(),
                    recipe.train().steps(),
                    results.loss(),
                    entries.hasLogit() ? OptionalDouble.of(results.implicitAccuracy()) : OptionalDouble.empty());
            Health.Verdict verdict = health.verdict(warnings);
            verdict.fresh().forEach(warning -> listener.warn("step " + state.done() + ": " + warning.message()));
            return verdict.end();
        }
    }

    /// Adds the gradient of this process's share to the policy's.
    ///
    /// @return null where this process has no pair
    private StepResults differentiate(PairStream.Batch batch, StepPairs pairs, long step) {
        Networks networks = setup.policy().networks();
        if (batch.isEmpty()) {
            setup.step().runWithoutPairs();
            return null;
        }
        return setup.step().run(batch.latents(), networks, step, microBatch(), pairs.count(), true);
    }

    /// The results of all processes that have pairs, in the order of their ranks.
    private List<StepResults> exchange(StepResults own) {
        if (peers.world().size() == 1) {
            return List.of(own);
        }
        byte[] message = own == null ? new byte[0] : Frames.write(own::write);
        return peers.exchange(message).stream()
                .filter(bytes -> bytes.length > 0)
                .map(bytes -> Frames.read(bytes, StepResults::read))
                .toList();
    }

    private RunState count(StepPairs pairs) throws IOException {
        int bad = pairs.skipped().size();
        RunState counted = state.withPairs(pairs.count() + bad, bad);
        counted.requireFewBadPairs(setup.pairs().trainingPairs(), recipe.data().maxBadFraction());
        return counted;
    }

    /// Handles a step for which no pair can be read. It changes no weights.
    private void skipStep(StepPairs pairs, RunState next) throws IOException {
        state = next;
        run.log(StepLog.skipped(state.done(), pairs));
        listener.warn("step " + state.done() + ": none of its pairs can be read; the weights stay as they are");
        stepDone();
    }

    private void stepDone() throws IOException {
        if (reports.areDue(state.done())) {
            state = state.withReportsDue(true);
            run.markStep();
        }
    }

    /// Writes the reports that are due after the last step.
    private void report() throws IOException, InterruptedException {
        if (state.reportsDue()) {
            reports.write(state.done());
            engineLog.pass(state.done());
            state = state.withReportsDue(false);
        }
    }

    @Override
    public void close() throws IOException {
        parts.close();
    }
}
