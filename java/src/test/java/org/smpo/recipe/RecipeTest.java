package org.smpo.recipe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.data.Crop;
import org.smpo.io.Precision;
import org.smpo.objective.BcrBudget;
import org.smpo.objective.Dora;
import org.smpo.objective.Dpo;
import org.smpo.objective.Inpo;
import org.smpo.objective.Kto;
import org.smpo.objective.PairLoss;
import org.smpo.objective.SdpoSafeguard;
import org.smpo.objective.Selfnpo;
import org.smpo.objective.Sft;
import org.smpo.objective.SmoothedLabel;
import org.smpo.objective.Smpo;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.PredictionType;
import org.smpo.schedule.Sampler;
import org.smpo.schedule.TimestepSpacing;

/// Recipes are read strictly, written completely, and read back equal.
class RecipeTest {
    private static final String SMALLEST = """
        model: m
        output: o
        data: {paths: d}
        objective: {method: dpo, beta: 5000}
        train: {steps: 10, pairs_per_step: 4}
        learning_rate: {value: 1e-5}
        """;

    @TempDir
    private Path folder;

    private static Recipe parse(String yaml, String... overrides) throws RecipeException {
        return Recipe.parse("run.yaml", yaml, List.of(overrides));
    }

    private static void assertRefused(String yaml, List<String> overrides, String... parts) {
        assertThatThrownBy(() -> Recipe.parse("run.yaml", yaml, overrides))
                .as(yaml + overrides)
                .isInstanceOf(RecipeException.class)
                .message()
                .contains(parts);
    }

    static List<String> builtIns() {
        return Recipe.builtInNames();
    }

    @ParameterizedTest
    @MethodSource("builtIns")
    void aBuiltInRecipeIsValidAndReadsBackEqual(String name) throws RecipeException {
        Recipe recipe = Recipe.builtIn(name);
        Recipe again = parse(recipe.resolved());
        assertThat(again).isEqualTo(recipe);
        assertThat(again.resolved()).isEqualTo(recipe.resolved());
        assertThat(again.digest()).isEqualTo(recipe.digest()).matches("[0-9a-f]{64}");
        assertThat(Recipe.builtInText(name)).startsWith("#");
    }

    /// The published recipes have the numbers of the published runs.
    @Test
    void thePublishedRecipesHaveThePublishedNumbers() {
        Recipe sd15 = Recipe.builtIn("smpo-sd15");
        assertThat(sd15.objective().loss()).isEqualTo(new Smpo(2000, 10, 0.5));
        assertThat(sd15.inversionSchedule())
                .contains(new Inversion(
                        Inversion.Semantics.V020, 5, TimestepSpacing.LEADING, Inversion.Renoise.EVERY_STEP, 0));
        assertThat(sd15.train().pairsPerStep()).isEqualTo(1024);
        assertThat(sd15.train().steps()).isEqualTo(200);
        assertThat(sd15.optimizer()).isEqualTo(new OptimizerRecipe.AdamW(0.9, 0.999, 1e-8, 1e-2));
        assertThat(sd15.learningRateAt(0)).isZero();
        assertThat(sd15.learningRateAt(50)).isEqualTo(0.5 * 1.024e-5);
        assertThat(sd15.learningRateAt(100)).isEqualTo(1.024e-5);
        assertThat(sd15.learningRateAt(199)).isEqualTo(1.024e-5);
        assertThat(sd15.labels().smoothed(new double[0])).isEqualTo(org.smpo.objective.SmoothedLabel.pickScore());

        Recipe sdxl = Recipe.builtIn("smpo-sdxl");
        assertThat(sdxl.objective().loss()).isEqualTo(new Smpo(5000, 10, 0.5));
        assertThat(sdxl.inversion().orElseThrow().steps()).isEqualTo(10);
        assertThat(sdxl.data().side()).isEqualTo(1024);
        assertThat(sdxl.optimizer())
                .isEqualTo(new OptimizerRecipe.Adafactor(
                        1e-30, 1e-3, 1, -0.8, OptionalDouble.empty(), 1e-2, false, false, false));
        assertThat(sdxl.train().maxGradNorm()).hasValue(1);

        Recipe dpo = Recipe.builtIn("dpo-sd15");
        assertThat(dpo.objective().loss()).isEqualTo(new Dpo(5000, 0.5));
        assertThat(dpo.inversion()).isEmpty();
        assertThat(dpo.learningRateAt(500)).isEqualTo(2.048e-5);

        Recipe inpo = Recipe.builtIn("inpo-sd15");
        assertThat(inpo.objective().loss()).isEqualTo(new Inpo(2000, 0.5, 0.1));
        assertThat(inpo.inversionSchedule().orElseThrow().eta()).isEqualTo(0.1);

        Recipe kto = Recipe.builtIn("kto-sd15");
        assertThat(kto.objective().loss()).isEqualTo(new Kto(5000, 1, 1));
        assertThat(kto.data().images()).isEqualTo(TrainingImages.BOTH);
        assertThat(kto.data().desirableShare()).hasValue(0.8);
        assertThat(kto.train().pairsPerStep()).isEqualTo(8);
        assertThat(kto.train().steps()).isEqualTo(10000);
        assertThat(kto.learningRateAt(0)).isEqualTo(1e-7);

        Recipe npo = Recipe.builtIn("npo-sd15-lora");
        assertThat(npo.objective().loss()).isEqualTo(new Dpo(500, 1));
        assertThat(npo.train().pairsPerStep()).isEqualTo(64);
        Recipe npoXl = Recipe.builtIn("npo-sdxl-lora");
        assertThat(npoXl.objective().loss()).isEqualTo(new Dpo(2000, 0.5));
        assertThat(npoXl.train().pairsPerStep()).isEqualTo(60);
        for (Recipe negative : List.of(npo, npoXl)) {
            assertThat(negative.train().steps()).isEqualTo(2000);
            assertThat(negative.train().weights())
                    .isEqualTo(new WeightsRecipe.Lora(8, 8, LoraTargets.Preset.ATTENTION));
            assertThat(negative.optimizer()).isEqualTo(new OptimizerRecipe.AdamW(0.9, 0.999, 1e-8, 1e-2));
            assertThat(negative.learningRateAt(0)).isEqualTo(5e-6);
            assertThat(negative.data().captionDropout()).isEqualTo(0.2);
            assertThat(negative.trainsNegative()).isTrue();
            assertThat(negative.samplesDraw()).isEqualTo(SamplesRecipe.Draws.NEGATIVE);
        }
        for (String name : List.of("selfnpo-sd15", "selfnpo-sdxl")) {
            Recipe selfNpo = Recipe.builtIn(name);
            boolean xl = name.endsWith("xl");
            assertThat(selfNpo.objective().loss()).isEqualTo(new Selfnpo(1e-3));
            assertThat(selfNpo.objective().rollout())
                    .hasValue(new RolloutRecipe(25, 5, RolloutRecipe.Teacher.AVERAGE, OptionalInt.empty()));
            assertThat(selfNpo.data().images()).isEqualTo(TrainingImages.WINNER);
            assertThat(selfNpo.data().side()).isEqualTo(xl ? 1024 : 512);
            assertThat(selfNpo.train().ema()).hasValue(0.999);
            assertThat(selfNpo.train().pairsPerStep()).isEqualTo(xl ? 10 : 20);
            assertThat(selfNpo.train().weights()).isEqualTo(new WeightsRecipe.Full());
            assertThat(selfNpo.optimizer()).isEqualTo(new OptimizerRecipe.AdamW(0.9, 0.999, 1e-8, xl ? 0 : 1e-3));
            assertThat(selfNpo.learningRateAt(999)).isEqualTo(xl ? 1e-7 : 1e-6);
            assertThat(selfNpo.trainsNegative()).isTrue();
            assertThat(selfNpo.samplesDraw()).isEqualTo(SamplesRecipe.Draws.NEGATIVE);
        }
        assertThat(dpo.trainsNegative()).isFalse();
        assertThat(dpo.samplesDraw()).isEqualTo(SamplesRecipe.Draws.POLICY);
    }

    /// Guidance 1 never evaluates a negative network, so samples of one would not show it.
    @Test
    void samplesOfANegativeNetworkNeedGuidance() {
        List<String> negative =
                List.of("samples={every: 5, prompts: [a cat], guidance_scale: 1}", "labels.reversed=true");
        assertRefused(
                SMALLEST,
                negative,
                "samples.guidance_scale: the samples show the policy as the negative network of guidance, which 1 never"
                        + " evaluates; raise it, or set samples.draws to policy");
    }

    @Test
    void everyDefaultIsWritten() throws RecipeException {
        assertThat(parse(SMALLEST).resolved()).isEqualTo("""
            model: m
            output: o
            seed: 0
            data:
              paths: [d]
              resolution: auto
              crop: centre
              flip: true
              shared_augmentation: false
              caption_dropout: 0.2
              held_out: 0
              max_bad_fraction: 0.01
              decode_threads: auto
            labels:
              winner: human
              scores: none
              range: published
              temperature: 1
              probability: none
            objective:
              method: dpo
              beta: 5000
              kappa: 0.5
              bcr: none
              safeguard: none
            inversion: none
            timesteps:
              distribution: uniform
              low: 0
              end: 1000
            train:
              steps: 10
              pairs_per_step: 4
              micro_batch: auto
              precision: auto
              device: auto
              threads: auto
              weights:
                type: full
              gradient_checkpointing: false
              max_grad_norm: 1
              ema: none
              reference: none
            optimizer:
              name: adamw
              beta1: 0.9
              beta2: 0.999
              eps: 1.0e-8
              weight_decay: 0.01
            learning_rate:
              value: 1.0e-5
              schedule: constant
              warmup_steps: 0
              cycles: 0.5
            checkpoint:
              every: 50
              keep: 2
              milestones: none
            evaluate:
              every: none
              pairs: auto
            samples:
              prompts: []
              every: none
              seeds: [0]
              steps: 20
              guidance_scale: 7.5
              sampler: ddim
            export:
              formats: [diffusers]
            health:
              stop: false
              window: 20
              winner_degradation: 0.05
              saturated_logit: 6
              saturated_fraction: 0.5
              undecided_margin: 0.1
              undecided_fraction: 0.5
              runaway_loss: 4
              runaway_error: 2
            """);
    }

    /// No value here is a default, so a component that the writer or the reader omits is detected.
    @Test
    void nothingButDefaultsIsLost() throws RecipeException {
        Recipe unusual = new Recipe(
                Path.of("some model"),
                new SingleFileRecipe(
                        Optional.of(Path.of("a config")),
                        Optional.of(PredictionType.V_PREDICTION),
                        Optional.of(Path.of("auto"))),
                Path.of("none"),
                -7,
                new DataRecipe(
                        List.of(Path.of("auto"), Path.of("a: b, [c] #d.parquet")),
                        Optional.of("none at all"),
                        OptionalInt.of(64),
                        Crop.RANDOM,
                        false,
                        true,
                        1 / 3.0,
                        new HeldOut.Share(0.25),
                        1,
                        OptionalInt.of(3)),
                new LabelRecipe(
                        SmoothedLabel.WinnerBy.REWARD,
                        List.of(Path.of("none")),
                        new ScoreRange.Between(-1, 2.5e-7),
                        0.5,
                        new LabelProbability.OfScores(),
                        Optional.empty(),
                        true,
                        Optional.of(Path.of("data"))),
                Optional.empty(),
                new ObjectiveRecipe(
                        new Smpo(Math.PI, 3, 1),
                        Optional.of(new BcrBudget(1.5, 0.25)),
                        Optional.of(new SdpoSafeguard(0.75)),
                        Optional.of(new Dora(0.5))),
                Optional.of(new InversionRecipe(
                        Inversion.Semantics.V022,
                        7,
                        Inversion.Renoise.LAST_STEP,
                        TimestepSpacing.TRAILING,
                        InversionRecipe.Network.EMA,
                        OptionalInt.of(9))),
                new TimestepRecipe.Weighted(List.of(0.0, 1.0, 0.125), Optional.of(true)),
                new TrainRecipe(
                        3_000_000_000L,
                        10,
                        OptionalInt.of(3),
                        Optional.of(Precision.BF16),
                        "cuda:1",
                        OptionalInt.of(2),
                        new WeightsRecipe.Lora(4, 8.5, new LoraTargets.Modules(List.of("to_q", "ff.net.2"))),
                        true,
                        OptionalDouble.empty(),
                        OptionalDouble.of(0.999),
                        Optional.of(Path.of("2024")),
                        false,
                        false),
                new OptimizerRecipe.Adafactor(1e-20, 1e-2, 2, -0.5, OptionalDouble.of(0.9), 0.1, true, true, true),
                Optional.empty(),
                new CheckpointRecipe(OptionalLong.of(11), 5, new Milestones.At(List.of(3L, 20L))),
                new EvaluateRecipe(OptionalLong.of(12), OptionalInt.of(13)),
                new SamplesRecipe(
                        List.of(
                                "none",
                                "true",
                                "a \"quoted\\\" cat\n\t\u00e9 \u2028 \ud83d\ude00 # no comment",
                                " ",
                                ""),
                        OptionalLong.of(14),
                        List.of(-1L, Long.MAX_VALUE),
                        15,
                        1,
                        Sampler.Kind.PNDM,
                        Optional.of(SamplesRecipe.Draws.POLICY)),
                new ExportRecipe(List.of(ExportRecipe.Format.LORA_KOHYA, ExportRecipe.Format.SINGLE_FILE)),
                new HealthRecipe(true, 1, 0.5, 2, 0.125, 0.25, 0.75, OptionalDouble.of(6), OptionalDouble.of(3)));
        assertThat(parse(unusual.resolved())).as(unusual.resolved()).isEqualTo(unusual);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "optimizer=adafactor",
                "timesteps={distribution: spaced, low: 249, stride: 250, count: 4}",
                "checkpoint.milestones=5",
                "checkpoint.every=none",
                "train.weights={type: lora, targets: attention+ff}",
                "labels.range=data",
                "learning_rate={value: 1e-4, schedule: polynomial, power: 2, end: 0}",
                "learning_rate={value: 1e-4, schedule: cosine_with_restarts}",
                "data.split=validation",
                "data.resolution=768",
                "train.device=cuda",
                "train.precision=bf16",
                "labels.reversed=true",
                "labels.weights=w.parquet",
                "labels.scores=none.parquet",
                "labels={scores: [a.parquet, b.parquet], combine: {temperatures: [0.01, 1], weights: [0.75, 0.25]}}",
                "labels={scores: a.parquet, combine: {temperatures: [0.01]}}",
                "objective={method: dmpo, beta: 2000}",
                "objective={method: ipo, beta: 2000, margin: -1}",
                "objective={method: npo, beta: 500, kappa: 1}",
                "objective={method: kto, beta: 5000}",
                "objective=mapo",
                "objective={method: capo, beta: 1, bias: 2}",
                "objective={method: capo, beta: 1, bias: inf}",
                "objective={method: dpo, beta: 1, bcr: {lambda: 1, delta: inf}}",
                "train.deterministic=false",
                "objective=sft"
            })
    void everyKindReadsBackEqual(String override) throws RecipeException {
        Recipe recipe = parse(SMALLEST, override);
        assertThat(recipe).isNotEqualTo(parse(SMALLEST));
        assertThat(parse(recipe.resolved())).isEqualTo(recipe);
        assertThat(recipe.digest()).isNotEqualTo(parse(SMALLEST).digest());
    }

    @Test
    void aNumberIsALearningRateWithTheDefaultsOfItsBase() throws RecipeException {
        for (String number : List.of("1e-5", "0.00001", "1.0e-05")) {
            Recipe short1 = parse(SMALLEST, "learning_rate=" + number);
            assertThat(short1).as(number).isEqualTo(parse(SMALLEST, "learning_rate={value: 1e-5}"));
        }
        String base = "base: smpo-sd15\nlearning_rate: 3e-6\n";
        LearningRateRecipe rate = parse(base).learningRate().orElseThrow();
        assertThat(rate.value()).isEqualTo(3e-6);
        assertThat(rate.schedule()).isEqualTo(LearningRateRecipe.Schedule.CONSTANT_WITH_WARMUP);
        assertThat(rate.warmupSteps()).isEqualTo(100);
        assertThatThrownBy(() -> parse(SMALLEST, "learning_rate=fast"))
                .hasMessageContaining("learning_rate: expected none, a number or a mapping, found \"fast\"");
    }

    @Test
    void centerIsCentre() throws RecipeException {
        assertThat(parse(SMALLEST, "data.crop=center")).isEqualTo(parse(SMALLEST, "data.crop=centre"));
        assertThatThrownBy(() -> parse(SMALLEST, "data.crop=middle")).hasMessageContaining("expected centre or random");
    }

    @Test
    void namesOfOtherTrainersAreAnsweredWithOurs() throws RecipeException {
        assertThatThrownBy(() -> parse(SMALLEST + "pretrained_model_name_or_path: x\n"))
                .hasMessageContaining("pretrained_model_name_or_path: unknown key; here this is model");
        assertThatThrownBy(() -> parse(SMALLEST, "train.weights={type: lora, lora_alpha: 8}"))
                .hasMessageContaining("train.weights.lora_alpha: unknown key; here this is train.weights.alpha");
        assertThatThrownBy(() -> parse(SMALLEST, "lr_scheduler=cosine"))
                .hasMessageContaining("lr_scheduler: unknown key; here this is learning_rate.schedule");
        Set<String> known = new HashSet<>(Recipe.knownKeys());
        known.add("data.split");
        known.add("learning_rate.power");
        ForeignKeys.targets().forEach(ours -> assertThat(known).contains(ours));
    }

    @Test
    void whatARecipeLeavesOpenIsFilledIn() throws RecipeException {
        Recipe open = parse(SMALLEST);
        assertThat(open.resolved()).contains("resolution: auto", "device: auto", "precision: auto");
        Recipe completed = open.completed(768, "cuda:0", Precision.BF16);
        assertThat(completed.resolved()).contains("resolution: 768", "device: cuda:0", "precision: bf16");
        assertThat(completed.completed(512, "cuda:0", Precision.FP32)).isEqualTo(completed);
        assertThat(parse(completed.resolved())).isEqualTo(completed);
    }

    /// Every misspelt key of a complete recipe is located, with the right key suggested.
    @Test
    void everyMisspeltKeyIsFound() throws RecipeException {
        String whole = Recipe.builtIn("smpo-sdxl-lora").resolved();
        List<String> lines = whole.lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i);
            String key = line.strip().substring(0, line.strip().indexOf(':'));
            String misspelt = key.length() < 3
                    ? key + "_"
                    : key.substring(0, 1) + key.charAt(2) + key.charAt(1) + key.substring(3);
            if (misspelt.equals(key)) {
                misspelt = key + "s";
            }
            List<String> changed = new java.util.ArrayList<>(lines);
            changed.set(i, line.replaceFirst(key, misspelt));
            assertRefused(
                    String.join("\n", changed),
                    List.of(),
                    "run.yaml: line " + (i + 1) + ": ",
                    misspelt + ": unknown key; did you mean",
                    key + "?");
        }
    }

    /// Every value of a complete recipe that is replaced by a mapping is refused at its line.
    @Test
    void everyWrongTypeIsFound() throws RecipeException {
        List<String> lines = Recipe.builtIn("smpo-sdxl-lora").resolved().lines().toList();
        int tried = 0;
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i);
            if (line.endsWith(":")) {
                continue;
            }
            List<String> changed = new java.util.ArrayList<>(lines);
            changed.set(i, line.substring(0, line.indexOf(':')) + ": {surprise: 1}");
            assertRefused(String.join("\n", changed), List.of(), "run.yaml: line " + (i + 1) + ": ");
            tried++;
        }
        assertThat(tried).isGreaterThan(60);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            value = {
                "train.stepz=5|--set train.stepz: train.stepz: unknown key; did you mean train.steps?",
                "train.learning_rate=1|train.learning_rate: unknown key; did you mean learning_rate?",
                "trian.steps=5|trian: unknown key; did you mean train?",
                "train.steps=many|train.steps: expected an integer, found 'many'",
                "train.steps='5'|train.steps: expected an integer, found '5'",
                "train.steps=5.0|train.steps: expected an integer, found 5.0",
                "train.steps=0|train.steps: expected an integer of 1 or more, got 0",
                "train.steps=99999999999999999999|train.steps: expected an integer within 64 bits",
                "train.pairs_per_step=3000000000|an integer within 32 bits",
                "train.micro_batch=5|train.micro_batch: expected auto, or at most train.pairs_per_step (4), got 5",
                "train.device=gpu|train.device: expected auto, cpu, cuda or cuda:N, got gpu",
                "train.precision=fp16|train.precision: expected fp32 or bf16, found 'fp16'",
                "train.ema=1|train.ema: expected a number from 0 to below 1, got 1.0",
                "train.max_grad_norm=.inf|train.max_grad_norm: expected none or a number that is finite, found .inf",
                "train.reference=|--set train.reference: expected a value after =, found nothing",
                "train.reference=null|expected a value after =",
                "train..steps=5|expected keys separated by single dots",
                "train.steps|expected KEY=VALUE, such as train.steps=100",
                "data.caption_dropout=2|data.caption_dropout: expected a number from 0 to 1, got 2.0",
                "data.resolution=500|data.resolution: expected auto or a positive multiple of 8, got 500",
                "data.held_out=-1|data.held_out",
                "data.held_out=1.5|a share between 0 and 1",
                "data.paths=[]|data.paths: expected at least one path",
                "data.paths=[5]|data.paths[0]: expected a path (text that looks like a number needs quotes), found 5",
                "data.flip=yes|data.flip: expected true or false, found 'yes'",
                "objective.method=dpoo|objective.method: expected smpo, dpo, inpo,",
                "objective.method=smpo|objective.beta: expected a number or inf, found no such key",
                "objective.beta=inf|objective.beta: expected a finite number > 0, got Infinity",
                "objective.beta=-1|objective.beta: expected a finite number > 0, got -1.0",
                "optimizer.beta1=1|optimizer.beta1: expected a number from 0 to below 1, got 1.0",
                "optimizer={name: adafactor, warmup_init: true}|optimizer.relative_step to true",
                "optimizer={name: adafactor, relative_step: true}|set learning_rate to none",
                "learning_rate=none|expected a learning rate",
                "learning_rate.warmup_steps=5|set learning_rate.schedule to constant_with_warmup",
                "inversion.steps=5|set inversion to none",
                "labels.probability=0.7|dpo takes no probability",
                "labels={winner: reward, probability: 0.7}|set labels.winner to human",
                "labels={winner: reward, probability: data}|set labels.winner to human",
                "labels.probability=data|dpo takes no probability",
                "labels.probability=0.5|labels.probability: expected a number above 0.5, up to 1, got 0.5",
                "labels.scores=[a, b]|labels.combine: expected a temperature for each of the 2 files of labels.scores",
                "labels={scores: [a, b], combine: {temperatures: [1]}}|one for each file of labels.scores (2), got 1",
                "labels={scores: a, combine: {temperatures: [0]}}|labels.combine.temperatures: expected a number above"
                        + " 0",
                "labels={scores: a, combine: {temperatures: [1], weights: [0]}}|expected at least one number above 0",
                "labels={scores: a, combine: {temperatures: [1], weights: [-1]}}|combine.weights: expected a number of"
                        + " 0 or more",
                "labels={scores: a, combine: {temperatures: [1], weights: [1, 2]}}|one for each of the 1 temperatures,"
                        + " got 2",
                "labels={scores: a, range: data, combine: {temperatures: [1]}}|labels.range and labels.temperature"
                        + " have no say",
                "labels={scores: a, temperature: 2, combine: {temperatures: [1]}}|labels.range and labels.temperature"
                        + " have no say",
                "labels.range=[1, 0]|labels.range: expected [minimum, maximum]",
                "labels.range=[1]|published, data or [minimum, maximum]",
                "evaluate.every=5|set data.held_out to a number of pairs",
                "samples.every=5|samples.prompts: images every 5 steps need a prompt",
                "export.formats=[lora_peft]|export.formats: lora_peft needs adapters",
                "export.formats=[diffusers, diffusers]|each format once",
                "export.formats=[safetensors]|export.formats[0]: expected diffusers, single_file",
                "objective=sft|",
                "timesteps.end=0|timesteps.end: expected an integer above low (0), got 0",
                "health.window=0|health.window: expected an integer of 1 or more, got 0",
                "checkpoint.milestones=[0]|checkpoint.milestones: expected an integer of 1 or more, got 0",
                "base=smpo-sd15|name the base in the recipe itself",
                "train.weights.rank=4|train.weights.rank: unknown key",
            })
    void aBadOverrideIsRefused(String override, String message) throws RecipeException {
        if (message == null) {
            assertThat(parse(SMALLEST, override).objective().loss()).isEqualTo(new Sft());
            return;
        }
        assertRefused(SMALLEST, List.of(override), message.replace('\'', '"'));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "inversion=none|smpo noises latents by inversion and none is configured",
                "inversion.network=ema|inversion.network: ema needs EMA weights; set train.ema",
                "inversion.spacing=linspace|inversion.spacing: expected leading or trailing, got linspace",
                "inversion.slots=0|inversion.slots",
                "objective={method: sft}|sft noises latents by forward diffusion; set inversion to none",
                "output=stable-diffusion-v1-5/runs|must not lie in the model",
            })
    void incompatibleOptionsAreRefused(String override, String message) {
        assertThatThrownBy(() -> Recipe.builtIn("smpo-sd15", List.of(override)))
                .isInstanceOf(RecipeException.class)
                .hasMessageContaining(message);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "data.desirable_share=1|data.desirable_share: expected a number above 0 and below 1, got 1.0",
                "data={images: winner, desirable_share: none}|data.images: kto needs desirable and undesirable images;"
                        + " set data.images to both",
                "data.images=winner|which data.images: winner does not offer",
                "data.images=pairs|which data.images: pairs does not offer",
                "objective={method: dpo, beta: 1}|data.images: dpo compares the two images of a pair; set data.images",
                "objective={method: sft}|data.desirable_share: sft does not ask whether an image is desirable",
                "objective.bcr={lambda: 1, delta: 0}|objective.bcr: it protects the winner of a pair, and data.images:"
                        + " both",
                "objective.safeguard={mu: 1}|objective.safeguard: it protects the winner of a pair",
                "data.images=some|data.images: expected pairs, winner, loser, both or single, found \"some\"",
            })
    void singleImagesAreForMethodsThatTakeThem(String override, String message) {
        assertThatThrownBy(() -> Recipe.builtIn("kto-sd15", List.of(override)))
                .isInstanceOf(RecipeException.class)
                .hasMessageContaining(message);
    }

    @Test
    void labelsOfPairsSayNothingAboutSingleImages() {
        assertThatThrownBy(() -> Recipe.builtIn("kto-sd15", List.of("data.images=single", "labels.reversed=true")))
                .isInstanceOf(RecipeException.class)
                .hasMessageContaining("labels: they decide which image of a pair is better");
    }

    @Test
    void aReferenceWithoutUseIsRefused() {
        assertRefused(SMALLEST, List.of("objective=sft", "train.reference=other"), "sft has no reference");
        assertRefused(
                SMALLEST,
                List.of("objective=sft", "objective.bcr={lambda: 1, delta: 0}"),
                "sft has none",
                "bcr to none");
        assertRefused(SMALLEST, List.of("objective=sft", "objective.safeguard={mu: 1}"), "loser's gradient");
        assertRefused(
                SMALLEST,
                List.of("objective={method: npo, beta: 500}", "labels.reversed=true"),
                "labels.reversed: npo already prefers the loser; use method dpo with reversed, or npo without");
        assertRefused(
                SMALLEST,
                List.of("objective={method: npo, beta: 500, safeguard: {mu: 1}}"),
                "objective.safeguard: it guards the data's winner, which npo pushes away; use method dpo with "
                        + "labels.reversed");
    }

    @Test
    void problemsNameTheirLine() {
        assertRefused(SMALLEST + "train: {}\n", List.of(), "run.yaml: line 7: ", "train");
        assertRefused(SMALLEST + "seed: *x\n", List.of(), "run.yaml: line 7: ");
        assertRefused(SMALLEST + "seed: &x 5\n", List.of(), "run.yaml: line 7: anchors, aliases and tags");
        assertRefused(SMALLEST + "seed: !!str 5\n", List.of(), "run.yaml: line 7: anchors, aliases and tags");
        assertRefused(SMALLEST + "---\nseed: 5\n", List.of(), "expected the end, found a second document");
        assertRefused(SMALLEST + "seed: [5\n", List.of(), "run.yaml: line ", "not YAML: expected ',' or ']'");
        assertRefused(SMALLEST + "\tseed: 5\n", List.of(), "run.yaml: line 7: not YAML: ");
        assertRefused("", List.of(), "expected keys with values, found nothing");
        assertRefused("- 5\n", List.of(), "run.yaml: line 1: expected keys with values, found a list of 1");
        assertRefused("model: m\n", List.of(), "output: expected a path, found no such key");
        assertRefused("model: m\noutptu: o\n", List.of(), "line 2: outptu: unknown key; did you mean output?");
        assertRefused("base: smpo-sd51\n", List.of(), "line 1: base: expected one of", "did you mean smpo-sd15?");
    }

    @Test
    void aBaseIsMergedAndOverridden() throws RecipeException {
        Recipe recipe = parse("base: smpo-sd15\nmodel: mine\ntrain:\n  steps: 5\n", "train.steps=7", "seed=3");
        Recipe base = Recipe.builtIn("smpo-sd15");
        assertThat(recipe.model()).isEqualTo(Path.of("mine"));
        assertThat(recipe.train().steps()).isEqualTo(7);
        assertThat(recipe.seed()).isEqualTo(3);
        assertThat(recipe.train().pairsPerStep()).isEqualTo(1024);
        assertThat(recipe.objective()).isEqualTo(base.objective());
        assertThat(recipe).isEqualTo(Recipe.builtIn("smpo-sd15", List.of("model=mine", "train.steps=7", "seed=3")));
    }

    /// Keys of one method must not leak into another.
    @Test
    void anotherMethodBeginsAfresh() throws RecipeException {
        Recipe recipe = parse("base: smpo-sd15\nobjective: {method: dpo, beta: 7}\ninversion: none\n");
        assertThat(recipe.objective())
                .isEqualTo(new ObjectiveRecipe(new Dpo(7, 0.5), Optional.empty(), Optional.empty(), Optional.empty()));
        Recipe same = parse("base: smpo-sd15\nobjective: {method: smpo, gamma: 3}\n");
        assertThat(same.objective().loss()).isEqualTo(new Smpo(2000, 3, 0.5));
        Recipe later = parse("base: smpo-sd15-lora\n", "train.weights=full", "export.formats=[diffusers]");
        assertThat(later.train().weights()).isEqualTo(new WeightsRecipe.Full());
        assertThat(parse("base: smpo-sd15-lora\n", "train.weights.rank=2")
                        .train()
                        .weights())
                .isEqualTo(new WeightsRecipe.Lora(2, 16, LoraTargets.Preset.ATTENTION));
    }

    @Test
    void theLossHasTheAdditions() throws RecipeException {
        Recipe recipe = parse(SMALLEST, "objective.bcr={lambda: 1.5, delta: 2}", "objective.safeguard={mu: 0.5}");
        PairLoss loss = recipe.objective().pairLoss();
        assertThat(loss.objective()).isEqualTo(recipe.objective().loss()).isInstanceOf(Dpo.class);
        assertThat(loss.budget()).contains(new BcrBudget(1.5, 2));
        assertThat(loss.safeguard()).contains(new SdpoSafeguard(0.5));
        assertThat(parse(recipe.resolved())).isEqualTo(recipe);
    }

    @Test
    void aFileIsReadAndAMissingOneExplained() throws IOException {
        Path file = Files.writeString(folder.resolve("run.yaml"), SMALLEST);
        assertThat(Recipe.read(file, List.of("seed=5")).seed()).isEqualTo(5);
        assertThat(Recipe.read(Path.of("smpo-small"), List.of())).isEqualTo(Recipe.builtIn("smpo-small"));
        assertThatThrownBy(() -> Recipe.read(Path.of("smpo-smal"), List.of()))
                .isInstanceOf(RecipeException.class)
                .hasMessageContaining("found neither; did you mean smpo-small?");
        Files.write(file, new byte[] {'a', ':', ' ', (byte) 0xff});
        assertThatThrownBy(() -> Recipe.read(file, List.of()))
                .isInstanceOf(RecipeException.class)
                .hasMessageContaining("expected UTF-8");
    }

    @Test
    void constructorsObjectInTheSameWords() {
        assertThatThrownBy(() -> new Milestones.Every(0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("milestones: expected an integer of 1 or more, got 0");
    }

    @Test
    void dueCheckpoints() {
        CheckpointRecipe recipe = new CheckpointRecipe(OptionalLong.of(10), 1, new Milestones.At(List.of(3L)));
        assertThat(Arrays.stream(new long[] {0, 3, 9, 10, 11, 20, 25})
                        .filter(step -> recipe.isDue(step, 25))
                        .toArray())
                .containsExactly(3, 10, 20, 25);
        assertThat(new Milestones.Every(4).contains(8)).isTrue();
        assertThat(new Milestones.Every(4).contains(0)).isFalse();
    }

    @Test
    void heldOutPairsLeaveSome() {
        assertThat(new HeldOut.Share(0.1).of(55)).isEqualTo(5);
        assertThat(new HeldOut.Share(0.01).of(5)).isEqualTo(1);
        assertThat(new HeldOut.Count(5).of(6)).isEqualTo(5);
        assertThatThrownBy(() -> new HeldOut.Count(5).of(5)).hasMessageContaining("some are left to train on");
    }

    @Test
    void adaptersGoWhereTheNameEnds() {
        String q = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
        assertThat(LoraTargets.Preset.ATTENTION.selects(q)).isTrue();
        assertThat(LoraTargets.Preset.ATTENTION.selects(q + "x")).isFalse();
        assertThat(LoraTargets.Preset.ATTENTION.selects("a.auto_q")).isFalse();
        assertThat(LoraTargets.Preset.ATTENTION.selects("a.ff.net.2")).isFalse();
        assertThat(LoraTargets.Preset.ATTENTION_AND_FEED_FORWARD.selects("a.ff.net.2"))
                .isTrue();
        assertThat(new LoraTargets.Modules(List.of("attn2.to_q")).selects(q)).isFalse();
    }

    @ParameterizedTest
    @CsvSource({"steps, steps, 0", "stesp, steps, 1", "step, steps, 1", "'', abc, 3", "kitten, sitting, 3", "ca, abc, 3"
    })
    void distances(String a, String b, int distance) {
        assertThat(Suggestion.distance(a, b)).isEqualTo(distance);
        assertThat(Suggestion.distance(b, a)).isEqualTo(distance);
    }

    @Test
    void aRecipeIsSmall() throws IOException {
        Path file = folder.resolve("big.yaml");
        Files.writeString(file, "# " + "x".repeat(1 << 20));
        assertThatThrownBy(() -> Recipe.read(file, List.of()))
                .hasMessage(file + ": expected a recipe of at most 1048576 bytes, found more");
    }
}
