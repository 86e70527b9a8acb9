package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.smpo.io.AtomicFiles;
import org.smpo.io.FolderLock;

/// The folder of a run, held by one process at a time.
///
/// ```text
/// recipe.yaml            the resolved recipe
/// manifest.json          program, device, digests of every input
/// log.jsonl              one object per step and per evaluation
/// events.out.tfevents.*  the same for TensorBoard
/// checkpoints/step-N/    everything needed to resume bit for bit
/// samples/step-N/        sample images
/// model/                 the tuned model; other formats are files named after the run
/// ```
final class RunFolder implements AutoCloseable {
    /// Entry of the manifest that a run has whose model is to be used in a particular way.
    static final String ROLE = "role";

    /// The [#ROLE] of a model to be used as a negative network.
    static final String NEGATIVE = "negative";

    private static final String SAMPLES = "samples";

    private final Path root;
    private final FolderLock lock;

    private RunFolder(Path root, FolderLock lock) {
        this.root = root;
        this.lock = lock;
    }

    /// Opens a folder, creating it if necessary, and locks it.
    ///
    /// @param warnings receives a message when the file system has no locks
    /// @throws IOException when it cannot be created, or another process works in it
    static RunFolder open(Path root, Consumer<String> warnings) throws IOException {
        return new RunFolder(root, FolderLock.acquire(root, "a run", warnings));
    }

    /// Names a folder without creating or locking it.
    static RunFolder unlocked(Path root) {
        return new RunFolder(root, null);
    }

    /// Name of a folder or a file, without its place and the ending of checkpoints.
    static String name(Path path) {
        Path last = path.toAbsolutePath().normalize().getFileName();
        return last == null ? "model" : last.toString().replaceFirst("\\.(safetensors|ckpt)$", "");
    }

    Path root() {
        return root;
    }

    /// The file of the resolved recipe.
    Path recipe() {
        return root.resolve("recipe.yaml");
    }

    /// The file that identifies the run's inputs.
    Path manifest() {
        return root.resolve("manifest.json");
    }

    /// The log file.
    Path log() {
        return root.resolve("log.jsonl");
    }

    /// The folder of checkpoints.
    Path checkpoints() {
        return root.resolve("checkpoints");
    }

    /// The folder of the samples of a step.
    Path samples(long step) {
        return root.resolve(SAMPLES).resolve(Checkpoint.name(step));
    }

    /// Completes or removes files left behind by a process that was killed while writing.
    void recover() throws IOException {
        for (Path place : List.of(root, checkpoints(), root.resolve(SAMPLES))) {
            if (Files.isDirectory(place)) {
                AtomicFiles.recover(place);
            }
        }
    }

    /// The folder of the tuned model.
    Path model() {
        return root.resolve("model");
    }

    /// Whether there is a run that can be resumed.
    boolean hasRun() {
        return Files.exists(recipe());
    }

    /// Whether there is a run, or checkpoints of one, which a new run would mistake for its own.
    boolean isUsed() {
        return hasRun() || Files.exists(checkpoints());
    }

    /// Releases the lock.
    @Override
    public void close() throws IOException {
        if (lock != null) {
            lock.close();
        }
    }
}
