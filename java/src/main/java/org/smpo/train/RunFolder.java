package org.smpo.train;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

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
    private final Path root;
    private final FileChannel channel;
    private final FileLock lock;

    private RunFolder(Path root, FileChannel channel, FileLock lock) {
        this.root = root;
        this.channel = channel;
        this.lock = lock;
    }

    /// Opens a folder, making it where it is not there, and locks it.
    ///
    /// @throws IOException when it cannot be made, or another process has it
    public static RunFolder open(Path root) throws IOException {
        Files.createDirectories(root);
        FileChannel channel =
                FileChannel.open(root.resolve(".lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        try {
            FileLock lock = channel.tryLock();
            if (lock != null) {
                return new RunFolder(root, channel, lock);
            }
        } catch (OverlappingFileLockException e) {
            // This process has it: the same answer as for another one.
        } catch (IOException e) {
            channel.close();
            throw e;
        }
        channel.close();
        throw new IOException(
                root + ": another process is running in this folder; wait for it or choose another output");
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
        return root.resolve("samples").resolve(Checkpoint.name(step));
    }

    /// The tuned model.
    public Path model() {
        return root.resolve("model");
    }

    /// Whether a run has begun here.
    public boolean isUsed() {
        return Files.exists(recipe());
    }

    /// Gives the folder free.
    @Override
    public void close() throws IOException {
        try (channel) {
            lock.release();
        }
    }
}
