package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.evaluate.EvaluatedModel;
import org.smpo.evaluate.EvaluationRequest;
import org.smpo.evaluate.GenerationSetup;
import org.smpo.evaluate.PairsRequest;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.PromptFile;
import org.smpo.io.Digest;
import org.smpo.io.ShellWords;
import org.smpo.network.Compute;
import org.smpo.network.Prompt;
import org.smpo.objective.PairRule;
import org.smpo.parallel.World;
import org.smpo.recipe.GenerationRecipe;
import org.smpo.recipe.IterateRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.RoundEvaluationRecipe;
import org.smpo.recipe.RoundPairsRecipe;
import org.smpo.recipe.RoundsRecipe;
import org.smpo.recipe.SingleFileRecipe;
import org.smpo.reward.RewardKind;
import org.smpo.reward.RewardSource;
import org.smpo.train.BaseModel;
import org.smpo.train.FinishedRun;

/// Rounds whose inputs were checked: the stages of an iteration, in order.
///
/// The first image of round e has the seed `seed + e * 2^32`, and later images count on from there, as
/// those of an evaluation do. The training of round e, and the random choices among its pairs, have the
/// seed `seed + e`.
public final class IterationPlan {
    private static final String MODEL = "base";
    private static final int SEED_BITS = 32;

    private final IterateRecipe recipe;
    private final Path cache;
    private final EvaluationRequest.Provenance program;
    private final GenerationSetup generation;
    private final List<RoundReward> rewards;
    private final Optional<HumanPairs> human;
    private final List<Prompt> prompts;
    private final List<Prompt> compared;

    private IterationPlan(
            IterateRecipe recipe,
            Path cache,
            EvaluationRequest.Provenance program,
            GenerationSetup generation,
            List<RoundReward> rewards,
            Optional<HumanPairs> human,
            List<Prompt> prompts,
            List<Prompt> compared) {
        this.recipe = recipe;
        this.cache = cache;
        this.program = program;
        this.generation = generation;
        this.rewards = rewards;
        this.human = human;
        this.prompts = prompts;
        this.compared = compared;
    }

    /// Reads the prompts and looks at the model and the rewards. Nothing is written.
    ///
    /// @param cache folder of encoded images and prompts
    /// @param program origin of the program; its command has no meaning
    /// @param world place of this process, which decides its device and threads
    /// @throws IllegalArgumentException when they do not suit the recipe, naming the key
    /// @throws IOException when a file cannot be read
    public static IterationPlan of(IterateRecipe recipe, Path cache, EvaluationRequest.Provenance program, World world)
            throws IOException {
        RoundsRecipe rounds = recipe.rounds();
        List<RoundReward> rewards = rewards(rounds);
        Optional<HumanPairs> human = rounds.rewardTraining().isEmpty()
                ? Optional.empty()
                : Optional.of(HumanPairs.read(
                        rounds.rewardTraining().get(), rewards.getFirst().source()));
        IterationPlan plan = new IterationPlan(
                recipe,
                cache,
                program,
                generation(recipe, world),
                rewards,
                human,
                prompts(rounds, human),
                rounds.evaluation().isEmpty()
                        ? List.of()
                        : PromptFile.read(rounds.evaluation().get().prompts()));
        plan.requireKnownRewards(plan.pairs(plan.round(1)));
        return plan;
    }

    private static List<Prompt> prompts(RoundsRecipe rounds, Optional<HumanPairs> human) throws IOException {
        List<Prompt> all = rounds.prompts().isPresent()
                ? PromptFile.read(rounds.prompts().get())
                : human.orElseThrow().captions().stream().map(Prompt::of).toList();
        for (int i = 0; i < all.size(); i++) {
            require(
                    all.get(i).seed().isEmpty(),
                    "prompts: " + promptsPlace(rounds) + ": prompt " + (i + 1) + " has a seed, and thus one image;"
                            + " remove the seed, since a pair has two images of a prompt");
        }
        int wanted = rounds.promptsPerRound().orElse(all.size());
        require(
                wanted <= all.size(),
                "prompts_per_round: expected at most the " + all.size() + " prompts of " + promptsPlace(rounds)
                        + ", found " + wanted + "; lower it, or set it to auto for all of them");
        return all;
    }

    /// The file with the prompts, or the pairs whose captions they are.
    private static Path promptsPlace(RoundsRecipe rounds) {
        return rounds.prompts()
                .orElseGet(() -> rounds.rewardTraining().orElseThrow().human());
    }

    private static GenerationSetup generation(IterateRecipe recipe, World world) throws IOException {
        GenerationRecipe of = recipe.rounds().generation();
        Compute compute = Compute.choose(recipe.training().train().device(), of.precision());
        GenerationConfig config = new GenerationConfig(
                of.width().orElse(0),
                of.height().orElse(0),
                of.steps(),
                of.sampler(),
                of.guidanceScale(),
                of.guidanceRescale(),
                of.clipSkip(),
                0,
                of.eta());
        try (ModelFiles files = ModelFiles.open(recipe.training().model(), BaseModel.options(recipe.training()))) {
            config.sizedFor(files);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("rounds.generation." + e.getMessage(), e);
        }
        return new GenerationSetup(
                config,
                of.batch(),
                world.device(compute.device()),
                compute.precision(),
                world.threads(recipe.training().train().threads().orElse(0)));
    }

    private static List<RoundReward> rewards(RoundsRecipe rounds) throws IOException {
        List<RoundReward> all = new ArrayList<>();
        Set<String> names = new HashSet<>();
        for (int i = 0; i < rounds.rewards().size(); i++) {
            String key = "rewards[" + i + "]: ";
            String text = rounds.rewards().get(i);
            RoundReward reward;
            try {
                RewardSource source = RewardSource.parse(text).withProcessor(rounds.processor());
                require(source.name().isPresent(), key + "expected a name, NAME=[KIND:]PATH, found " + text);
                reward = new RoundReward(text, source);
                // Reads the configs, so that a reward that cannot be opened is known at once.
                reward.metric().describe();
            } catch (IOException e) {
                throw new IOException("rounds." + key + e.getMessage(), e);
            }
            require(names.add(reward.name()), key + "expected distinct names, found a second " + reward.name());
            all.add(reward);
        }
        rounds.rewardTraining().ifPresent(training -> {
            String head = headName(all);
            require(
                    !names.contains(head),
                    "rewards: expected no " + head
                            + " where rounds.reward_training gives the head of a round that name;"
                            + " choose another name");
        });
        return all;
    }

    /// Returns the name of the scores by the head that a round fits.
    private static String headName(List<RoundReward> rewards) {
        return rewards.getFirst().name() + "-head";
    }

    private void requireKnownRewards(PairsRequest request) {
        List<String> names = rewardNames();
        List<String> asked = new ArrayList<>();
        request.by().forEach(measure -> asked.add(measure.name()));
        request.judge().ifPresent(judge -> asked.addAll(judge.rewards()));
        for (String name : asked) {
            require(
                    names.contains(name),
                    "pairs: expected one of rounds.rewards, " + String.join(", ", names) + "; found " + name);
        }
    }

    private static void require(boolean holds, String problem) {
        if (!holds) {
            throw new IllegalArgumentException("rounds." + problem);
        }
    }

    /// Returns the recipe.
    public IterateRecipe recipe() {
        return recipe;
    }

    /// Returns the command lines of all stages, in order.
    public List<String> commands() {
        return stages().stream().map(IterationPlan::command).toList();
    }

    static String command(Stage stage) {
        List<String> words = new ArrayList<>(List.of("smpo"));
        words.addAll(stage.words());
        return ShellWords.join(words);
    }

    /// Returns the number of images that all stages generate.
    public long images() {
        RoundsRecipe rounds = recipe.rounds();
        long ofRounds = (long) rounds.count() * promptsPerRound() * rounds.images();
        return ofRounds
                + rounds.evaluation()
                        .map(last -> (rounds.count() + 1L) * compared.size() * last.images())
                        .orElse(0L);
    }

    private int promptsPerRound() {
        return recipe.rounds().promptsPerRound().orElse(prompts.size());
    }

    List<Stage> stages() {
        List<Stage> stages = new ArrayList<>();
        for (int number = 1; number <= recipe.rounds().count(); number++) {
            RoundFolder round = round(number);
            EvaluateStage images = new EvaluateStage(
                    "round " + number + ": images",
                    this,
                    List.of(generatedBy(number)),
                    round.prompts(),
                    promptsOf(number),
                    true,
                    recipe.rounds().images(),
                    recipe.training().seed() + ((long) number << SEED_BITS),
                    rewards,
                    round.images());
            stages.add(images);
            recipe.rounds().rewardTraining().ifPresent(training -> {
                stages.add(new RewardStage(this, training, round));
                stages.add(images.scoredBy("round " + round.number() + ": scores", head(round)));
            });
            stages.add(new PairsStage(this, round));
            stages.add(new TrainStage(this, round));
        }
        recipe.rounds().evaluation().ifPresent(last -> stages.add(comparison(last)));
        return stages;
    }

    private Stage comparison(RoundEvaluationRecipe last) {
        List<Integer> all = new ArrayList<>();
        for (int made = 0; made <= recipe.rounds().count(); made++) {
            all.add(made);
        }
        return new EvaluateStage(
                "evaluation",
                this,
                all,
                last.prompts(),
                compared,
                false,
                last.images(),
                recipe.training().seed(),
                rewards,
                evaluation());
    }

    /// Returns the folder of the evaluation after the last round. More rounds have another one.
    Path evaluation() {
        return output().resolve(RoundFolder.name(recipe.rounds().count()).replace("round", "evaluation"));
    }

    Path output() {
        return recipe.training().output();
    }

    Path cache() {
        return cache;
    }

    EvaluationRequest.Provenance program() {
        return program;
    }

    GenerationSetup generation() {
        return generation;
    }

    List<RoundReward> rewards() {
        return rewards;
    }

    /// Returns the reward with the head that a round fits, which is there once it is fitted.
    private RoundReward head(RoundFolder round) {
        String name = headName(rewards);
        return new RoundReward(
                name + "=" + RewardKind.HEAD.id() + ":" + round.reward(),
                new RewardSource(Optional.of(name), RewardKind.HEAD, round.reward(), round.reward()));
    }

    /// Returns the names of the rewards by which the images of a round are scored.
    List<String> rewardNames() {
        List<String> names =
                new ArrayList<>(rewards.stream().map(RoundReward::name).toList());
        recipe.rounds().rewardTraining().ifPresent(training -> names.add(headName(rewards)));
        return names;
    }

    RoundFolder round(int number) {
        return RoundFolder.of(output(), number);
    }

    long seed(int round) {
        return recipe.training().seed() + round;
    }

    /// Data that the rounds read over and over.
    ///
    /// @param key its key in the manifest of the rounds
    /// @param what what it is, in the plural
    /// @param place its file or folder
    /// @param digest its digest
    record Input(String key, String what, Path place, String digest) {}

    /// Returns the data that the rounds read over and over.
    List<Input> inputs() throws IOException {
        List<Input> inputs = new ArrayList<>();
        if (recipe.rounds().prompts().isPresent()) {
            Path prompts = recipe.rounds().prompts().get();
            inputs.add(new Input("prompts_sha256", "prompts", prompts, Digest.sha256(Files.readAllBytes(prompts))));
        }
        human.ifPresent(pairs -> inputs.add(new Input(
                "human_fingerprint",
                "pairs",
                recipe.rounds().rewardTraining().orElseThrow().human(),
                pairs.fingerprint())));
        return inputs;
    }

    /// Returns the prompts of a round: the next ones of the file, which begins again at its end.
    private List<Prompt> promptsOf(int round) {
        int count = promptsPerRound();
        List<Prompt> next = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            next.add(prompts.get((int) (((long) (round - 1) * count + i) % prompts.size())));
        }
        return next;
    }

    /// Returns the number of rounds that made the model that generates a round's images; 0: the
    /// recipe's model.
    int generatedBy(int round) {
        return switch (recipe.rounds().generatedBy()) {
            case POLICY -> round - 1;
            case REFERENCE -> 0;
        };
    }

    /// Returns the name of a model.
    ///
    /// @param made number of rounds that made it; 0: the recipe's model
    static String modelName(int made) {
        return made == 0 ? MODEL : RoundFolder.name(made);
    }

    /// Returns a model as it is named on a command line.
    String modelWord(int made) {
        return modelName(made) + "="
                + (made == 0 ? recipe.training().model() : round(made).run());
    }

    EvaluatedModel model(int made) throws IOException {
        if (made == 0) {
            return new EvaluatedModel(
                    modelName(0),
                    recipe.training().model(),
                    BaseModel.options(recipe.training()),
                    List.of(),
                    Optional.empty(),
                    Optional.empty());
        }
        FinishedRun run = FinishedRun.open(round(made).run());
        List<EvaluatedModel.Adapter> loras = run.lora().stream()
                .map(file -> new EvaluatedModel.Adapter(file, 1))
                .toList();
        return new EvaluatedModel(
                modelName(made),
                run.model(),
                run.options(),
                loras,
                Optional.of(new EvaluatedModel.RunRecords(run.log(), run.recipe())),
                Optional.empty());
    }

    /// Returns the recipe of a round's training. A round after the first begins with the folder that
    /// the round before exported.
    Recipe training(RoundFolder round) throws IOException {
        Path start = round.number() == 1
                ? recipe.training().model()
                : FinishedRun.open(round(round.number() - 1).run()).model();
        return recipe.ofRound(round.number(), start, round.run(), round.pairs());
    }

    /// Returns the rewards that choose pairs, as a command line names them.
    List<String> measureTexts() {
        RoundPairsRecipe pairs = recipe.rounds().pairs();
        if (!pairs.by().isEmpty() || pairs.select() == PairRule.TOURNAMENT) {
            return pairs.by();
        }
        // The score with a head is a logit.
        return recipe.rounds().rewardTraining().isPresent() ? List.of(headName(rewards) + ":1") : rewardNames();
    }

    PairsRequest pairs(RoundFolder round) {
        RoundPairsRecipe pairs = recipe.rounds().pairs();
        try {
            List<PairsRequest.Measure> by =
                    measureTexts().stream().map(PairsRequest.Measure::parse).toList();
            return new PairsRequest(
                    round.images(),
                    Optional.empty(),
                    by,
                    pairs.combine().orElse(PairsRequest.combinationOf(by)),
                    pairs.select(),
                    pairs.judge()
                            .map(judge -> PairsRequest.judge(
                                    judge,
                                    round.pairs().resolve("judge.jsonl"),
                                    Duration.ofSeconds(pairs.judgeTimeout()))),
                    pairs.loser(),
                    pairs.perPrompt(),
                    pairs.minPreference(),
                    seed(round.number()),
                    round.pairs());
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("rounds.pairs." + e.getMessage(), e);
        }
    }

    /// Returns the options that say how images are generated.
    List<String> generationWords() {
        GenerationConfig config = generation.config();
        List<String> words = new ArrayList<>();
        words.addAll(List.of("--sampler", config.sampler().id(), "--steps", Integer.toString(config.steps())));
        words.addAll(List.of("--guidance-scale", number(config.guidanceScale())));
        if (config.guidanceRescale() != 0) {
            words.addAll(List.of("--guidance-rescale", number(config.guidanceRescale())));
        }
        if (config.eta() != 0) {
            words.addAll(List.of("--eta", number(config.eta())));
        }
        if (config.clipSkip() != 0) {
            words.addAll(List.of("--clip-skip", Integer.toString(config.clipSkip())));
        }
        recipe.rounds()
                .generation()
                .negativePrompt()
                .ifPresent(text -> words.addAll(List.of("--negative-prompt", text)));
        if (config.width() != 0) {
            words.addAll(List.of("--width", Integer.toString(config.width())));
        }
        if (config.height() != 0) {
            words.addAll(List.of("--height", Integer.toString(config.height())));
        }
        words.addAll(List.of("--batch", Integer.toString(generation.batch()), "--device", generation.device()));
        words.addAll(List.of("--precision", generation.precision().id()));
        words.addAll(List.of("--threads", Integer.toString(generation.threads())));
        SingleFileRecipe file = recipe.training().singleFile();
        file.config().ifPresent(path -> words.addAll(List.of("--config", path.toString())));
        file.vae().ifPresent(path -> words.addAll(List.of("--vae", path.toString())));
        file.predictionType().ifPresent(type -> words.addAll(List.of("--prediction-type", type.configName())));
        return words;
    }

    /// Returns a number without the `.0` of whole ones.
    static String number(double value) {
        String text = Double.toString(value);
        return text.endsWith(".0") ? text.substring(0, text.length() - 2) : text;
    }
}
