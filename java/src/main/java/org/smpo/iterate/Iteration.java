package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.evaluate.EvaluationRequest;
import org.smpo.io.AtomicFiles;
import org.smpo.parallel.PeerStoppedException;
import org.smpo.parallel.Peers;
import org.smpo.recipe.IterateRecipe;
import org.smpo.report.Progress;
import org.smpo.train.Trainer;
import org.smpo.train.TrainingResult.Ending;

/// Rounds of generating images, making pairs of them and tuning on the pairs.
///
/// ```
/// try (Iteration iteration = Iteration.open(IterateRecipe.read(file, List.of()), false, cache,
/// program, listener)) {
///     Ending ending = iteration.run();
/// }
/// ```
///
/// Each stage is the work of one command, and its files are those of that command. A stage whose result
/// is there is skipped, and one that was interrupted resumes, so rounds that were killed at any moment
/// and resumed end with the same bits as uninterrupted ones. Belongs to the thread that opened it.
public final class Iteration implements AutoCloseable {
    private final IterationPlan plan;
    /// Null on all ranks but 0.
    private final IterationFolder folder;
    private final Peers peers;
    private final Listener listener;

    /// Receives events, on the thread that runs the rounds.
    public interface Listener extends Trainer.Listener {
        /// Called at the beginning of a stage.
        ///
        /// @param number number of the stage, from 1
        /// @param of number of stages
        /// @param what command of the stage, or that it was done before
        void stage(int number, int of, String what);

        /// Returns the display of the progress of stages that generate images.
        Progress.Display display();

        /// Called when a training run begins or resumes, until [#trained()].
        ///
        /// @param trainer the run, which [Trainer#stop()] stops with a checkpoint
        /// @param steps number of its steps
        void training(Trainer trainer, long steps);

        /// Called when a training run has ended, whatever the reason.
        void trained();

        /// Returns whether to stop at the end of the stage.
        boolean isStopRequested();
    }

    private Iteration(IterationPlan plan, IterationFolder folder, Peers peers, Listener listener) {
        this.plan = plan;
        this.folder = folder;
        this.peers = peers;
        this.listener = listener;
    }

    /// Checks the inputs and opens the folder of the rounds.
    ///
    /// @param resume whether to resume the rounds in the folder; if false, the folder must have none
    /// @param cache folder of encoded images and prompts
    /// @param program origin of the program; its command has no meaning
    /// @throws IllegalArgumentException when the prompts, the model or the rewards do not suit the
    ///     recipe
    /// @throws IOException when a file cannot be read, the folder has rounds already, or another
    ///     process works there
    public static Iteration open(
            IterateRecipe recipe, boolean resume, Path cache, EvaluationRequest.Provenance program, Listener listener)
            throws IOException {
        return open(recipe, resume, cache, program, Peers.alone(), listener);
    }

    /// Opens rounds that several processes share. They share the images, the scores and the training;
    /// rank 0 makes the pairs and writes all files, in a folder that all can read.
    ///
    /// @param peers the processes; the caller keeps ownership
    /// @throws org.smpo.parallel.PeerException when another process fails or has another recipe, prompts or rewards
    /// @see #open(IterateRecipe, boolean, Path, EvaluationRequest.Provenance, Listener)
    public static Iteration open(
            IterateRecipe recipe,
            boolean resume,
            Path cache,
            EvaluationRequest.Provenance program,
            Peers peers,
            Listener listener)
            throws IOException {
        return peers.together(() -> {
            IterationPlan plan = IterationPlan.of(recipe, cache, program, peers.world());
            Map<String, String> inputs = new LinkedHashMap<>(Map.of("recipe", recipe.resolved()));
            plan.inputs().forEach(input -> inputs.put(input.what(), input.digest()));
            peers.requireSame(inputs);
            IterationFolder folder =
                    peers.world().isFirst() ? IterationFolder.open(plan, resume, listener::warn) : null;
            return new Iteration(plan, folder, peers, listener);
        });
    }

    /// Runs the stages that are left.
    ///
    /// @return why it ended; anything but [Ending#FINISHED] leaves rounds that can be resumed
    /// @throws IllegalArgumentException when a recipe does not suit the model, the rewards or the images
    /// @throws IOException when a file cannot be read or written, or a round has too few pairs
    public Ending run() throws IOException, InterruptedException {
        try {
            return runStages();
        } catch (PeerStoppedException e) {
            return Ending.STOPPED;
        } catch (IOException | InterruptedException | RuntimeException e) {
            peers.fail(e);
            throw e;
        }
    }

    private Ending runStages() throws IOException, InterruptedException {
        List<Stage> stages = plan.stages();
        for (int i = 0; i < stages.size(); i++) {
            Stage stage = stages.get(i);
            // Rank 0 writes the files, so it knows.
            if (peers.tell(folder != null && stage.isDone())) {
                listener.stage(i + 1, stages.size(), stage.name() + ": done before");
                continue;
            }
            listener.stage(i + 1, stages.size(), IterationPlan.command(stage));
            Ending ending;
            try {
                ending = stage.run(peers, listener);
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(stage.name() + ": " + e.getMessage(), e);
            }
            if (ending != Ending.FINISHED) {
                return ending;
            }
            report();
            if (listener.isStopRequested()) {
                peers.stop();
                return Ending.STOPPED;
            }
            peers.check();
        }
        report();
        return Ending.FINISHED;
    }

    /// Writes the report of the rounds that are finished.
    private void report() throws IOException {
        if (folder == null) {
            return;
        }
        List<RoundSummary> rounds = new ArrayList<>();
        for (int number = 1; number <= plan.recipe().rounds().count(); number++) {
            Path file = plan.round(number).summary();
            if (Files.exists(file)) {
                rounds.add(RoundSummary.read(file));
            }
        }
        if (!rounds.isEmpty()) {
            AtomicFiles.write(folder.report(), new IterationReport(plan, rounds).html());
        }
    }

    /// Returns the report, which is there once a round is finished; empty on all ranks but 0.
    public Optional<Path> reportFile() {
        return Optional.ofNullable(folder).map(IterationFolder::report);
    }

    @Override
    public void close() throws IOException {
        if (folder != null) {
            folder.close();
        }
    }
}
