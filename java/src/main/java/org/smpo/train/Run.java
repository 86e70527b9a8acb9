package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.InstantSource;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.smpo.ffi.LibraryInfo;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Closer;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.parallel.Peers;
import org.smpo.recipe.Recipe;
import org.smpo.report.RunLog;
import org.smpo.report.TensorBoard;

/// The folder of a run in progress. This class alone writes to it: the recipe, the manifest, the logs, the
/// checkpoints, the samples and the tuned model. Where several processes share a run, rank 0 writes, and
/// the others only read the checkpoint that they resume from.
final class Run implements AutoCloseable {
    /// Manifest entries that describe the program and the machine. A run resumes even if they differ.
    private static final Set<String> PROGRAM = Set.of("smpo", "commit", "libtorch", "device", "cpu", Placement.RANKS);

    private static final String RECIPE_DIGEST = "recipe_sha256";

    /// Parts of a manifest's entries that locate inputs. The digests beside them identify the contents.
    static final Set<String> PLACES = Set.of("path", "source");

    private final Recipe recipe;
    private final RunFolder folder;
    private final Trainer.Listener listener;
    private final Peers peers;
    private final boolean writes;
    private final Optional<JsonObject> begun;
    private final Closer parts = new Closer();
    private final List<Checkpoint> damaged = new ArrayList<>();

    private RunLog log;
    private TensorBoard board;
    private Checkpoint newest;
    private LogLengths afterStep;

    /// Lengths in bytes to which the logs are cut back when a checkpoint is resumed.
    private record LogLengths(long log, long board) {}

    private Run(Recipe recipe, RunFolder folder, Optional<JsonObject> begun, Peers peers, Trainer.Listener listener) {
        this.peers = peers;
        this.writes = peers.world().isFirst();
        this.recipe = recipe;
        this.folder = folder;
        this.begun = begun;
        this.listener = listener;
        parts.add(folder);
    }

    /// Locks the folder of a recipe and checks that a run can begin or resume there. A rank that does
    /// not write takes no lock.
    ///
    /// @param peers processes that share the run
    /// @throws IOException when another process works there, when there is a run although a new one is to begin, or
    ///     when there is none to resume or it has another recipe
    static Run open(Recipe recipe, boolean resume, Peers peers, Trainer.Listener listener) throws IOException {
        boolean writes = peers.world().isFirst();
        RunFolder folder =
                writes ? RunFolder.open(recipe.output(), listener::warn) : RunFolder.unlocked(recipe.output());
        try {
            if (!resume) {
                if (writes) {
                    requireUnused(folder);
                }
                return new Run(recipe, folder, Optional.empty(), peers, listener);
            }
            if (!folder.hasRun()) {
                throw new IOException(folder.root() + ": no run to resume: it has no recipe.yaml");
            }
            // Parse it again, so that keys that did not exist when the run began have their defaults.
            Recipe before = Recipe.read(folder.recipe(), List.of());
            RecipeChanges.require(folder.recipe(), before, recipe)
                    .forEach(change -> listener.say("changed since the run began: " + change));
            return new Run(recipe, folder, Optional.of(Json.readObject(folder.manifest())), peers, listener);
        } catch (IOException | RuntimeException e) {
            try (folder) {
                throw e;
            }
        }
    }

    /// Throws if the folder holds a run.
    static void requireUnused(RunFolder folder) throws IOException {
        if (folder.isUsed()) {
            throw new IOException(
                    folder.root() + ": has a run already; continue it with --resume, or choose another output");
        }
    }

    /// The manifest of the run that is resumed; empty for a new run.
    Optional<JsonObject> begun() {
        return begun;
    }

    /// Begins the run, or restores it from its newest intact checkpoint.
    ///
    /// @param manifest program, device, and digests of every input
    /// @return the state from which to continue
    RunState start(Map<String, Object> manifest, Policy policy, PairStream pairs, Health health) throws IOException {
        if (!writes) {
            return follow(policy, pairs, health);
        }
        RunState state = startWriting(manifest, policy, pairs, health);
        // The step of the checkpoint that the run resumes from.
        peers.tell(newest == null ? -1 : newest.step());
        return state;
    }

    /// Restores the checkpoint that rank 0 has chosen and verified.
    private RunState follow(Policy policy, PairStream pairs, Health health) throws IOException {
        long step = peers.tell(-1L);
        if (step < 0) {
            return RunState.START;
        }
        newest = Checkpoint.all(folder.checkpoints()).stream()
                .filter(checkpoint -> checkpoint.step() == step)
                .findFirst()
                .orElseThrow(() -> new IOException(folder.checkpoints() + ": expected " + Checkpoint.name(step)
                        + ", from which rank 0 resumes, found no such folder; give all processes the same output folder"
                        + " on a shared file system"));
        JsonObject state = restore(policy, pairs, health);
        return RunState.read(state, step);
    }

    /// Restores every part of the run from the newest checkpoint.
    private JsonObject restore(Policy policy, PairStream pairs, Health health) throws IOException {
        JsonObject state = policy.restore(newest);
        pairs.restore(newest.folder());
        health.restore(state.object("health"));
        return state;
    }

    private RunState startWriting(Map<String, Object> manifest, Policy policy, PairStream pairs, Health health)
            throws IOException {
        folder.recover();
        if (begun.isPresent()) {
            requireSameInputs(begun.get().asMap(), manifest);
            if (!Files.readString(folder.recipe()).equals(recipe.resolved())) {
                AtomicFiles.write(folder.manifest(), Json.canonical(manifest));
                AtomicFiles.write(folder.recipe(), recipe.resolved());
            }
            return resume(policy, pairs, health);
        }
        AtomicFiles.write(folder.manifest(), Json.canonical(manifest));
        beginLogs();
        // Write the recipe last, because a folder with a recipe counts as a run.
        AtomicFiles.write(folder.recipe(), recipe.resolved());
        return RunState.START;
    }

    private void beginLogs() throws IOException {
        log = parts.add(RunLog.create(fresh(folder.log())));
        board = parts.add(TensorBoard.create(fresh(TensorBoard.fileIn(folder.root())), InstantSource.system()));
        board.text(0, "recipe", "```yaml\n" + recipe.resolved() + "```");
    }

    /// Deletes a file that no run refers to.
    private static Path fresh(Path file) throws IOException {
        Files.deleteIfExists(file);
        return file;
    }

    private RunState resume(Policy policy, PairStream pairs, Health health) throws IOException {
        List<String> reasons = new ArrayList<>();
        Optional<Checkpoint> checkpoint = Checkpoint.newest(folder.checkpoints(), reasons);
        reasons.forEach(listener::warn);
        for (Checkpoint any : Checkpoint.all(folder.checkpoints())) {
            if (checkpoint.isEmpty() || any.step() > checkpoint.get().step()) {
                damaged.add(any);
            }
        }
        if (checkpoint.isEmpty()) {
            listener.say((reasons.isEmpty() ? "no checkpoint yet" : "no checkpoint is intact")
                    + ": beginning again at step 0");
            beginLogs();
            return RunState.START;
        }
        newest = checkpoint.get();
        JsonObject state = restore(policy, pairs, health);
        log = parts.add(RunLog.resume(folder.log(), state.integer("log_bytes")));
        board = parts.add(TensorBoard.resume(
                TensorBoard.fileIn(folder.root()), state.integer("board_bytes"), InstantSource.system()));
        listener.say("resuming after step " + newest.step());
        return RunState.read(state, newest.step());
    }

    private void requireSameInputs(Map<String, Object> before, Map<String, Object> manifest) throws IOException {
        Map<String, Object> now =
                Json.parseObject("manifest", Json.canonical(manifest)).asMap();
        for (String key : now.keySet()) {
            if (!key.equals(RECIPE_DIGEST) && !key.equals(Placement.RANKS)) {
                requireSame(key, before.get(key), now.get(key));
            }
        }
        // Recorded where there are several.
        requireSame(Placement.RANKS, before.getOrDefault(Placement.RANKS, 1), now.getOrDefault(Placement.RANKS, 1));
    }

    /// Compares an entry, part by part where it has parts. What an earlier version did not record is
    /// taken as it is.
    private void requireSame(String key, Object before, Object now) throws IOException {
        if (before == null || Objects.equals(before, now)) {
            return;
        }
        if (before instanceof Map<?, ?> old && now instanceof Map<?, ?> parts) {
            for (Object part : old.keySet()) {
                if (!PLACES.contains(part)) {
                    requireSame(key + "." + part, old.get(part), parts.get(part));
                }
            }
            return;
        }
        String difference = folder.manifest() + ": " + key + ": the run was begun with " + before + ", found "
                + (now == null ? "none" : now);
        if (PROGRAM.contains(key)) {
            listener.warn(difference + "; the last bits of the result may differ");
        } else {
            throw new IOException(difference + "; restore the original, or begin another run");
        }
    }

    /// Appends an event to the log.
    void log(Map<String, Object> event) throws IOException {
        if (!writes) {
            return;
        }
        log.append(event);
    }

    /// Appends an event to the log, and its numbers to TensorBoard's.
    ///
    /// @param group prefix of the numbers' names
    void log(long step, String group, Map<String, Object> event) throws IOException {
        if (!writes) {
            return;
        }
        log.append(event);
        board.scalars(step, StepLog.scalars(group, event));
    }

    /// Marks the position in the logs to which they are cut back when a checkpoint with reports still
    /// due is resumed.
    void markStep() throws IOException {
        if (writes) {
            afterStep = sync();
        }
    }

    private LogLengths sync() throws IOException {
        return new LogLengths(log.sync(), board.sync());
    }

    /// Writes the samples of a step, which all processes generate.
    void writeSamples(Samples samples, long step) throws IOException {
        List<byte[]> images = samples.generate(peers);
        if (writes) {
            samples.write(images, folder.samples(step), step, board);
        }
    }

    /// Writes a checkpoint and deletes those that are no longer to be kept.
    ///
    /// @throws IOException when it cannot be written, on a full disk for example; older checkpoints are then intact
    void checkpoint(RunState state, Policy policy, PairStream pairs, Health health) throws IOException {
        if (!writes) {
            policy.help();
            return;
        }
        LogLengths lengths = state.reportsDue() ? afterStep : sync();
        Map<String, Object> all = new LinkedHashMap<>(state.json());
        all.put(RECIPE_DIGEST, recipe.digest());
        all.put("health", health.state());
        all.put("log_bytes", lengths.log());
        all.put("board_bytes", lengths.board());
        newest = policy.save(folder.checkpoints(), state.done(), all, pairs::save);
        for (Checkpoint old : damaged) {
            if (old.step() != state.done()) {
                old.delete();
            }
        }
        damaged.clear();
        Checkpoint.prune(
                folder.checkpoints(),
                recipe.checkpoint().keep(),
                step -> recipe.checkpoint().isDue(step, recipe.train().steps()),
                recipe.checkpoint().milestones()::contains);
    }

    /// The folder of the newest checkpoint, or null.
    Path newestCheckpoint() {
        return newest == null ? null : newest.folder();
    }

    /// Writes the tuned model in every format of the recipe, from the newest checkpoint.
    List<Path> export(Policy policy) throws IOException {
        if (!writes) {
            return List.of();
        }
        Map<String, String> metadata = new LinkedHashMap<>();
        metadata.put("smpo_recipe_sha256", recipe.digest());
        metadata.put("smpo_method", recipe.objective().loss().name());
        metadata.put("smpo_steps", Long.toString(newest.step()));
        metadata.put("smpo_version", LibraryInfo.read().version());
        metadata.putAll(shown(newest.step()));
        return policy.export(newest, folder.root(), metadata);
    }

    /// The entries that user interfaces show, by the names of Stability's model metadata and of kohya's scripts.
    private Map<String, String> shown(long steps) {
        String name = RunFolder.name(recipe.output());
        int side = recipe.data().side();
        Map<String, String> all = new LinkedHashMap<>();
        all.put("modelspec.title", name);
        all.put("modelspec.date", LocalDate.now(ZoneOffset.UTC).toString());
        all.put("modelspec.resolution", side + "x" + side);
        all.put("ss_output_name", name);
        all.put("ss_sd_model_name", RunFolder.name(recipe.model()));
        all.put("ss_resolution", "(" + side + ", " + side + ")");
        all.put("ss_steps", Long.toString(steps));
        all.put("ss_max_train_steps", Long.toString(recipe.train().steps()));
        all.put("ss_total_batch_size", Integer.toString(recipe.train().pairsPerStep()));
        all.put("ss_seed", Long.toString(recipe.seed()));
        recipe.learningRate().ifPresent(rate -> {
            all.put("ss_learning_rate", Double.toString(rate.value()));
            all.put("ss_lr_scheduler", rate.schedule().name().toLowerCase(Locale.ROOT));
        });
        return all;
    }

    /// Makes the logs durable.
    void finish() throws IOException {
        if (writes) {
            sync();
        }
    }

    @Override
    public void close() throws IOException {
        parts.close();
    }
}
