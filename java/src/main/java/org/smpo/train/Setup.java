package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.smpo.cache.Cache;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.CpuInfo;
import org.smpo.ffi.Device;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.LibraryInfo;
import org.smpo.io.Closer;
import org.smpo.io.JsonObject;
import org.smpo.parallel.Peers;
import org.smpo.parallel.World;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.RolloutRecipe;
import org.smpo.recipe.TrainingImages;
import org.smpo.schedule.RolloutSampler;
import org.smpo.schedule.TruncatedRollout;

/// Everything that a recipe's steps need, opened and checked: engine, policy, pairs, the step itself and
/// its batch sizes. Belongs to the thread that opened it.
///
/// @param engine the session that runs all computations
/// @param policy the networks and their optimizer
/// @param pairs the source of pairs
/// @param step the training method
/// @param sizes batch sizes
/// @param samples the generator of sample images, if the recipe asks for them
/// @param manifest program, device, and digests of every input
/// @param parts owner of everything that has to be closed
record Setup(
        Engine engine,
        Policy policy,
        PairStream pairs,
        PreferenceStep step,
        BatchSizes sizes,
        Optional<Samples> samples,
        Map<String, Object> manifest,
        Closer parts)
        implements AutoCloseable {
    /// Variables that restrict the instruction sets of LibTorch, MKL and oneDNN.
    private static final List<String> LIMITS = List.of("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA");

    /// Opens everything for one process.
    static Setup open(Recipe recipe, Optional<JsonObject> begun, Path cacheFolder, Trainer.Listener listener)
            throws IOException {
        return open(recipe, begun, cacheFolder, Peers.alone(), listener);
    }

    /// Opens everything.
    ///
    /// @param begun manifest of the run that is resumed; empty for a new run
    /// @param cacheFolder folder of encoded images and prompts
    /// @param peers processes that share the run; the caller keeps ownership
    /// @throws IllegalArgumentException when the recipe does not suit the model or the data
    /// @throws IOException when a file cannot be read
    static Setup open(
            Recipe recipe, Optional<JsonObject> begun, Path cacheFolder, Peers peers, Trainer.Listener listener)
            throws IOException {
        World world = peers.world();
        Closer parts = new Closer();
        try (ModelFiles files = BaseModel.open(recipe)) {
            files.notices().forEach(notice -> listener.say(files.path() + ": " + notice));
            family(files);
            requireTimesteps(recipe, files);
            requireShares(recipe, world);
            Device device = Placement.device(recipe, world);
            Engine engine = parts.add(Engine.open(EngineConfig.onCpu()
                    .withDevice(device)
                    .withThreads(Placement.threads(recipe, world))
                    .withSeed(recipe.seed())
                    .withDeterministic(recipe.train().deterministic())));
            peers.join(engine);
            Policy policy = parts.add(new Policy(engine, files, recipe, peers));
            PairEncoder encoder = parts.add(
                    new PairEncoder(engine, files, recipe.data().side(), Cache.open(cacheFolder, listener::warn)));
            PairStream pairs = parts.add(
                    recipe.trajectory().isPresent()
                            ? Rollout.open(recipe, engine, files, policy, encoder, peers)
                            : stored(recipe, files, encoder, begun, world, listener));
            requireHeldOut(recipe, pairs);
            BatchSizes sizes = BatchSizes.choose(
                            recipe,
                            device.type() != Device.Type.CPU,
                            begun,
                            () -> BatchSizes.Memory.of(
                                    files,
                                    device,
                                    recipe.train().precision().orElseThrow(),
                                    recipe.data().side(),
                                    world.localSize()),
                            listener::warn)
                    .agreed(peers);
            PreferenceStep step = new PreferenceStep(
                            engine,
                            files.schedule(),
                            recipe.objective().pairLoss(),
                            recipe.inversionSchedule().orElse(null),
                            sizes.inversionBatch())
                    .withRollout(recipe.objective().rollout().map(RolloutRecipe::rollout))
                    .withDora(recipe.objective().dora())
                    .withPeers(peers);
            Optional<Samples> samples = recipe.samples().every().isEmpty()
                    ? Optional.empty()
                    : Optional.of(parts.add(new Samples(engine, files, policy, encoder, recipe)));
            Map<String, Object> manifest = manifest(recipe, files, policy.referenceDigests(), device, pairs, sizes);
            if (world.size() > 1) {
                manifest.put(Placement.RANKS, (long) world.size());
            }
            peers.requireSame(Placement.shared(recipe, manifest));
            return new Setup(engine, policy, pairs, step, sizes, samples, manifest, parts);
        } catch (IOException | RuntimeException e) {
            parts.closeAfter(e);
            throw e;
        }
    }

    /// @throws IllegalArgumentException when the model's schedule does not suit the rollouts
    private static Optional<RolloutSampler> rollouts(Recipe recipe, ModelFiles files) throws IOException {
        if (recipe.objective().rollout().isEmpty()) {
            return Optional.empty();
        }
        TruncatedRollout rollout = recipe.objective().rollout().get().rollout();
        try {
            rollout.requireFits(files.schedule());
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("objective: " + e.getMessage(), e);
        }
        return Optional.of(new RolloutSampler(
                recipe.seed(),
                rollout,
                files.schedule().trainTimesteps(),
                recipe.timesteps().end()));
    }

    /// Opens the images of a recipe that reads them from files.
    static PairStream stored(
            Recipe recipe,
            ModelFiles files,
            PairEncoder encoder,
            Optional<JsonObject> begun,
            World world,
            Trainer.Listener listener)
            throws IOException {
        boolean pairs = recipe.objective().loss().hasLogit() && recipe.data().images() == TrainingImages.PAIRS;
        return pairs
                ? StoredPairs.open(recipe, encoder, begun, world, listener::say)
                : StoredImages.open(recipe, encoder, rollouts(recipe, files), begun, world, listener::say);
    }

    private static void requireShares(Recipe recipe, World world) {
        if (recipe.train().pairsPerStep() < world.size()) {
            throw new IllegalArgumentException("train.pairs_per_step: expected at least " + world.size()
                    + ", one for each process, found " + recipe.train().pairsPerStep()
                    + "; raise it, or start fewer processes");
        }
    }

    private static Family family(ModelFiles files) {
        return files.family()
                .filter(known -> known != Family.SDXL_REFINER)
                .orElseThrow(() -> new IllegalArgumentException(
                        "model: expected a whole Stable Diffusion 1.x, 2.x or SDXL base model, found "
                                + files.pipelineClass()));
    }

    private static void requireTimesteps(Recipe recipe, ModelFiles files) throws IOException {
        int trained = files.schedule().trainTimesteps();
        if (recipe.timesteps().end() > trained) {
            throw new IllegalArgumentException("timesteps: expected an end of at most " + trained
                    + ", the number in the model's schedule, found "
                    + recipe.timesteps().end());
        }
    }

    private static void requireHeldOut(Recipe recipe, PairStream pairs) {
        if (recipe.evaluate().every().isPresent() && pairs.heldOutPairs() == 0) {
            throw new IllegalArgumentException("data.held_out: expected at least one of the " + pairs.trainingPairs()
                    + " pairs, which evaluate.every needs, got none; raise it, or set evaluate.every to none");
        }
    }

    private static Map<String, Object> manifest(
            Recipe recipe,
            ModelFiles files,
            Map<String, String> reference,
            Device device,
            PairStream pairs,
            BatchSizes sizes)
            throws IOException {
        LibraryInfo library = LibraryInfo.read();
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("smpo", library.version());
        all.put("commit", library.commit());
        all.put("libtorch", library.libtorch());
        all.put("device", device.toString());
        all.put("cpu", cpu());
        all.put("recipe_sha256", recipe.digest());
        Map<String, Object> model = new LinkedHashMap<>();
        model.put("path", recipe.model().toString());
        model.put("family", family(files).id());
        model.putAll(files.digests());
        all.put("model", model);
        if (!reference.isEmpty()) {
            all.put("reference", reference);
        }
        if (recipe.trainsNegative()) {
            all.put(RunFolder.ROLE, RunFolder.NEGATIVE);
        }
        all.putAll(pairs.identity());
        sizes.putInto(all);
        return all;
    }

    /// The instruction sets that decide the order of the CPU's sums: those it has, and what the
    /// environment allows.
    private static String cpu() {
        String features = CpuInfo.read().features().stream()
                .map(feature -> feature.name().toLowerCase(Locale.ROOT))
                .collect(Collectors.joining(" "));
        return LIMITS.stream()
                .filter(name -> System.getenv(name) != null)
                .map(name -> ", " + name + "=" + System.getenv(name))
                .collect(Collectors.joining("", features.isEmpty() ? "baseline" : features, ""));
    }

    @Override
    public void close() throws IOException {
        parts.close();
    }
}
