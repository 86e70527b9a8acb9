package org.smpo.recipe;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Configuration of rounds of tuning on a model's own images: everything outside `rounds` is the recipe
/// of each round's training, as [Recipe] describes it. The pairs of the data are those that a round
/// makes, so `data.paths`, `data.mix`, `labels.scores`, `labels.weights` and `train.reference` have no say
/// here and are refused.
///
/// @param training recipe of a round's training; its model is that of the first round, its output the
///     folder of all rounds, and its data are of no meaning
/// @param rounds the rounds
public record IterateRecipe(Recipe training, RoundsRecipe rounds) {
    /// The key that a recipe with rounds has.
    static final String ROUNDS = "rounds";

    private static final String DATA = "data";
    private static final String PATHS = "paths";
    private static final List<String> BUILT_IN =
            List.of("apo-sd15-lora", "iterate-smpo-sd15-lora", "iterate-capo-sd15-lora", "iterate-ipr-sd15-lora");

    /// Checks that rounds and training agree.
    ///
    /// @throws IllegalArgumentException naming a key, and what to do
    public IterateRecipe {
        Check.agreement(
                training.labels().scores().isEmpty(),
                "labels.scores",
                "the pairs of a round have scores of their own; set it to none");
        Check.agreement(
                training.labels().weights().isEmpty(),
                "labels.weights",
                "a weight file belongs to pairs that exist, and the pairs of a round are new; set it to none");
        Check.agreement(
                training.train().reference().isEmpty(),
                "train.reference",
                "rounds.reference says which model is the reference; set it to none");
        Check.agreement(
                training.data().mix().isEmpty(),
                "data.mix",
                "rounds.mix names the pairs of every round; set it to none");
        Check.that(
                training.seed() >= 0, "seed", "0 or more, since the images' seeds count on from it", training.seed());
        checkNext(training, rounds);
    }

    /// A round after the first begins with the folder that the round before exported.
    private static void checkNext(Recipe training, RoundsRecipe rounds) {
        boolean several = rounds.count() > 1;
        Check.agreement(
                !several || training.export().formats().contains(ExportRecipe.Format.DIFFUSERS),
                "export.formats",
                "a round begins with the model that the round before exported; add diffusers, which merges adapters");
        Check.agreement(
                !several
                        || rounds.reference() == RoundsRecipe.Reference.PREVIOUS
                        || training.singleFile().equals(SingleFileRecipe.none()),
                "single_file",
                "the reference of later rounds is read without this section; convert the model to a diffusers folder"
                        + " with smpo convert, or set rounds.reference to previous");
        Check.agreement(
                !training.trainsNegative()
                        || (rounds.evaluation().isEmpty()
                                && (!several || rounds.generatedBy() == RoundsRecipe.GeneratedBy.REFERENCE)),
                "rounds",
                "the tuned model is a negative network, which generates nothing by itself; set rounds.generated_by to"
                        + " reference and rounds.evaluation to none");
    }

    /// Reads a file, or a built-in recipe of that name if there is no such file.
    ///
    /// @param overrides `KEY=VALUE` each, the value in YAML, later ones over earlier ones
    /// @throws RecipeException when the recipe is not valid
    /// @throws IOException when it cannot be read
    public static IterateRecipe read(Path file, List<String> overrides) throws IOException {
        return read(RecipeText.of(file), overrides);
    }

    /// Reads text.
    ///
    /// @param source named in messages
    /// @param overrides `KEY=VALUE` each, the value in YAML, later ones over earlier ones
    /// @throws RecipeException when the recipe is not valid
    public static IterateRecipe parse(String source, String yaml, List<String> overrides) throws RecipeException {
        return read(new RecipeText(source, yaml), overrides);
    }

    /// Names of the recipes with rounds that come with the program.
    public static List<String> builtInNames() {
        return BUILT_IN;
    }

    private static IterateRecipe read(RecipeText text, List<String> overrides) throws RecipeException {
        refusePaths(Node.parse(text.source(), text.yaml(), true));
        for (String override : overrides) {
            refusePaths(Node.override("--set", override));
        }
        Node.Fields fields = text.fields(overrides);
        Node.Field rounds = fields.fields().get(ROUNDS);
        if (rounds == null) {
            throw new RecipeException(fields.where()
                    + ": rounds: expected a mapping, found no such key; a recipe without rounds runs with"
                    + " smpo train");
        }
        if (!(rounds.value() instanceof Node.Fields below)) {
            throw new RecipeException(rounds.where() + ": rounds: expected a mapping, found "
                    + rounds.value().describe());
        }
        Node.Field trajectory = fields.fields().get(TrajectoryRecipe.KEY);
        if (trajectory != null && trajectory.value() instanceof Node.Fields) {
            throw new RecipeException(trajectory.where()
                    + ": trajectory: expected none beside rounds, found a section: a run with trajectories generates"
                    + " its own pairs; remove rounds and run it with smpo train");
        }
        Section all = new Section(fields, "");
        all.expect(List.copyOf(fields.fields().keySet()));
        return all.build(() -> {
            Recipe training = Recipe.read(withoutPaths(fields.without(ROUNDS)));
            return new IterateRecipe(training, RoundsRecipe.read(new Section(below, ROUNDS)));
        });
    }

    private static void refusePaths(Node node) throws RecipeException {
        if (node instanceof Node.Fields fields
                && fields.fields().containsKey(DATA)
                && fields.fields().get(DATA).value() instanceof Node.Fields data
                && data.fields().containsKey(PATHS)) {
            throw new RecipeException(data.fields().get(PATHS).where()
                    + ": data.paths: rounds generate their own pairs; remove it, or name further pairs in rounds.mix");
        }
    }

    /// Replaces the data of a base, which has no rounds.
    private static Node.Fields withoutPaths(Node.Fields fields) {
        Node.Field data = fields.fields().get(DATA);
        if (data != null && !(data.value() instanceof Node.Fields)) {
            return fields;
        }
        String where = fields.where();
        Node.Fields own = data == null ? new Node.Fields(where, Map.of()) : (Node.Fields) data.value();
        Node.Field placeholder = new Node.Field(where, new Node.Scalar(where, ROUNDS, Node.Scalar.Type.QUOTED));
        return fields.with(DATA, new Node.Field(where, own.with(PATHS, placeholder)));
    }

    /// The recipe of a round's training.
    ///
    /// @param round number of the round, from 1
    /// @param start model that the round begins with; the recipe's own in the first round
    /// @param output folder of the run
    /// @param pairs folder of the round's pairs
    public Recipe ofRound(int round, Path start, Path output, Path pairs) {
        boolean own = start.equals(training.model());
        boolean usesReference = training.objective().loss().needsReference()
                || training.inversion().filter(this::invertsWithReference).isPresent();
        Optional<Path> reference = own || !usesReference || rounds.reference() == RoundsRecipe.Reference.PREVIOUS
                ? Optional.empty()
                : Optional.of(training.model());
        return training.on(
                start,
                own ? training.singleFile() : SingleFileRecipe.none(),
                output,
                training.seed() + round,
                List.of(pairs),
                rounds.mix(),
                reference);
    }

    private boolean invertsWithReference(InversionRecipe inversion) {
        return inversion.network() == InversionRecipe.Network.REFERENCE;
    }

    /// The whole recipe as YAML, every default explicit; it reads back as an equal recipe.
    public String resolved() {
        Map<String, Object> fields = new LinkedHashMap<>(training.fields());
        Map<Object, Object> data =
                new LinkedHashMap<>((Map<?, ?>) training.data().written());
        data.remove(PATHS);
        fields.put(DATA, data);
        fields.put(ROUNDS, rounds);
        return ResolvedText.of(fields);
    }
}
