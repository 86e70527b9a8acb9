package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.io.Json;
import org.smpo.recipe.Recipe;

/// Self-NPO from images to weights: a teacher that is the average of the policy, and the policy as a
/// negative network.
final class SelfnpoTest {
    private static final String[] SELF_NPO = {
        "objective={method: selfnpo}",
        "inversion=none",
        "data.images=winner",
        "train.ema=0.9",
        "train.max_grad_norm=1",
        "learning_rate={value: 1e-2, schedule: constant, warmup_steps: 0}",
    };

    @TempDir
    private static Path folder;

    private static TinyRun tiny;

    @BeforeAll
    static void write() throws IOException {
        tiny = TinyRun.in(folder, 8);
    }

    private static Recipe recipe(String name, String... more) throws IOException {
        return tiny.recipe(
                name,
                Stream.concat(Arrays.stream(SELF_NPO), Arrays.stream(more)).toArray(String[]::new));
    }

    @Test
    void itTrains() throws Exception {
        assertThat(tiny.run(recipe("run", "evaluate.every=3")).finished()).isTrue();
        assertThat(tiny.losses("run")).hasSize(6);
        assertThat(Arrays.stream(tiny.losses("run")))
                .allSatisfy(loss -> assertThat(loss).isPositive());
        List<Map<String, Object>> log = tiny.log("run");
        // Three rollouts of two to six predictions in each of six steps.
        assertThat(Files.readString(tiny.output("run").resolve("log.jsonl"))).contains("\"inversion_evaluations\":");
        assertThat(log.stream().filter(event -> event.get("event").equals("evaluation")))
                .hasSize(2)
                .allSatisfy(event -> assertThat((Double) event.get("loss")).isPositive());
        assertThat(Json.readObject(tiny.output("run").resolve("manifest.json")).string("role"))
                .isEqualTo("negative");
    }

    /// The average is part of a checkpoint, and rollouts depend on it.
    @ParameterizedTest
    @ValueSource(strings = {"full", "lora"})
    void resumesWithTheSameBitsAtAnyStep(String weights) throws Exception {
        String[] more = weights.equals("full")
                ? new String[0]
                : new String[] {"train.weights={type: lora, rank: 2}", "export.formats=[lora_peft]"};
        String name = "resumed-" + weights;
        tiny.run(recipe(name, more));
        tiny.rename(name, name + "-whole");
        Map<String, String> whole = tiny.left(name + "-whole");
        for (int stop : new int[] {1, 3, 4}) {
            tiny.runInTwo(recipe(name, more), stop);
            tiny.assertSame(name, whole);
            tiny.rename(name, name + "-" + stop);
        }
    }

    @Test
    void theTeacherIsTheAverageOrTheModel() throws Exception {
        tiny.run(recipe("average"));
        tiny.run(recipe("of-model", "objective={method: selfnpo, teacher: model}"));
        tiny.run(recipe("faster", "train.ema=0.1"));
        double[] average = tiny.losses("average");
        double[] model = tiny.losses("of-model");
        double[] latest = tiny.losses("faster");
        // Before the first update, the average is the model.
        assertThat(average[0]).isEqualTo(model[0]).isEqualTo(latest[0]);
        for (int step = 1; step < 6; step++) {
            assertThat(average[step]).isNotEqualTo(model[step]).isNotEqualTo(latest[step]);
        }
    }

    @Test
    void batchSizesChangeNothingButRounding() throws Exception {
        tiny.run(recipe("two"));
        tiny.run(recipe("one", "train.micro_batch=1", "objective={method: selfnpo, slots: 1}"));
        double[] two = tiny.losses("two");
        double[] one = tiny.losses("one");
        assertThat(one[0] / two[0]).isBetween(1 - 1e-5, 1 + 1e-5);
        assertThat(one[5] / two[5]).isBetween(1 - 1e-2, 1 + 1e-2);
    }

    @Test
    void theSquaredErrorAndACapOfTimesteps() throws Exception {
        Recipe capped = recipe("capped", "objective={method: selfnpo, huber_c: inf}", "timesteps.end=300");
        tiny.run(capped);
        tiny.run(recipe("whole-range", "objective={method: selfnpo, huber_c: inf}"));
        double most = Arrays.stream(tiny.losses("whole-range")).max().orElseThrow();
        assertThat(Arrays.stream(tiny.losses("capped")).max().orElseThrow()).isLessThan(most);
        assertThat(capped.resolved()).contains("huber_c: inf");
    }

    @Test
    void imagesWithoutPairs() throws Exception {
        Path images = folder.resolve("images");
        Files.createDirectories(images);
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 5; i++) {
            Files.copy(tiny.data().resolve(i + "_0.png"), images.resolve(i + ".png"));
            lines.append("{\"file_name\": \"%d.png\", \"text\": \"a cat number %d\"}%n".formatted(i, i));
        }
        Files.writeString(images.resolve("metadata.jsonl"), lines);
        String yaml = tiny.yaml("images").replace("labels: {winner: human, range: data}\n", "");
        String[] more = Stream.concat(
                        Arrays.stream(SELF_NPO),
                        Stream.of("data.images=single", "data.paths=['" + images + "']", "train.steps=2"))
                .toArray(String[]::new);
        assertThat(tiny.run(Recipe.parse("tiny.yaml", yaml, List.of(more))).finished())
                .isTrue();
    }

    @Test
    void samplesAreMadeWithThePolicyAsTheNegativeNetwork() throws Exception {
        tiny.run(recipe("samples", "samples={every: 2, prompts: [a cat], steps: 2}", "train.steps=4"));
        tiny.run(recipe("as-model", "samples={every: 2, prompts: [a cat], steps: 2, draws: policy}", "train.steps=4"));
        byte[] first = Files.readAllBytes(tiny.output("samples").resolve("samples/step-000002/000-0.png"));
        byte[] second = Files.readAllBytes(tiny.output("samples").resolve("samples/step-000004/000-0.png"));
        assertThat(first).isNotEqualTo(second);
        assertThat(new String(first, StandardCharsets.ISO_8859_1)).contains("negative_model");
        assertThatThrownBy(() -> recipe("refused", "samples={every: 2, prompts: [a cat], guidance_scale: 1}"))
                .hasMessageContaining("the samples show the policy as the negative network of guidance");
    }

    @Test
    void whatDoesNotSuitIsRefused() throws IOException {
        String[][] recipes = {
            {"train.ema=none", "objective.teacher: average needs EMA weights; set train.ema"},
            {"train.ema=0", "objective.teacher: average needs EMA weights; set train.ema"},
            {"inversion={steps: 2}", "noises latents at the end of its teacher's rollouts; set inversion to none"},
            {"objective={method: selfnpo, bcr: {lambda: 1, delta: 0.1}}", "objective.bcr:"},
            {"objective={method: selfnpo, safeguard: {mu: 0.1}}", "objective.safeguard:"},
            {"objective={method: selfnpo, huber_c: 0}", "objective.huber_c: expected a number > 0 or inf, got 0"},
            {"objective={method: selfnpo, grid: 0}", "objective.grid: expected an integer of 1 or more, got 0"},
            {
                "objective={method: selfnpo, rollout_steps: 0}",
                "objective.rollout_steps: expected an integer of 1 or more"
            },
            {"objective={method: selfnpo, slots: 0}", "objective.slots: expected an integer of 1 or more"},
            {"objective={method: dpo, beta: 1, grid: 25}", "objective.grid"},
            {"labels.reversed=true", "labels.reversed: selfnpo compares no images"},
            {"labels.probability=0.8", "labels.probability"},
            {"train.reference='" + tiny.model() + "'", "train.reference: selfnpo has no reference"},
            {"timesteps.low=10", "timesteps: selfnpo samples a timestep after the end of each rollout"},
            {"timesteps.shared=true", "timesteps: selfnpo samples a timestep"},
            {"timesteps={distribution: spaced, low: 1, stride: 10, count: 3}", "timesteps: selfnpo samples"},
            {"data.desirable_share=0.5", "data.desirable_share"},
        };
        for (String[] one : recipes) {
            assertThatThrownBy(() -> recipe("refused", one[0])).as(one[0]).hasMessageContaining(one[1]);
        }
        Recipe grid = recipe("refused", "objective={method: selfnpo, grid: 30}");
        assertThatThrownBy(() -> tiny.run(grid))
                .hasMessage("objective: grid: expected a divisor of the 1000 training timesteps, got 30");
        Recipe early = recipe("refused", "timesteps.end=1");
        assertThatThrownBy(() -> tiny.run(early)).hasMessage("timesteps.end: expected 2 or more, got 1");
    }

    @Test
    void aScheduleWithoutSignalIsRefused() throws Exception {
        TinyRun own = TinyRun.in(Files.createDirectories(folder.resolve("zero")), 4);
        Path config = own.model().resolve("scheduler/scheduler_config.json");
        Files.writeString(
                config,
                Files.readString(config)
                        .replaceFirst("\\{", "{\"rescale_betas_zero_snr\": true,")
                        .replaceAll("\"_class_name\": \"[A-Za-z]*\"", "\"_class_name\": \"DDIMScheduler\"")
                        .replace("\"epsilon\"", "\"v_prediction\""));
        Recipe recipe = own.recipe("refused", SELF_NPO);
        assertThatThrownBy(() -> own.run(recipe))
                .hasMessage(
                        "objective: the schedule has zero terminal SNR; expected a finite ratio of noise to signal at"
                                + " every timestep");
    }
}
