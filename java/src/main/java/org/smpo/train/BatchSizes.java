package org.smpo.train;

import java.io.IOException;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import org.smpo.checkpoint.MemoryEstimate;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.CpuInfo;
import org.smpo.ffi.CudaDevice;
import org.smpo.ffi.Device;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.parallel.Frames;
import org.smpo.parallel.Peers;
import org.smpo.recipe.Recipe;

/// Numbers of pairs and images that pass through the networks together. Sizes that the recipe does not
/// set are chosen from the memory that is free before training starts.
///
/// Chosen sizes are powers of two, or the pairs of a whole step. A run on a machine with slightly more
/// memory then rounds in the same way, and a GPU keeps few graphs.
///
/// @param microBatch number of pairs differentiated together
/// @param inversionBatch number of images inverted, or rolled out, together
record BatchSizes(int microBatch, int inversionBatch) {
    /// The share of free memory for activations that wait for the backward pass. The rest is for the
    /// optimizer's state, which is allocated later, for workspaces of layers, and for what pools cannot
    /// reuse.
    private static final double ACTIVATIONS = 0.4;
    /// The share of free memory for a forward pass without gradients, which is released before
    /// activations are kept.
    private static final double EVALUATION = 0.4;
    /// Larger micro-batches do not make a pair faster.
    private static final int MOST_PAIRS = 8;

    private static final int MOST_IMAGES_ON_GPU = 32;

    // Names of these sizes in manifest.json.
    private static final String MICRO_BATCH = "micro_batch";
    private static final String INVERSION_BATCH = "inversion_slots";

    /// Free memory and the memory that a batch takes.
    ///
    /// @param free bytes of free memory
    /// @param pair bytes of the activations kept for one pair
    /// @param image bytes of a forward pass without gradients over one image
    record Memory(long free, long pair, long image) {
        /// Measures the free memory of a device and estimates what a model needs.
        ///
        /// @param localSize number of processes that share the machine, its memory and, one each,
        ///     its GPUs
        static Memory of(ModelFiles files, Device device, Precision precision, int resolution, int localSize)
                throws IOException {
            int bytes = precision.dtype().bytes();
            MemoryEstimate estimate = MemoryEstimate.of(files, resolution, resolution, 2, bytes);
            long free = switch (device.type()) {
                case CPU -> CpuInfo.read().availableMemory() / localSize;
                case CUDA -> CudaDevice.read(device.index()).freeMemory();
            };
            // The estimate counts activations of a pair in bf16.
            return new Memory(free, estimate.trainActivations() * bytes / 2, estimate.generateWork() / 2);
        }
    }

    /// A measurement that may fail.
    @FunctionalInterface
    interface Probe {
        Memory measure() throws IOException;
    }

    /// Chooses the sizes of a run. Sums round differently with other sizes, so a resumed run keeps the
    /// sizes that it began with.
    ///
    /// @param gpu whether the networks run on a GPU
    /// @param begun manifest of the run that is resumed; empty for a new run
    /// @param probe is called only where a size has to be chosen
    /// @param warn receives the reason when the measurement fails, and the smallest sizes are chosen
    static BatchSizes choose(Recipe recipe, boolean gpu, Optional<JsonObject> begun, Probe probe, Consumer<String> warn)
            throws IOException {
        OptionalInt pairs = recipe.train().microBatch();
        OptionalInt images = recipe.latentNetwork().isEmpty() ? OptionalInt.of(1) : recipe.latentSlots();
        if (begun.isPresent()) {
            JsonObject manifest = begun.get();
            pairs = OptionalInt.of(Math.toIntExact(manifest.integer(MICRO_BATCH)));
            if (images.isEmpty() && manifest.has(INVERSION_BATCH)) {
                images = OptionalInt.of(Math.toIntExact(manifest.integer(INVERSION_BATCH)));
            }
        }
        boolean measure = pairs.isEmpty() || (images.isEmpty() && gpu && begun.isEmpty());
        BatchSizes fitting = measure ? fitting(recipe, gpu, probe, warn) : new BatchSizes(1, 1);
        int microBatch = pairs.orElse(fitting.microBatch);
        boolean chosen = gpu && begun.isEmpty();
        int least = 2 * microBatch;
        return new BatchSizes(microBatch, images.orElse(chosen ? Math.max(fitting.inversionBatch, least) : least));
    }

    /// The smallest sizes that any process has chosen: they decide how sums round, so all have the same.
    BatchSizes agreed(Peers peers) {
        BatchSizes all = this;
        for (byte[] other : peers.exchange(Frames.write(out -> {
            out.writeInt(microBatch);
            out.writeInt(inversionBatch);
        }))) {
            BatchSizes sizes = Frames.read(other, in -> new BatchSizes(in.readInt(), in.readInt()));
            all = new BatchSizes(
                    Math.min(all.microBatch, sizes.microBatch), Math.min(all.inversionBatch, sizes.inversionBatch));
        }
        return all;
    }

    private static BatchSizes fitting(Recipe recipe, boolean gpu, Probe probe, Consumer<String> warn) {
        Memory memory;
        try {
            memory = probe.measure();
        } catch (IOException e) {
            warn.accept("cannot tell how many pairs fit into memory (" + e.getMessage()
                    + "), so pairs are processed one at a time; set train.micro_batch for a faster run");
            memory = new Memory(0, 0, 0);
        }
        return of(memory.free(), memory.pair(), memory.image(), recipe.train().pairsPerStep(), gpu);
    }

    /// Chooses sizes that fit into free memory.
    ///
    /// @param free bytes of free memory
    /// @param pairBytes bytes of the activations kept for one pair
    /// @param imageBytes bytes of a forward pass without gradients over one image
    /// @param pairsPerStep number of pairs of a step, 1 or more
    /// @param gpu whether the networks run on a GPU, where larger batches are faster
    static BatchSizes of(long free, long pairBytes, long imageBytes, int pairsPerStep, boolean gpu) {
        int microBatch = (int) Math.min(fitting(free * ACTIVATIONS, pairBytes), Math.min(pairsPerStep, MOST_PAIRS));
        long images = gpu ? Math.min(fitting(free * EVALUATION, imageBytes), MOST_IMAGES_ON_GPU) : 0;
        int all = 2 * pairsPerStep;
        return new BatchSizes(microBatch, (int) Math.min(all, Math.max(images, 2L * microBatch)));
    }

    /// The largest power of two that fits, at least 1.
    private static long fitting(double bytes, long each) {
        return Long.highestOneBit(Math.max(1, (long) (bytes / Math.max(1, each))));
    }

    /// Adds the sizes to a manifest.
    void putInto(Map<String, Object> manifest) {
        manifest.put(MICRO_BATCH, (long) microBatch);
        manifest.put(INVERSION_BATCH, (long) inversionBatch);
    }
}
