package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.LongPredicate;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.NativeOptimizer;
import org.smpo.ffi.ParameterInfo;
import org.smpo.ffi.StateInfo;
import org.smpo.io.AtomicFiles;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;

/// A folder with everything that a run needs to resume bit for bit: trained weights (fp32 masters), the optimizer's
/// state, the counters of the run, and pairs that the policy generated. The order of the data and
/// random values are functions of the step and need no state.
///
/// The folder is written under another name, fsynced and renamed, so it is whole or absent. `manifest.json` has the
/// digest of every file, and no file is used before it is verified.
final class Checkpoint {
    /// The file of trained weights, under the names of a diffusers checkpoint.
    static final String POLICY = "policy.safetensors";

    private static final String OPTIMIZER = "optimizer.safetensors";
    private static final String STATE = "state.json";
    private static final String MANIFEST = "manifest.json";
    private static final Pattern NAME = Pattern.compile("step-(\\d{6,18})");

    private final Path folder;
    private final long step;

    private Checkpoint(Path folder, long step) {
        this.folder = folder;
        this.step = step;
    }

    /// The name of a step's folder.
    static String name(long step) {
        return String.format(java.util.Locale.ROOT, "step-%06d", step);
    }

    /// The folder itself.
    Path folder() {
        return folder;
    }

    /// Number of optimizer steps taken before the checkpoint was written.
    long step() {
        return step;
    }

    /// The file of trained weights.
    Path policy() {
        return folder.resolve(POLICY);
    }

    /// The file of the optimizer's state.
    Path optimizer() {
        return folder.resolve(OPTIMIZER);
    }

    /// Writes further files into the folder of a checkpoint.
    @FunctionalInterface
    interface Part {
        void write(Path folder) throws IOException;
    }

    /// Writes the state after `step` steps.
    ///
    /// @param state JSON values of the run by name
    /// @param more writes the files of other parts of the run
    /// @throws IOException when it cannot be written, on a full disk for example; there is then no new checkpoint,
    ///     and older ones are intact
    static Checkpoint write(
            Path checkpoints,
            long step,
            NativeModel policy,
            OptimizerStates optimizer,
            Map<String, Object> state,
            Part more)
            throws IOException {
        Files.createDirectories(checkpoints);
        Path target = checkpoints.resolve(name(step));
        AtomicFiles.writeDirectory(target, folder -> {
            writeParameters(folder.resolve(POLICY), policy, ParameterInfo::trainable);
            writeOptimizer(folder.resolve(OPTIMIZER), optimizer);
            Map<String, Object> all = new LinkedHashMap<>(state);
            all.put("step", step);
            all.put("optimizer_steps", optimizer.steps());
            Json.write(folder.resolve(STATE), all);
            more.write(folder);
            Map<String, Object> manifest = new LinkedHashMap<>();
            for (String file : files(folder)) {
                manifest.put(
                        file,
                        Map.of(
                                "bytes",
                                Files.size(folder.resolve(file)),
                                "sha256",
                                Digest.sha256(folder.resolve(file))));
            }
            Json.write(folder.resolve(MANIFEST), manifest);
        });
        return new Checkpoint(target, step);
    }

    /// Names of the files in a folder, in alphabetical order.
    private static List<String> files(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    /// Writes parameters of a network in fp32 under their names.
    static void writeParameters(Path file, NativeModel network, Predicate<ParameterInfo> wanted) throws IOException {
        Map<String, ParameterInfo> chosen = new LinkedHashMap<>();
        List<SafetensorsWriter.Declaration> declarations = new ArrayList<>();
        for (ParameterInfo parameter : network.parameters()) {
            if (wanted.test(parameter)) {
                chosen.put(parameter.name(), parameter);
                declarations.add(new SafetensorsWriter.Declaration(parameter.name(), DType.F32, parameter.shape()));
            }
        }
        SafetensorsWriter.write(
                file,
                declarations,
                Map.of("format", "pt"),
                (entry, out) -> out.write(entry.name(), network.read(chosen.get(entry.name()))));
    }

    private static void writeOptimizer(Path file, OptimizerStates optimizer) throws IOException {
        List<SafetensorsWriter.Declaration> declarations = optimizer.tensors().stream()
                .map(state -> new SafetensorsWriter.Declaration(state.name(), DType.F32, state.shape()))
                .toList();
        SafetensorsWriter.write(
                file, declarations, Map.of(), (entry, out) -> out.write(entry.name(), optimizer.read(entry.name())));
    }

    /// The checkpoints of a run, oldest first, without verifying them.
    static List<Checkpoint> all(Path checkpoints) throws IOException {
        if (!Files.isDirectory(checkpoints)) {
            return List.of();
        }
        List<Checkpoint> found = new ArrayList<>();
        try (Stream<Path> folders = Files.list(checkpoints)) {
            folders.forEach(folder -> {
                Matcher matcher = NAME.matcher(folder.getFileName().toString());
                if (matcher.matches() && Files.isDirectory(folder)) {
                    found.add(new Checkpoint(folder, Long.parseLong(matcher.group(1))));
                }
            });
        }
        found.sort(Comparator.comparingLong(Checkpoint::step));
        return found;
    }

    /// The newest intact checkpoint. Messages about damaged ones are added to `damaged`.
    static Optional<Checkpoint> newest(Path checkpoints, List<String> damaged) throws IOException {
        for (Checkpoint checkpoint : all(checkpoints).reversed()) {
            try {
                checkpoint.verify();
                return Optional.of(checkpoint);
            } catch (IOException e) {
                damaged.add(e.getMessage());
            }
        }
        return Optional.empty();
    }

    /// Compares every file with the manifest.
    ///
    /// @throws IOException naming the file that is missing or differs
    void verify() throws IOException {
        JsonObject manifest;
        try {
            manifest = Json.readObject(folder.resolve(MANIFEST));
        } catch (NoSuchFileException e) {
            throw new IOException(folder.resolve(MANIFEST) + ": damaged checkpoint: expected a file, found none", e);
        } catch (IOException e) {
            throw new IOException("damaged checkpoint: " + e.getMessage(), e);
        }
        Set<String> files = new LinkedHashSet<>(List.of(POLICY, OPTIMIZER, STATE));
        files.addAll(manifest.keys());
        for (String file : files) {
            Path path = folder.resolve(file);
            JsonObject entry = manifest.object(file);
            if (!Files.isRegularFile(path)) {
                throw new IOException(
                        path + ": damaged checkpoint: expected a file, as " + MANIFEST + " says, found none");
            }
            if (Files.size(path) != entry.integer("bytes")) {
                throw new IOException(
                        path + ": damaged: expected " + entry.integer("bytes") + " bytes, found " + Files.size(path));
            }
            String sha256 = Digest.sha256(path);
            if (!sha256.equals(entry.string("sha256"))) {
                throw new IOException(
                        path + ": damaged: expected SHA-256 " + entry.string("sha256") + ", found " + sha256);
            }
        }
    }

    /// Restores weights and optimizer.
    ///
    /// @return the JSON values of the run
    /// @throws IOException when a tensor is missing or does not fit, because the checkpoint belongs to
    ///     another model
    JsonObject restore(NativeModel policy, NativeOptimizer optimizer) throws IOException {
        try (Safetensors file = Safetensors.open(policy())) {
            Map<String, TensorEntry> stored = entries(file);
            for (ParameterInfo parameter : policy.parameters()) {
                if (parameter.trainable()) {
                    TensorEntry entry = take(stored, file, parameter.name(), parameter.shape());
                    policy.write(
                            parameter.name(),
                            DType.F32,
                            parameter.shape(),
                            ByteView.of(file, entry).buffer());
                }
            }
            requireNone(stored, file);
        }
        try (Safetensors file = Safetensors.open(folder.resolve(OPTIMIZER))) {
            Map<String, TensorEntry> stored = entries(file);
            for (StateInfo state : optimizer.states()) {
                TensorEntry entry = take(stored, file, state.name(), state.shape());
                optimizer.write(state, ByteView.of(file, entry).buffer());
            }
            requireNone(stored, file);
        }
        JsonObject state = Json.readObject(folder.resolve(STATE));
        optimizer.setSteps(state.integer("optimizer_steps"));
        return state;
    }

    private static Map<String, TensorEntry> entries(Safetensors file) {
        Map<String, TensorEntry> all = new HashMap<>();
        file.entries().forEach(entry -> all.put(entry.name(), entry));
        return all;
    }

    private static TensorEntry take(Map<String, TensorEntry> stored, Safetensors file, String name, List<Long> shape)
            throws IOException {
        TensorEntry entry = stored.remove(name);
        if (entry == null || !entry.shape().equals(shape) || entry.dtype() != DType.F32) {
            throw new IOException(file.path() + ": " + name + ": expected F32 " + shape + ", found "
                    + (entry == null ? "none" : entry.dtype() + " " + entry.shape())
                    + "; the recipe trains other weights than the checkpoint has");
        }
        return entry;
    }

    private static void requireNone(Map<String, TensorEntry> left, Safetensors file) throws IOException {
        if (!left.isEmpty()) {
            throw new IOException(file.path() + ": expected no tensor " + new TreeMap<>(left).firstKey() + " and "
                    + (left.size() - 1) + " others; the recipe trains other weights than the checkpoint has");
        }
    }

    /// Deletes all checkpoints except the newest, the newest `keep` of those that were due, and the milestones.
    ///
    /// A checkpoint that was written because the run was stopped is deleted as soon as there is a newer
    /// one. A run that was stopped and resumed thus leaves the same checkpoints as an uninterrupted run.
    static void prune(Path checkpoints, int keep, LongPredicate due, LongPredicate milestone) throws IOException {
        List<Checkpoint> all = all(checkpoints);
        int kept = 0;
        for (Checkpoint checkpoint : all.reversed()) {
            boolean counts = due.test(checkpoint.step());
            boolean stays = checkpoint == all.getLast() || (counts && kept < keep) || milestone.test(checkpoint.step());
            kept += counts ? 1 : 0;
            if (!stays) {
                checkpoint.delete();
            }
        }
    }

    /// Deletes the checkpoint.
    void delete() throws IOException {
        // Delete the manifest first, so that a half-deleted folder fails verification.
        Files.deleteIfExists(folder.resolve(MANIFEST));
        AtomicFiles.deleteTree(folder);
    }
}
