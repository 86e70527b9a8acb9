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
/// | path | |
/// |---|---|
/// | `recipe.yaml` | the resolved recipe |
/// | `manifest.json` | program, device, digests of every input |
/// | `log.jsonl` | one object per step and per evaluation |
/// | `events.out.tfevents.*` | the same for TensorBoard |
/// | `checkpoints/step-N/` | what it takes to go on bit for bit |
/// | `samples/step-N/` | pictures |
/// | `model/` | the tuned model |
public final class RunFolder implements AutoCloseable {
    private static final String SAMPLES = "samples";

    private final Path root;
    private final FolderLock lock;

    private RunFolder(Path root, FolderLock lock) {
        this.root = root;
        this.lock = lock;
    }

    /// Opens a folder, creating it if necessary, and locks it.
    ///
    /// @param warnings told when the file system has no locks
    /// @throws IOException when it cannot be made, or another process has it
    public static RunFolder open(Path root, Consumer<String> warnings) throws IOException {
        return new RunFolder(root, FolderLock.acquire(root, "a run", warnings));
    }

    /// Names a folder that nothing is written to: it is neither made nor locked.
    static RunFolder unlocked(Path root) {
        return new RunFolder(root, null);
    }

    public Path root() {
        return root;
    }

    /// The resolved recipe.
    public Path recipe() {
        return root.resolve("recipe.yaml");
    }

    /// Where the run's inputs are named.
    public Path manifest() {
        return root.resolve("manifest.json");
    }

    /// The log.
    public Path log() {
        return root.resolve("log.jsonl");
    }

    /// The folder of checkpoints.
    public Path checkpoints() {
        return root.resolve("checkpoints");
    }

    /// The folder of pictures made after a step.
    public Path samples(long step) {
        return root.resolve(SAMPLES).resolve(Checkpoint.name(step));
    }

    /// Puts in order what a process left that died here.
    void recover() throws IOException {
        for (Path place : List.of(root, checkpoints(), root.resolve(SAMPLES))) {
            if (Files.isDirectory(place)) {
                AtomicFiles.recover(place);
            }
        }
    }

    /// The tuned model.
    public Path model() {
        return root.resolve("model");
    }

    /// Whether there is a run that can be continued.
    public boolean hasRun() {
        return Files.exists(recipe());
    }

    /// Whether there is a run, or what is left of one: its checkpoints would be taken for another run's.
    public boolean isUsed() {
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
