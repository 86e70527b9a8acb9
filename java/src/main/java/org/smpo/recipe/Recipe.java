package org.smpo.recipe;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.smpo.io.Digest;
import org.smpo.io.Precision;
import org.smpo.objective.NoiseSource;
import org.smpo.objective.PairImage;
import org.smpo.objective.PairInput;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.TimestepSampler;

/// Configuration of a training run.
///
/// A file may begin with `base: NAME`, the name of a built-in recipe, and then lists only what differs;
/// `--set` overrides both. A mapping that names another method, optimizer, kind of weights or
/// distribution of timesteps than the recipe below replaces that mapping as a whole. Unknown keys,
/// values of another type and values out of range are errors that name the place, the expected and the
/// found value. Paths are relative to the working directory.
///
/// [#resolved] is the recipe with every default in it; it reads back as an equal recipe.
///
/// @param model diffusers folder or checkpoint from which the policy starts
/// @param singleFile what a model in a single file does not record; written only where it is given, so
///     that recipes from before this section keep their text
/// @param output folder of the run
/// @param seed seed of all random numbers of the run
/// @param data pairs and their augmentation
/// @param labels winners and probabilities
/// @param trajectory how the policy generates its own pairs; present exactly when the objective trains
///     on them
/// @param objective the loss
/// @param inversion inversion of latents; present exactly when the objective inverts
/// @param timesteps distribution of training timesteps
/// @param train the optimization
/// @param optimizer update rule
/// @param learningRate learning rate schedule; absent exactly when Adafactor derives the rate from the
///     step
/// @param checkpoint schedule of checkpoints
/// @param evaluate evaluation on held-out pairs
/// @param samples images generated during the run
/// @param export files of the tuned model
/// @param health health warnings
public record Recipe(
        Path model,
        SingleFileRecipe singleFile,
        Path output,
        long seed,
        DataRecipe data,
        LabelRecipe labels,
        Optional<TrajectoryRecipe> trajectory,
        ObjectiveRecipe objective,
        Optional<InversionRecipe> inversion,
        TimestepRecipe timesteps,
        TrainRecipe train,
        OptimizerRecipe optimizer,
        Optional<LearningRateRecipe> learningRate,
        CheckpointRecipe checkpoint,
        EvaluateRecipe evaluate,
        SamplesRecipe samples,
        ExportRecipe export,
        HealthRecipe health) {
    /// Sections of several kinds, and the key that names the kind.
    static final Map<String, String> KINDS = Map.of(
            "objective", ObjectiveRecipe.KIND,
            "timesteps", TimestepRecipe.KIND,
            "train.weights", WeightsRecipe.KIND,
            "optimizer", OptimizerRecipe.KIND);

    /// Sections whose main value may stand for the section: `learning_rate: 1e-5` is `learning_rate:
    /// {value: 1e-5}`.
    static final Map<String, String> VALUES = Map.of("learning_rate", "value");

    /// Checks that the sections agree.
    ///
    /// @throws IllegalArgumentException naming a key, and what to do
    public Recipe {
        checkOutput(model, output);
        TrajectoryRecipe.check(trajectory, objective.loss(), inversion.isPresent(), data, evaluate);
        checkInversion(objective, inversion, train);
        checkLabels(objective, labels);
        data.checkImages(objective, labels);
        objective
                .rollout()
                .ifPresent(rollout -> RolloutRecipe.check(objective.loss(), rollout, labels, timesteps, train));
        checkReference(objective, inversion, train);
        checkLearningRate(optimizer, learningRate);
        train.checkOptimizer(optimizer);
        checkEvaluation(data, evaluate);
        checkSamples(samples, trainsNegative(objective, labels));
        checkExport(train, export);
    }

    private static void checkOutput(Path model, Path output) {
        Check.agreement(
                !output.toAbsolutePath()
                        .normalize()
                        .startsWith(model.toAbsolutePath().normalize()),
                "output",
                "the run's folder must not lie in the model (" + model + "), which is only read; choose another");
    }

    private static void checkInversion(
            ObjectiveRecipe objective, Optional<InversionRecipe> inversion, TrainRecipe train) {
        String name = objective.loss().name();
        boolean inverts = objective.loss().noise() == NoiseSource.INVERSION;
        Check.agreement(
                !inverts || inversion.isPresent(),
                "inversion",
                name + " noises latents by inversion and none is configured; add an inversion section, such as "
                        + "inversion: {semantics: exact, steps: 5}");
        Check.agreement(
                inverts || inversion.isEmpty(),
                "inversion",
                objective.rollout().isPresent()
                        ? name + " noises latents at the end of its teacher's rollouts; set inversion to none"
                        : name
                                + " noises latents by forward diffusion; set inversion to none (Diffusion-DPO on inverted"
                                + " latents is objective.method inpo with eta 0)");
        Check.agreement(
                inversion.isEmpty() || inversion.get().network() != InversionRecipe.Network.EMA || train.keepsEma(),
                "inversion.network",
                "ema needs EMA weights; set train.ema to its decay, such as 0.9999, or this to " + "policy");
    }

    private static void checkLabels(ObjectiveRecipe objective, LabelRecipe labels) {
        Set<PairInput> inputs = objective.loss().inputs();
        Check.agreement(
                labels.probability() instanceof LabelProbability.OfScores || inputs.contains(PairInput.LABEL),
                "labels.probability",
                objective.loss().name() + " takes no probability; set labels.probability to none");
        Check.agreement(
                !labels.reversed() || objective.loss().favours() == PairImage.WINNER,
                "labels.reversed",
                objective.loss().name() + " already prefers the loser; use method dpo with reversed, or "
                        + objective.loss().name() + " without");
    }

    private static void checkReference(
            ObjectiveRecipe objective, Optional<InversionRecipe> inversion, TrainRecipe train) {
        boolean moves = latentNetwork(objective, inversion)
                .filter(n -> n == InversionRecipe.Network.REFERENCE)
                .isPresent();
        Check.agreement(
                train.reference().isEmpty() || objective.loss().needsReference() || moves,
                "train.reference",
                objective.loss().name() + " has no reference; set train.reference to none");
    }

    private static void checkLearningRate(OptimizerRecipe optimizer, Optional<LearningRateRecipe> learningRate) {
        boolean relative = optimizer instanceof OptimizerRecipe.Adafactor adafactor && adafactor.relativeStep();
        Check.agreement(
                relative || learningRate.isPresent(),
                "learning_rate",
                "expected a learning rate, such as learning_rate: 1e-5, found none");
        Check.agreement(
                !relative || learningRate.isEmpty(),
                "learning_rate",
                "adafactor with relative_step chooses the rate by the step alone; set learning_rate to none, or "
                        + "optimizer.relative_step to false");
    }

    private static void checkEvaluation(DataRecipe data, EvaluateRecipe evaluate) {
        Check.agreement(
                evaluate.every().isEmpty() || data.heldOut().isAny(),
                "evaluate.every",
                "no pairs are held out to evaluate; set data.held_out to a number of pairs, such as 100, or this to "
                        + "none");
        Check.agreement(
                !(data.heldOut() instanceof HeldOut.Count(long held))
                        || evaluate.every().isEmpty()
                        || evaluate.pairs().orElse(0) <= held,
                "evaluate.pairs",
                "more than the pairs held out; raise data.held_out, or set this to auto for all of them");
    }

    private static void checkSamples(SamplesRecipe samples, boolean negative) {
        Check.agreement(
                samples.every().isEmpty()
                        || samples.guidanceScale() > 1
                        || draws(samples, negative) == SamplesRecipe.Draws.POLICY,
                "samples.guidance_scale",
                "the samples show the policy as the negative network of guidance, which 1 never evaluates; raise it, or"
                        + " set samples.draws to policy");
    }

    private static SamplesRecipe.Draws draws(SamplesRecipe samples, boolean negative) {
        return samples.draws().orElse(negative ? SamplesRecipe.Draws.NEGATIVE : SamplesRecipe.Draws.POLICY);
    }

    /// Whether training makes a network to lead away from: by its method, or on labels that prefer the
    /// loser.
    private static boolean trainsNegative(ObjectiveRecipe objective, LabelRecipe labels) {
        return objective.loss().trainsNegative() || labels.reversed();
    }

    private static Optional<InversionRecipe.Network> latentNetwork(
            ObjectiveRecipe objective, Optional<InversionRecipe> inversion) {
        return inversion
                .map(InversionRecipe::network)
                .or(() -> objective.rollout().map(rollout -> rollout.teacher().network()));
    }

    private static void checkExport(TrainRecipe train, ExportRecipe export) {
        Optional<ExportRecipe.Format> lora =
                export.formats().stream().filter(ExportRecipe.Format::isLora).findFirst();
        Check.agreement(
                lora.isEmpty() || train.weights() instanceof WeightsRecipe.Lora,
                "export.formats",
                lora.map(Section::word).orElse("") + " needs adapters, and all weights are trained; set train.weights "
                        + "to lora, or choose diffusers or single_file");
    }

    /// Reads a file, or a built-in recipe of that name if there is no such file.
    ///
    /// @param overrides `KEY=VALUE` each, the value in YAML, later ones over earlier ones
    /// @throws RecipeException when the recipe is not valid
    /// @throws IOException when it cannot be read
    public static Recipe read(Path file, List<String> overrides) throws IOException {
        return read(RecipeText.of(file), overrides);
    }

    /// Reads text.
    ///
    /// @param source named in messages
    /// @param overrides `KEY=VALUE` each, the value in YAML, later ones over earlier ones
    /// @throws RecipeException when the recipe is not valid
    public static Recipe parse(String source, String yaml, List<String> overrides) throws RecipeException {
        return read(new RecipeText(source, yaml), overrides);
    }

    private static Recipe read(RecipeText text, List<String> overrides) throws RecipeException {
        Node.Fields fields = text.fields(overrides);
        if (fields.fields().containsKey(IterateRecipe.ROUNDS)) {
            throw new RecipeException(fields.fields().get(IterateRecipe.ROUNDS).where()
                    + ": rounds: this recipe generates its own pairs; run it with smpo iterate");
        }
        return read(fields);
    }

    /// One of the recipes that come with the program, with the paths of its model, data and output as
    /// placeholders in the working directory.
    ///
    /// @throws IllegalArgumentException when there is none of that name
    public static Recipe builtIn(String name) {
        try {
            return builtIn(name, List.of());
        } catch (RecipeException e) {
            throw new AssertionError("a built-in recipe is valid", e);
        }
    }

    /// One of the recipes that come with the program, with overrides.
    ///
    /// @throws RecipeException when an override is not valid
    /// @throws IllegalArgumentException when there is none of that name
    public static Recipe builtIn(String name, List<String> overrides) throws RecipeException {
        return read(RecipeText.builtIn(name), overrides);
    }

    /// Names of the recipes that come with the program.
    public static List<String> builtInNames() {
        return RecipeText.BUILT_IN;
    }

    /// Source text of a built-in recipe, with its comments.
    ///
    /// @throws IllegalArgumentException when there is none of that name
    public static String builtInText(String name) {
        return RecipeText.builtIn(name).yaml();
    }

    /// Reads the keys of a recipe without rounds.
    static Recipe read(Node.Fields fields) throws RecipeException {
        return read(new Section(fields, ""));
    }

    private static Recipe read(Section in) throws RecipeException {
        return in.build(() -> {
            in.expect(Arrays.stream(Recipe.class.getRecordComponents())
                    .map(component -> Section.snakeCase(component.getName()))
                    .toList());
            Path model = in.path("model");
            SingleFileRecipe singleFile = SingleFileRecipe.read(in.section("single_file"));
            Path output = in.path("output");
            long seed = in.integer("seed", 0);
            Optional<Section> trajectory = in.sectionOrNone(TrajectoryRecipe.KEY);
            DataRecipe data = trajectory.isEmpty() ? DataRecipe.read(in.section("data")) : TrajectoryRecipe.data(in);
            LabelRecipe labels = LabelRecipe.read(in.section("labels"));
            ObjectiveRecipe objective = ObjectiveRecipe.read(in.kinds("objective", ObjectiveRecipe.KIND));
            Optional<Section> inversion = in.sectionOrNone("inversion");
            TimestepRecipe timesteps = TimestepRecipe.read(in.kinds("timesteps", TimestepRecipe.KIND));
            TrainRecipe train = TrainRecipe.read(in.section("train"));
            OptimizerRecipe optimizer = OptimizerRecipe.read(in.kinds("optimizer", OptimizerRecipe.KIND));
            Optional<Section> learningRate = in.valueSectionOrNone("learning_rate");
            return new Recipe(
                    model,
                    singleFile,
                    output,
                    seed,
                    data,
                    labels,
                    trajectory.isEmpty() ? Optional.empty() : Optional.of(TrajectoryRecipe.read(trajectory.get())),
                    objective,
                    inversion.isEmpty() ? Optional.empty() : Optional.of(InversionRecipe.read(inversion.get())),
                    timesteps,
                    train,
                    optimizer,
                    learningRate.isEmpty()
                            ? Optional.empty()
                            : Optional.of(LearningRateRecipe.read(learningRate.get())),
                    CheckpointRecipe.read(in.section("checkpoint")),
                    EvaluateRecipe.read(in.section("evaluate")),
                    SamplesRecipe.read(in.section("samples")),
                    ExportRecipe.read(in.section("export")),
                    HealthRecipe.read(in.section("health")));
        });
    }

    /// Every key that a built-in recipe has once its defaults are filled in, such as `train.steps`.
    static Set<String> knownKeys() {
        Set<String> keys = new LinkedHashSet<>();
        for (String name : RecipeText.BUILT_IN) {
            try {
                collect(Node.parse(name, builtIn(name).resolved(), false), "", keys);
            } catch (RecipeException e) {
                throw new AssertionError("a resolved recipe reads back", e);
            }
        }
        return keys;
    }

    private static void collect(Node node, String path, Set<String> keys) {
        if (node instanceof Node.Fields fields) {
            fields.fields().forEach((key, field) -> {
                String full = path.isEmpty() ? key : path + "." + key;
                keys.add(full);
                collect(field.value(), full, keys);
            });
        }
    }

    /// Whether the tuned model is a negative network, for guidance to lead away from.
    public boolean trainsNegative() {
        return trainsNegative(objective, labels);
    }

    /// Network that moves latents to where they are trained on: that of the inversion, or the teacher of
    /// rollouts; empty for objectives with neither.
    public Optional<InversionRecipe.Network> latentNetwork() {
        return latentNetwork(objective, inversion);
    }

    /// Number of images in one evaluation of that network, if the recipe says.
    public OptionalInt latentSlots() {
        return inversion
                .map(InversionRecipe::slots)
                .or(() -> objective.rollout().map(RolloutRecipe::slots))
                .orElse(OptionalInt.empty());
    }

    /// The sampler of this run's timesteps. With `objective.dora`, whose weights compare the losses of a
    /// batch, all pairs of a step share their timestep unless the recipe says otherwise.
    public TimestepSampler timestepSampler() {
        TimestepSampler sampler = timesteps.sampler(seed);
        return timesteps.shared().orElse(objective.dora().isPresent()) ? sampler.shared() : sampler;
    }

    /// Place of the policy in the guidance of the samples: as the recipe says, else that for which it is
    /// trained.
    public SamplesRecipe.Draws samplesDraw() {
        return draws(samples, trainsNegative());
    }

    /// The inversion with the objective's eta; empty for objectives with forward noise.
    public Optional<Inversion> inversionSchedule() {
        return inversion.map(recipe -> recipe.inversion(objective.loss().inversionEta()));
    }

    /// This recipe with everything filled in that depends on the machine and on the model.
    ///
    /// @param resolution the model's own resolution, for a recipe without one
    /// @param device the device to compute on
    /// @param precision the device's precision, for a recipe without one
    public Recipe completed(int resolution, String device, Precision precision) {
        return with(data.atResolution(resolution), train.on(device, precision));
    }

    /// This recipe with another global batch size.
    public Recipe withPairsPerStep(int pairs) {
        return with(data, train.withPairsPerStep(pairs));
    }

    /// This recipe with another number of steps.
    public Recipe withSteps(long steps) {
        return with(data, train.withSteps(steps));
    }

    /// This recipe for another model, data and output.
    ///
    /// @param newSingleFile what the model does not record if it is a single file
    /// @param mix pairs that are mixed in
    /// @param reference frozen reference; empty: the model
    Recipe on(
            Path newModel,
            SingleFileRecipe newSingleFile,
            Path newOutput,
            long newSeed,
            List<Path> pairs,
            Optional<MixRecipe> mix,
            Optional<Path> reference) {
        return new Recipe(
                newModel,
                newSingleFile,
                newOutput,
                newSeed,
                data.withPaths(pairs, mix),
                labels,
                trajectory,
                objective,
                inversion,
                timesteps,
                train.withReference(reference),
                optimizer,
                learningRate,
                checkpoint,
                evaluate,
                samples,
                export,
                health);
    }

    private Recipe with(DataRecipe newData, TrainRecipe newTrain) {
        return new Recipe(
                model,
                singleFile,
                output,
                seed,
                newData,
                labels,
                trajectory,
                objective,
                inversion,
                timesteps,
                newTrain,
                optimizer,
                learningRate,
                checkpoint,
                evaluate,
                samples,
                export,
                health);
    }

    /// The learning rate of a step, from 0; 0 for Adafactor with `relative_step`, which does not read
    /// it.
    public double learningRateAt(long step) {
        return learningRate.map(rate -> rate.at(step, train.steps())).orElse(0.0);
    }

    /// The whole recipe as YAML, every default explicit, in the order of the records.
    public String resolved() {
        return ResolvedText.of(fields());
    }

    /// The values of the whole recipe by their keys.
    Map<String, Object> fields() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (singleFile.equals(SingleFileRecipe.none())) {
            fields.remove("single_file");
        }
        if (trajectory.isPresent()) {
            fields.remove("labels");
            fields.remove("timesteps");
        } else {
            fields.remove(TrajectoryRecipe.KEY);
        }
        return fields;
    }

    /// SHA-256 of [#resolved], as 64 hexadecimal digits.
    public String digest() {
        return Digest.sha256(resolved().getBytes(StandardCharsets.UTF_8));
    }
}
