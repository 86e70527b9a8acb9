package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.IntFunction;
import org.smpo.cache.Cache;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.MemoryEstimate;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.data.BadPair;
import org.smpo.data.JoinedPairs;
import org.smpo.data.Labeler;
import org.smpo.data.LabelledPairs;
import org.smpo.data.PairScores;
import org.smpo.data.PairSource;
import org.smpo.ffi.CpuInfo;
import org.smpo.ffi.CudaDevice;
import org.smpo.ffi.Device;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.EngineStatistics;
import org.smpo.ffi.LibraryInfo;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeOptimizer;
import org.smpo.ffi.OptimizerOptions;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.StepOutcome;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.network.UNet;
import org.smpo.objective.Capo;
import org.smpo.objective.Objective;
import org.smpo.objective.PairInput;
import org.smpo.objective.Smpo;
import org.smpo.recipe.ExportRecipe;
import org.smpo.recipe.InversionRecipe;
import org.smpo.recipe.OptimizerRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.ScoreRange;
import org.smpo.recipe.TrainRecipe;
import org.smpo.recipe.WeightsRecipe;
import org.smpo.report.RunLog;
import org.smpo.report.TensorBoard;
import org.smpo.reward.ScoreTable;

/// A training run: a recipe, a folder, and the loop of steps between checkpoints.
///
/// Everything random is a function of the recipe's seed and the step, and everything else that a step depends on is
/// in a checkpoint: a run that was stopped and resumed ends with the bits of one that was not. Belongs to the
/// thread that opened it, but for [#stop()].
public final class Trainer implements AutoCloseable {
    private static final int HELD_OUT_WINDOW = 16;
    private static final int FEWEST_TO_JUDGE = 100;
    private static final String MICRO_BATCH = "micro_batch";
    private static final String SLOTS = "inversion_slots";

    /// What a manifest says of the program and the machine.
    private static final Set<String> PROGRAM = Set.of("smpo", "commit", "libtorch", "device");

    private final Recipe recipe;
    private final RunFolder folder;
    private final Listener listener;
    private final List<AutoCloseable> owned = new ArrayList<>();

    private final Engine engine;
    private final UNet policy;
    private final UNet reference;
    private final UNet average;
    private final NativeOptimizer optimizer;
    private final PairSource source;
    private final TrainingData data;
    private final PreferenceStep step;
    private final Samples samples;
    private final Health health;
    private final StepLog entries;
    private final int microBatch;
    private final int slots;
    private final Map<String, Object> manifest;

    private final List<Checkpoint> damaged = new ArrayList<>();
    private Set<String> lastWarnings = Set.of();

    private RunLog log;
    private TensorBoard board;
    private Checkpoint newest;
    private long done;
    private long badPairs;
    private long pairsSeen;
    private volatile boolean stopRequested;

    private enum Start {
        NEW,
        RESUMED,
        /// Nothing is written.
        TRIED
    }

    /// Told what happens, on the trainer's thread.
    public interface Listener {
        /// Something to be shown to people, in words.
        void say(String message);

        /// Something to worry about, in words.
        void warn(String message);

        /// After a step.
        ///
        /// @param done steps made in the whole run
        /// @param loss of this one
        /// @param implicitAccuracy of this one; absent where the objective prefers no picture over another
        void stepped(long done, long of, double loss, OptionalDouble implicitAccuracy);
    }

    /// How a run ended.
    ///
    /// @param steps made in the whole run
    /// @param finished whether those are all of the recipe's
    /// @param stoppedBy why it is not finished: a request, or a health warning's message; empty when it is
    /// @param checkpoint the newest
    /// @param written the tuned model, in each form; empty when the run is not finished
    public record Result(long steps, boolean finished, String stoppedBy, Path checkpoint, List<Path> written) {}

    /// What three steps showed, without leaving anything behind.
    ///
    /// @param stepSeconds of the last two of them
    /// @param runSeconds of all steps of the run, at that pace
    /// @param hostBytesPeak CPU tensors at their most
    /// @param deviceBytesPeak likewise on a GPU; 0 on the CPU
    /// @param microBatch pairs differentiated at once
    /// @param slots images inverted at once; 0 where nothing is inverted
    /// @param trainingPairs pairs that are trained on
    /// @param heldOutPairs pairs that are held out
    /// @param trainedParameters numbers that are trained
    public record Estimate(
            double stepSeconds,
            double runSeconds,
            long hostBytesPeak,
            long deviceBytesPeak,
            int microBatch,
            int slots,
            int trainingPairs,
            int heldOutPairs,
            long trainedParameters) {}

    /// Opens a run: reads the model and the data, and goes back to the newest checkpoint when it is to be resumed.
    ///
    /// @param resume whether the folder's run is to be continued; otherwise there must be none
    /// @param cacheFolder of encoded pictures and prompts; see [Cache#defaultFolder()]
    /// @throws IllegalArgumentException when the recipe does not go with the model or the data
    /// @throws IOException when a file cannot be read, the folder has a run already, or another process has it
    public static Trainer open(Recipe recipe, boolean resume, Path cacheFolder, Listener listener) throws IOException {
        RunFolder folder = RunFolder.open(recipe.output(), listener::warn);
        try {
            return new Trainer(recipe, folder, resume ? Start.RESUMED : Start.NEW, cacheFolder, listener);
        } catch (IOException | RuntimeException e) {
            folder.close();
            throw e;
        }
    }

    /// Opens a run only to [#estimate()] it: the folder is not even made. Pictures and prompts that are encoded on
    /// the way stay in the cache.
    ///
    /// @throws IllegalArgumentException when the recipe does not go with the model or the data
    /// @throws IOException when a file cannot be read, or the folder has a run already
    public static Trainer openToTry(Recipe recipe, Path cacheFolder, Listener listener) throws IOException {
        return new Trainer(recipe, RunFolder.unlocked(recipe.output()), Start.TRIED, cacheFolder, listener);
    }

    private Trainer(Recipe recipe, RunFolder folder, Start start, Path cacheFolder, Listener listener)
            throws IOException {
        this.recipe = recipe;
        this.folder = folder;
        this.listener = listener;
        this.health = new Health(recipe.health());
        this.entries = new StepLog(recipe);
        requireSupported(recipe);
        requireFolder(start == Start.RESUMED);
        TrainRecipe train = recipe.train();
        Objective objective = recipe.objective().loss();
        Precision precision = train.precision();
        try (ModelFiles files = ModelFiles.open(recipe.model())) {
            Family family = files.family()
                    .filter(known -> known != Family.SDXL_REFINER)
                    .orElseThrow(() -> new IllegalArgumentException(
                            "model: expected a whole Stable Diffusion 1.x, 2.x or SDXL base model, found "
                                    + files.pipelineClass()));
            if (recipe.timesteps().end() > files.schedule().trainTimesteps()) {
                throw new IllegalArgumentException("timesteps: expected an end of at most "
                        + files.schedule().trainTimesteps() + ", which the model's schedule has, found "
                        + recipe.timesteps().end());
            }
            engine = keep(Engine.open(EngineConfig.onCpu()
                    .withDevice(Device.parse(train.device()))
                    .withThreads(train.threads().orElse(0))
                    .withSeed(recipe.seed())));
            boolean full = train.weights() instanceof WeightsRecipe.Full;
            policy = keep(UNet.load(
                    engine,
                    files.component("unet"),
                    new ModelOptions(precision.dtype(), full, train.gradientCheckpointing())));
            if (train.weights() instanceof WeightsRecipe.Lora lora) {
                Adapters.add(policy.network(), lora, recipe.seed());
            }
            reference = openReference(files, full, precision);
            optimizer = keep(NativeOptimizer.open(policy.network(), optimizerOptions()));
            average = openAverage(files, precision);
            source = openSource();
            LabelledPairs labels = labels(objective);
            data = keep(new TrainingData(
                    engine,
                    files,
                    source,
                    labels,
                    recipe.labels().probability().orElse(Double.NaN),
                    recipe.data(),
                    train.pairsPerStep(),
                    recipe.timesteps().sampler(recipe.seed()),
                    recipe.seed(),
                    Cache.open(cacheFolder, listener::warn)));
            requireHeldOut();
            // Sums are rounded otherwise in other batches: a resumed run goes on with the one it had.
            BatchSizes sizes = autoSizes(files, precision);
            Optional<JsonObject> begun =
                    start == Start.RESUMED ? Optional.of(Json.readObject(folder.manifest())) : Optional.empty();
            microBatch = begun.isPresent()
                    ? Math.toIntExact(begun.get().integer(MICRO_BATCH))
                    : train.microBatch().orElse(sizes.microBatch());
            slots = recipe.inversion().isEmpty() ? 1 : slots(sizes, begun);
            step = new PreferenceStep(
                    engine,
                    files.schedule(),
                    objective,
                    recipe.objective().spec(),
                    recipe.inversionSchedule().orElse(null),
                    slots);
            samples = recipe.samples().every().isPresent()
                    ? keep(new Samples(
                            engine,
                            files,
                            policy,
                            data,
                            recipe.samples(),
                            recipe.data().resolution()))
                    : null;
            manifest = manifest(files, family);
        } catch (IOException | RuntimeException e) {
            closeOwned();
            throw e;
        }
        try {
            switch (start) {
                case NEW -> begin();
                case RESUMED -> resume();
                case TRIED -> {}
            }
        } catch (IOException | RuntimeException e) {
            closeOwned();
            throw e;
        }
    }

    private static void requireSupported(Recipe recipe) {
        if (recipe.objective().loss() instanceof Capo) {
            throw new IllegalArgumentException("objective.method: capo needs calibrated rewards of generated pictures, "
                    + "which a run does not make; choose smpo, dpo, inpo, dmpo, ipo, npo, kto, mapo or sft");
        }
    }

    private void requireFolder(boolean resume) throws IOException {
        if (resume && !folder.hasRun()) {
            throw new IOException(folder.root() + ": no run to resume: it has no recipe.yaml");
        }
        if (!resume && folder.isUsed()) {
            throw new IOException(
                    folder.root() + ": has a run already; continue it with --resume, or choose another output");
        }
        if (resume) {
            String before = Files.readString(folder.recipe());
            if (!before.equals(recipe.resolved())) {
                throw new IOException(folder.recipe() + ": the run was begun with another recipe: "
                        + firstDifference(before, recipe.resolved())
                        + "; resume with the same one, or begin another run");
            }
        }
    }

    private static String firstDifference(String before, String now) {
        List<String> old = before.lines().toList();
        List<String> current = now.lines().toList();
        for (int i = 0; i < Math.min(old.size(), current.size()); i++) {
            if (!old.get(i).equals(current.get(i))) {
                return "line " + (i + 1) + " is \"" + old.get(i).strip() + "\" there and \""
                        + current.get(i).strip() + "\" now";
            }
        }
        return "it has " + old.size() + " lines there and " + current.size() + " now";
    }

    private UNet openReference(ModelFiles files, boolean full, Precision precision) throws IOException {
        boolean needed = recipe.objective().loss().needsReference() || inverts(InversionRecipe.Network.REFERENCE);
        if (!needed) {
            return null;
        }
        ModelOptions frozen = ModelOptions.frozen(precision.dtype());
        Optional<Path> other = recipe.train().reference();
        if (other.isPresent()) {
            try (ModelFiles its = ModelFiles.open(other.get())) {
                return keep(UNet.load(engine, its.family().isPresent() ? its.component("unet") : its.only(), frozen));
            }
        }
        // Adapters that are turned off leave the reference, but an inversion runs with what it is given; full weights
        // need a second copy.
        return full || inverts(InversionRecipe.Network.REFERENCE)
                ? keep(UNet.load(engine, files.component("unet"), frozen))
                : null;
    }

    /// What the running mean of the weights is copied to: like the policy, adapters included.
    private UNet openAverage(ModelFiles files, Precision precision) throws IOException {
        if (!inverts(InversionRecipe.Network.EMA)) {
            return null;
        }
        UNet mean = keep(UNet.load(engine, files.component("unet"), ModelOptions.frozen(precision.dtype())));
        if (recipe.train().weights() instanceof WeightsRecipe.Lora lora) {
            Adapters.add(mean.network(), lora, recipe.seed());
        }
        return mean;
    }

    private void requireHeldOut() {
        if (recipe.evaluate().every().isPresent() && data.heldOut().length == 0) {
            throw new IllegalArgumentException("data.held_out: expected at least one of the " + data.trainingPairs()
                    + " pairs, which evaluate.every needs, got none; raise it, or set evaluate.every to none");
        }
    }

    private boolean inverts(InversionRecipe.Network network) {
        return recipe.inversion().isPresent() && recipe.inversion().get().network() == network;
    }

    private OptimizerOptions optimizerOptions() {
        OptimizerOptions.Rule rule = switch (recipe.optimizer()) {
            case OptimizerRecipe.AdamW adamw ->
                new OptimizerOptions.AdamW(adamw.beta1(), adamw.beta2(), adamw.eps(), adamw.weightDecay());
            case OptimizerRecipe.Adafactor adafactor ->
                new OptimizerOptions.Adafactor(
                        adafactor.beta1().orElse(0),
                        adafactor.eps1(),
                        adafactor.eps2(),
                        adafactor.clipThreshold(),
                        adafactor.decayRate(),
                        adafactor.weightDecay(),
                        adafactor.scaleParameter(),
                        adafactor.relativeStep(),
                        adafactor.warmupInit());
        };
        return new OptimizerOptions(rule, recipe.train().ema().orElse(0));
    }

    private PairSource openSource() throws IOException {
        List<Path> paths = recipe.data().paths();
        List<PairSource> parts = new ArrayList<>();
        for (Path path : paths) {
            parts.add(keep(PairSource.open(path)));
        }
        return parts.size() == 1 ? parts.getFirst() : new JoinedPairs(parts);
    }

    private void requireRange(Optional<String> reward) {
        if (reward.isPresent()) {
            recipe.labels().requireFits(reward.get());
        } else if (recipe.labels().range() instanceof ScoreRange.Published) {
            listener.say("labels.scores: the file does not name its reward; labels.range: published is the range of "
                    + ScoreRange.PUBLISHED_REWARD + " alone, so set it to data if another reward made the scores");
        }
    }

    private LabelledPairs labels(Objective objective) throws IOException {
        boolean smooth = objective.inputs().contains(PairInput.LABEL)
                && recipe.labels().probability().isEmpty();
        boolean byReward = recipe.labels().winner() == org.smpo.recipe.LabelRecipe.Winner.REWARD;
        IntFunction<Optional<PairScores>> scores = source.labels()::scores;
        if (recipe.labels().scores().isPresent()) {
            ScoreTable file = ScoreTable.read(recipe.labels().scores().get(), source);
            if (smooth) {
                requireRange(file.reward());
            }
            scores = file::scores;
        }
        Labeler labeler = smooth || byReward
                ? Labeler.smoothed(recipe.labels().smoothed(LabelledPairs.allScores(source.labels(), scores)))
                : Labeler.ofPeople();
        LabelledPairs labels = new LabelledPairs(source.labels(), scores, labeler);
        if (labels.eligible().length == 0) {
            throw new IllegalArgumentException("data.paths: none of the " + source.size() + " pairs can be trained on: "
                    + labels.ties() + " ties, " + labels.unlabelled() + " without "
                    + (smooth || byReward ? "scores (run smpo score, and name its file in labels.scores)" : "a label"));
        }
        listener.say(source.describe() + ": " + labels.eligible().length + " pairs to train on or hold out, "
                + labels.ties() + " ties, " + labels.unlabelled() + " without a winner, " + labels.flipped()
                + " with another winner than people chose");
        return labels;
    }

    /// As many pairs at once as should fit into two fifths of the memory that is free.
    private BatchSizes autoSizes(ModelFiles files, Precision precision) {
        Device device = engine.config().device();
        boolean gpu = device.type() != Device.Type.CPU;
        int pairs = recipe.train().pairsPerStep();
        try {
            int side = recipe.data().resolution();
            int bytes = precision.dtype().bytes();
            // Of one pair; counted in bf16 whatever the precision.
            MemoryEstimate estimate = MemoryEstimate.of(files, side, side, 2, bytes);
            long free = gpu
                    ? CudaDevice.read(device.index()).freeMemory()
                    : CpuInfo.read().availableMemory();
            return BatchSizes.of(
                    free, estimate.trainActivations() * bytes / 2, estimate.generateWork() / 2, pairs, gpu);
        } catch (IOException e) {
            return BatchSizes.of(0, 0, 0, pairs, gpu);
        }
    }

    private int slots(BatchSizes sizes, Optional<JsonObject> begun) throws IOException {
        OptionalInt wanted = recipe.inversion().orElseThrow().slots();
        if (wanted.isPresent()) {
            return wanted.getAsInt();
        }
        if (begun.isPresent() && begun.get().has(SLOTS)) {
            return Math.toIntExact(begun.get().integer(SLOTS));
        }
        boolean choose = begun.isEmpty() && engine.config().device().type() != Device.Type.CPU;
        return choose ? Math.max(sizes.slots(), 2 * microBatch) : 2 * microBatch;
    }

    private Map<String, Object> manifest(ModelFiles files, Family family) throws IOException {
        LibraryInfo library = LibraryInfo.read();
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("smpo", library.version());
        all.put("commit", library.commit());
        all.put("libtorch", library.libtorch());
        all.put("device", engine.config().device().toString());
        all.put("recipe_sha256", recipe.digest());
        Map<String, Object> model = new LinkedHashMap<>();
        model.put("path", recipe.model().toString());
        model.put("family", family.id());
        for (String name : files.components().keySet()) {
            model.put(name + "_sha256", files.sha256(name));
        }
        all.put("model", model);
        all.put("data", Map.of("source", source.describe(), "fingerprint", source.fingerprint()));
        if (recipe.labels().scores().isPresent()) {
            all.put("scores_sha256", Digest.sha256(recipe.labels().scores().get()));
        }
        all.put("training_pairs", (long) data.trainingPairs());
        all.put("held_out_pairs", (long) data.heldOut().length);
        all.put(MICRO_BATCH, (long) microBatch);
        all.put(SLOTS, (long) slots);
        return all;
    }

    private void begin() throws IOException {
        folder.recover();
        AtomicFiles.write(folder.manifest(), Json.canonical(manifest));
        beginLogs();
        // Last: a folder with a recipe is a run.
        AtomicFiles.write(folder.recipe(), recipe.resolved());
    }

    private void beginLogs() throws IOException {
        log = keep(RunLog.create(fresh(folder.log())));
        board = keep(TensorBoard.create(fresh(TensorBoard.fileIn(folder.root())), InstantSource.system()));
        board.text(0, "recipe", "```yaml\n" + recipe.resolved() + "```");
    }

    private void resume() throws IOException {
        folder.recover();
        requireSameInputs(Json.readObject(folder.manifest()).asMap());
        List<String> reasons = new ArrayList<>();
        Optional<Checkpoint> checkpoint = Checkpoint.newest(folder.checkpoints(), reasons);
        reasons.forEach(listener::warn);
        for (Checkpoint any : Checkpoint.all(folder.checkpoints())) {
            if (checkpoint.isEmpty() || any.step() > checkpoint.get().step()) {
                damaged.add(any);
            }
        }
        if (checkpoint.isEmpty()) {
            listener.say((reasons.isEmpty() ? "no checkpoint yet" : "no checkpoint is whole")
                    + ": beginning again at step 0");
            beginLogs();
            return;
        }
        JsonObject state = checkpoint.get().restore(policy.network(), optimizer);
        newest = checkpoint.get();
        done = newest.step();
        badPairs = state.integer("bad_pairs");
        pairsSeen = state.integer("pairs_seen");
        health.restore(state.object("health"));
        log = keep(RunLog.resume(folder.log(), state.integer("log_bytes")));
        board = keep(TensorBoard.resume(
                TensorBoard.fileIn(folder.root()), state.integer("board_bytes"), InstantSource.system()));
        listener.say("resuming after step " + done);
    }

    /// @param before the manifest of the run as it was begun
    private void requireSameInputs(Map<String, Object> before) throws IOException {
        Map<String, Object> now =
                Json.parseObject("manifest", Json.canonical(manifest)).asMap();
        for (String key : now.keySet()) {
            boolean unknownThen = key.equals(SLOTS) && !before.containsKey(SLOTS);
            if (unknownThen || Objects.equals(before.get(key), now.get(key))) {
                continue;
            }
            String difference = folder.manifest() + ": " + key + ": the run was begun with " + before.get(key)
                    + ", found " + now.get(key);
            if (PROGRAM.contains(key)) {
                listener.warn(difference + "; the last bits of the result may differ");
            } else {
                throw new IOException(difference + "; put the old one back, or begin another run");
            }
        }
    }

    /// Whatever stood there belongs to no run.
    private static Path fresh(Path file) throws IOException {
        Files.deleteIfExists(file);
        return file;
    }

    /// Steps made so far, those before a resumption included.
    public long done() {
        return done;
    }

    /// From any thread: the run ends after the step in progress, with a checkpoint.
    public void stop() {
        stopRequested = true;
    }

    /// Pairs differentiated at once.
    public int microBatch() {
        return microBatch;
    }

    /// Takes the steps that are left, and writes the tuned model.
    ///
    /// @throws NonFiniteStepException when a loss or gradient is not finite: no weight has then changed since the
    ///     last good step
    /// @throws IOException when data cannot be read or a file cannot be written, a full disk for one; the last
    ///     checkpoint is then intact
    public Result run() throws IOException, InterruptedException {
        long steps = recipe.train().steps();
        String stoppedBy = "";
        while (done < steps && stoppedBy.isEmpty()) {
            Optional<Health.Warning> sick = takeStep();
            if (sick.isPresent() && sick.get().fatal()) {
                // Not worth keeping as the newest state: the last checkpoint stays that.
                stoppedBy = sick.get().message();
                break;
            }
            boolean stopping = stopRequested || sick.isPresent();
            if (stopping && done < steps) {
                stoppedBy = sick.map(Health.Warning::message).orElse("a request to stop");
            }
            boolean due = recipe.checkpoint().isDue(done, steps);
            if (recipe.evaluate().every().isPresent()
                    && (done % recipe.evaluate().every().getAsLong() == 0 || done == steps)) {
                evaluate();
            }
            if (samples != null && (done % recipe.samples().every().getAsLong() == 0 || done == steps)) {
                samples.draw(folder.samples(done), done, board);
            }
            if (due || stopping) {
                checkpoint();
            }
        }
        log.sync();
        board.sync();
        Path folderOfNewest = newest == null ? null : newest.folder();
        if (!stoppedBy.isEmpty()) {
            return new Result(done, false, stoppedBy, folderOfNewest, List.of());
        }
        return new Result(done, true, "", folderOfNewest, export(newest));
    }

    /// Takes three steps and measures them; nothing is logged or saved, and the run must be closed afterwards.
    public Estimate estimate() throws IOException, InterruptedException {
        double seconds = 0;
        for (int i = 0; i < 3; i++) {
            long start = System.nanoTime();
            try (TrainingData.Window window = data.window(done + i)) {
                if (window.isEmpty()) {
                    throw new IOException("data: no pair of a step can be read; the first: "
                            + window.bad().getFirst().message() + "; smpo data validate lists them");
                }
                copyEma();
                run(step, window, done + i, true);
                optimizer.step(learningRate(done + i), maxGradNorm());
            }
            seconds += i == 0 ? 0 : (System.nanoTime() - start) / 1e9;
        }
        EngineStatistics statistics = engine.statistics();
        double stepSeconds = seconds / 2;
        return new Estimate(
                stepSeconds,
                stepSeconds * recipe.train().steps(),
                statistics.hostBytesPeak(),
                statistics.deviceBytesPeak(),
                microBatch,
                recipe.inversion().isEmpty() ? 0 : slots,
                data.trainingPairs(),
                data.heldOut().length,
                Export.trainedElements(policy.network()));
    }

    /// The mean of the weights as it stands is what inverts next, where it is to.
    private void copyEma() {
        if (inverts(InversionRecipe.Network.EMA)) {
            optimizer.copyEma(average.network());
        }
    }

    private StepResults run(PreferenceStep how, TrainingData.Window window, long at, boolean backward) {
        return how.run(
                window.latents(), networks(), at, microBatch, window.latents().pairs(), backward);
    }

    private Networks networks() {
        return new Networks(
                policy.network(),
                reference == null ? null : reference.network(),
                average != null
                        ? average.network()
                        : inverts(InversionRecipe.Network.REFERENCE) ? reference.network() : null);
    }

    private double learningRate(long at) {
        return recipe.learningRate().isPresent() ? recipe.learningRateAt(at) : 0;
    }

    private double maxGradNorm() {
        return recipe.train().maxGradNorm().orElse(Double.POSITIVE_INFINITY);
    }

    /// One optimizer step: decode and encode, invert, differentiate, update, log.
    ///
    /// @return why the run should end, if it should
    private Optional<Health.Warning> takeStep() throws IOException, InterruptedException {
        long start = System.nanoTime();
        try (TrainingData.Window window = data.window(done)) {
            countBad(window);
            if (window.isEmpty()) {
                skipStep(window);
                return Optional.empty();
            }
            long encoded = System.nanoTime();
            copyEma();
            StepResults results = run(step, window, done, true);
            requireFinite(window, results.pairs());
            long differentiated = System.nanoTime();
            StepOutcome outcome = optimizer.step(learningRate(done), maxGradNorm());
            if (!outcome.applied()) {
                throw new NonFiniteStepException("the gradient is not finite, first in "
                        + optimizer.findNonFinite().orElse("its norm") + "; pairs of the step: "
                        + String.join(", ", window.ids()));
            }
            long end = System.nanoTime();
            done++;
            double undecided = Health.undecided(
                    window.latents().label(), gamma(), recipe.health().undecidedMargin());
            List<Health.Warning> warnings = health.step(results.pairs(), results.loss(), needsReference(), undecided);
            Map<String, Object> entry = entries.step(done, window, results, outcome, undecided, warnings);
            StepLog.Phases phases = new StepLog.Phases(
                    seconds(start, encoded),
                    results.noiseSeconds(),
                    results.gradientSeconds(),
                    seconds(differentiated, end),
                    seconds(start, end));
            entry.put("time", StepLog.time(phases, results, engine.statistics()));
            log.append(entry);
            board.scalars(done, StepLog.scalars("train", entry));
            listener.stepped(
                    done,
                    recipe.train().steps(),
                    results.loss(),
                    entries.hasLogit() ? OptionalDouble.of(results.implicitAccuracy()) : OptionalDouble.empty());
            return judge(warnings);
        }
    }

    /// A step of which no pair can be read changes nothing.
    private void skipStep(TrainingData.Window window) throws IOException {
        done++;
        log.append(StepLog.skipped(done, window));
        listener.warn("step " + done + ": none of its pairs can be read; the weights stay as they are");
    }

    private boolean needsReference() {
        return recipe.objective().loss().needsReference();
    }

    private double gamma() {
        return recipe.objective().loss() instanceof Smpo smpo ? smpo.gamma() : Double.NaN;
    }

    /// Says what is new; the log has every step's. The gravest that should end the run, if any, is returned.
    private Optional<Health.Warning> judge(List<Health.Warning> warnings) {
        Optional<Health.Warning> sick = Optional.empty();
        Set<String> kinds = new HashSet<>();
        for (Health.Warning warning : warnings) {
            kinds.add(warning.kind());
            if (!lastWarnings.contains(warning.kind())) {
                listener.warn("step " + done + ": " + warning.message());
            }
            if (warning.fatal() || (recipe.health().stop() && sick.isEmpty())) {
                sick = Optional.of(warning);
            }
        }
        lastWarnings = kinds;
        return sick;
    }

    private void countBad(TrainingData.Window window) throws IOException {
        pairsSeen += window.ids().size() + window.bad().size();
        badPairs += window.bad().size();
        for (BadPair bad : window.bad()) {
            listener.warn("skipped: " + bad.message());
        }
        // Not judged by the first few, unless there are no more: one bad pair of three is no third of the data.
        if (pairsSeen >= Math.min(FEWEST_TO_JUDGE, data.trainingPairs())
                && badPairs > recipe.data().maxBadFraction() * pairsSeen) {
            throw new IOException("data: " + badPairs + " of " + pairsSeen + " pairs could not be read, more than "
                    + "data.max_bad_fraction (" + recipe.data().maxBadFraction()
                    + ") allows; smpo data validate lists them");
        }
    }

    private static void requireFinite(TrainingData.Window window, PairResults results) {
        List<String> offending = new ArrayList<>();
        for (int pair = 0; pair < results.loss().length; pair++) {
            if (!Double.isFinite(results.loss()[pair])) {
                offending.add(
                        window.ids().get(pair) + " (t = " + window.latents().timesteps()[pair] + ")");
            }
        }
        if (!offending.isEmpty()) {
            throw new NonFiniteStepException("the loss is not finite for " + String.join(", ", offending));
        }
    }

    /// Errors and losses of held-out pairs: the same pairs, noise and timesteps each time.
    private void evaluate() throws IOException, InterruptedException {
        int all = Math.min(data.heldOut().length, recipe.evaluate().pairs().orElse(Integer.MAX_VALUE));
        PreferenceStep withForwardNoise = step.inverts() ? step.withForwardNoise() : null;
        ErrorTotals own = new ErrorTotals();
        ErrorTotals forward = withForwardNoise == null ? null : new ErrorTotals();
        copyEma();
        for (int from = 0; from < all; from += HELD_OUT_WINDOW) {
            try (TrainingData.Window window = data.heldOutWindow(from, Math.min(HELD_OUT_WINDOW, all - from))) {
                window.bad().forEach(bad -> listener.warn("skipped, held out: " + bad.message()));
                if (window.isEmpty()) {
                    continue;
                }
                own.add(run(step, window, TrainingData.HELD_OUT_STEP, false).pairs());
                if (forward != null) {
                    forward.add(run(withForwardNoise, window, TrainingData.HELD_OUT_STEP, false)
                            .pairs());
                }
            }
        }
        if (own.pairs() == 0) {
            throw new IOException(
                    "data: none of the " + all + " held-out pairs can be read; smpo data validate says why");
        }
        Map<String, Object> entry = entries.evaluation(done, own, forward);
        log.append(entry);
        board.scalars(done, StepLog.scalars("held_out", entry));
        StringBuilder said = new StringBuilder(
                String.format(Locale.ROOT, "step %d, %d held-out pairs: loss %.4g", done, own.pairs(), own.loss()));
        if (entries.hasLogit()) {
            said.append(String.format(Locale.ROOT, ", implicit accuracy %.1f %%", 100 * own.implicitAccuracy()));
        }
        if (forward != null) {
            said.append(String.format(Locale.ROOT, " (%.1f %% with forward noise)", 100 * forward.errorAccuracy()));
        }
        listener.say(said.toString());
    }

    private void checkpoint() throws IOException {
        Map<String, Object> state = new LinkedHashMap<>();
        state.put("recipe_sha256", recipe.digest());
        state.put("bad_pairs", badPairs);
        state.put("pairs_seen", pairsSeen);
        state.put("health", health.state());
        state.put("log_bytes", log.sync());
        state.put("board_bytes", board.sync());
        newest = Checkpoint.write(folder.checkpoints(), done, policy.network(), optimizer, state);
        for (Checkpoint old : damaged) {
            if (old.step() != done) {
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

    private List<Path> export(Checkpoint last) throws IOException {
        Map<String, String> metadata = new LinkedHashMap<>();
        metadata.put("smpo_recipe_sha256", recipe.digest());
        metadata.put("smpo_method", recipe.objective().loss().name());
        metadata.put("smpo_steps", Long.toString(done));
        metadata.put("smpo_version", LibraryInfo.read().version());
        Export export = new Export(engine, recipe.model(), recipe.train().weights(), metadata);
        List<ExportRecipe.Format> formats = recipe.export().formats();
        List<Path> written = new ArrayList<>(export.write(last, false, formats, folder.root(), ""));
        if (recipe.train().ema().isPresent()) {
            written.addAll(export.write(last, true, formats, folder.root(), "-ema"));
        }
        return written;
    }

    private static double seconds(long from, long to) {
        return (to - from) / 1e9;
    }

    private <T extends AutoCloseable> T keep(T part) {
        owned.addFirst(part);
        return part;
    }

    @Override
    public void close() throws IOException {
        try (folder) {
            closeOwned();
        }
    }

    private void closeOwned() throws IOException {
        Exception failure = null;
        for (AutoCloseable part : owned) {
            try {
                part.close();
            } catch (Exception e) {
                failure = e;
            }
        }
        owned.clear();
        switch (failure) {
            case null -> {}
            case IOException e -> throw e;
            case RuntimeException e -> throw e;
            default -> throw new IllegalStateException(failure);
        }
    }
}
