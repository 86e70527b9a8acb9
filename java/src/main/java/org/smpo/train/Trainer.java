package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import org.smpo.data.BadPair;
import org.smpo.ffi.CancelledException;
import org.smpo.ffi.EngineException;
import org.smpo.ffi.LogRecord;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.StepOutcome;
import org.smpo.io.Closer;
import org.smpo.recipe.Recipe;

/// A training run: the loop over optimizer steps, with checkpoints, evaluations and samples between them.
///
/// Everything random is a function of the recipe's seed and the step, and everything else that a step depends on is
/// in a checkpoint, so a run that was stopped and resumed ends with the same bits as an uninterrupted
/// run. Belongs to the thread that opened it, except [#stop()].
public final class Trainer implements AutoCloseable {
    /// Number of pairs needed before the share of bad pairs is judged.
    private static final int FEWEST_TO_JUDGE = 100;

    private final Recipe recipe;
    private final Listener listener;
    private final Closer parts = new Closer();
    private final Run run;
    private final Setup setup;
    private final HeldOutEvaluation heldOut;
    private final Health health;
    private final StepLog entries;
    private final EngineLog engineLog;

    private RunState state;
    private RunState saved;
    private Set<String> lastWarnings = Set.of();
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

    /// Why [#run()] returned.
    public enum Ending {
        /// All steps are taken and the tuned model is written.
        FINISHED,
        /// [#stop()] was called.
        STOPPED,
        /// A health warning ended the run.
        UNHEALTHY
    }

    /// The outcome of [#run()].
    ///
    /// @param steps number of steps taken in the whole run
    /// @param ending why the run ended
    /// @param reason the health warning that ended the run; empty for other endings
    /// @param checkpoint folder of the newest checkpoint; null when there is none
    /// @param written files and folders of the tuned model; empty when the run is not finished
    public record Result(long steps, Ending ending, String reason, Path checkpoint, List<Path> written) {
        /// Whether all steps are taken and the tuned model is written.
        public boolean finished() {
            return ending == Ending.FINISHED;
        }
    }

    /// Opens a run: reads the model and the data, and restores the newest checkpoint when the run is resumed.
    ///
    /// @param resume whether to resume the run in the folder; if false, the folder must have no run
    /// @param cacheFolder folder of encoded images and prompts; see [Cache#defaultFolder()]
    /// @throws IllegalArgumentException when the recipe does not suit the model or the data
    /// @throws IOException when a file cannot be read, the folder has a run already, or another process works there
    public static Trainer open(Recipe recipe, boolean resume, Path cacheFolder, Listener listener) throws IOException {
        return new Trainer(recipe, resume, cacheFolder, listener);
    }

    private Trainer(Recipe recipe, boolean resume, Path cacheFolder, Listener listener) throws IOException {
        this.recipe = recipe;
        this.listener = listener;
        this.health = new Health(recipe.health(), recipe.objective().loss());
        this.entries = new StepLog(recipe);
        try {
            run = parts.add(Run.open(recipe, resume, listener));
            setup = parts.add(Setup.open(recipe, run.begun(), cacheFolder, listener));
            heldOut = new HeldOutEvaluation(recipe, setup, listener::warn);
            engineLog = new EngineLog(setup.engine());
            state = run.start(setup.manifest(), setup.policy(), health);
            saved = state;
            logEngine();
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
    public Result run() throws IOException, InterruptedException {
        long steps = recipe.train().steps();
        Optional<Health.Warning> sick = Optional.empty();
        while ((state.done() < steps || state.reportsDue()) && !stopRequested && sick.isEmpty()) {
            try {
                if (!state.reportsDue()) {
                    sick = takeStep();
                    if (sick.isPresent() && sick.get().fatal()) {
                        // This state is not worth keeping: the last checkpoint stays the newest.
                        return ended(Ending.UNHEALTHY, sick.get().message());
                    }
                }
                report();
            } catch (CancelledException e) {
                if (!stopRequested) {
                    throw e;
                }
                setup.policy().discardGradients();
            } catch (EngineException e) {
                throw RecipeAdvice.explain(e);
            }
            if (recipe.checkpoint().isDue(state.done(), steps) || sick.isPresent() || stopRequested) {
                checkpoint();
            }
        }
        if (state.done() == steps && !state.reportsDue()) {
            run.finish();
            return new Result(steps, Ending.FINISHED, "", run.newestCheckpoint(), run.export(setup.policy()));
        }
        return sick.isPresent() ? ended(Ending.UNHEALTHY, sick.get().message()) : ended(Ending.STOPPED, "");
    }

    private Result ended(Ending ending, String reason) throws IOException {
        run.finish();
        return new Result(state.done(), ending, reason, run.newestCheckpoint(), List.of());
    }

    private void checkpoint() throws IOException {
        // Without a checkpoint, a run resumes from its beginning.
        if (state.done() > 0 && !state.equals(saved)) {
            run.checkpoint(state, setup.policy(), health);
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
            RunState next = countBad(batch).withStepDone();
            if (batch.isEmpty()) {
                skipStep(batch, next);
                return Optional.empty();
            }
            long encoded = System.nanoTime();
            PairLatents latents = batch.latents();
            StepResults results =
                    setup.step().run(latents, setup.policy().networks(), step, microBatch(), latents.pairs(), true);
            requireFinite(batch, results.pairs());
            long differentiated = System.nanoTime();
            StepOutcome outcome = setup.policy().update(step, batch.ids());
            long end = System.nanoTime();
            state = next;
            double undecided = health.undecided(latents.label());
            List<Health.Warning> warnings = health.step(results.pairs(), results.loss(), undecided);
            Map<String, Object> entry = entries.step(state.done(), batch, results, outcome, undecided, warnings);
            StepLog.Phases phases = new StepLog.Phases(
                    seconds(start, encoded),
                    results.noiseSeconds(),
                    results.gradientSeconds(),
                    seconds(differentiated, end),
                    seconds(start, end));
            entry.put("time", StepLog.time(phases, results, setup.engine().statistics()));
            run.log(state.done(), "train", entry);
            logEngine();
            stepDone();
            listener.stepped(
                    state.done(),
                    recipe.train().steps(),
                    results.loss(),
                    entries.hasLogit() ? OptionalDouble.of(results.implicitAccuracy()) : OptionalDouble.empty());
            return judge(warnings);
        }
    }

    /// Handles a step for which no pair can be read. It changes no weights.
    private void skipStep(PairStream.Batch batch, RunState next) throws IOException {
        state = next;
        run.log(StepLog.skipped(state.done(), batch));
        listener.warn("step " + state.done() + ": none of its pairs can be read; the weights stay as they are");
        stepDone();
    }

    private void stepDone() throws IOException {
        if (isDue(recipe.evaluate().every()) || isDue(recipe.samples().every())) {
            state = state.withReportsDue(true);
            run.markStep();
        }
    }

    private boolean isDue(OptionalLong every) {
        return every.isPresent()
                && (state.done() % every.getAsLong() == 0
                        || state.done() == recipe.train().steps());
    }

    /// Evaluates the held-out pairs and generates samples, where they are due after the last step.
    private void report() throws IOException, InterruptedException {
        if (!state.reportsDue()) {
            return;
        }
        if (isDue(recipe.evaluate().every())) {
            HeldOutEvaluation.Totals totals = heldOut.run();
            run.log(state.done(), "held_out", entries.evaluation(state.done(), totals.own(), totals.forward()));
            listener.say(heldOut.describe(state.done(), totals));
        }
        if (isDue(recipe.samples().every())) {
            run.writeSamples(setup.samples().orElseThrow(), state.done());
        }
        logEngine();
        state = state.withReportsDue(false);
    }

    /// Passes warnings of the engine on to the listener and to the log.
    private void logEngine() throws IOException {
        for (LogRecord record : engineLog.drain()) {
            listener.warn(record.message());
            run.log(StepLog.engine(state.done(), record));
        }
    }

    /// Reports kinds of warnings that the previous step did not have; the log has the warnings of every
    /// step.
    ///
    /// @return the most severe warning that should end the run, if there is one
    private Optional<Health.Warning> judge(List<Health.Warning> warnings) {
        Optional<Health.Warning> sick = Optional.empty();
        Set<String> kinds = new HashSet<>();
        for (Health.Warning warning : warnings) {
            kinds.add(warning.kind());
            if (!lastWarnings.contains(warning.kind())) {
                listener.warn("step " + state.done() + ": " + warning.message());
            }
            if (warning.fatal() || (recipe.health().stop() && sick.isEmpty())) {
                sick = Optional.of(warning);
            }
        }
        lastWarnings = kinds;
        return sick;
    }

    private RunState countBad(PairStream.Batch batch) throws IOException {
        RunState counted = state.withPairs(
                batch.ids().size() + batch.bad().size(), batch.bad().size());
        for (BadPair bad : batch.bad()) {
            listener.warn("skipped: " + bad.message());
        }
        // A few pairs are judged only if there are no more: one bad pair in three does not mean that a
        // third of the data is bad.
        if (counted.pairsSeen() >= Math.min(FEWEST_TO_JUDGE, setup.pairs().trainingPairs())
                && counted.badPairs() > recipe.data().maxBadFraction() * counted.pairsSeen()) {
            throw new IOException("data: " + counted.badPairs() + " of " + counted.pairsSeen()
                    + " pairs could not be read, more than data.max_bad_fraction ("
                    + recipe.data().maxBadFraction() + ") allows; smpo data validate lists them");
        }
        return counted;
    }

    private static void requireFinite(PairStream.Batch batch, PairResults results) {
        List<String> offending = new ArrayList<>();
        for (int pair = 0; pair < results.loss().length; pair++) {
            if (!Double.isFinite(results.loss()[pair])) {
                offending.add(batch.ids().get(pair) + " (t = " + batch.latents().timesteps()[pair] + ")");
            }
        }
        if (!offending.isEmpty()) {
            throw new NonFiniteStepException("the loss is not finite for " + String.join(", ", offending));
        }
    }

    private static double seconds(long from, long to) {
        return (to - from) / 1e9;
    }

    @Override
    public void close() throws IOException {
        parts.close();
    }
}
