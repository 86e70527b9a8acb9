package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.network.TinyBlip;
import org.smpo.network.TinyClip;
import org.smpo.recipe.MinPreference;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.RecipeException;
import org.smpo.schedule.Ddim;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.SamplerPlan;
import org.smpo.schedule.TimestepSpacing;

/// Runs that train on steps of the policy's own trajectories: SPO and TailorPO.
final class RolloutTest {
    @TempDir
    private static Path folder;

    private static TinyRun tiny;
    private static Path reward;
    private static Path prompts;

    @BeforeAll
    static void write() throws IOException {
        tiny = TinyRun.in(folder, 3);
        reward = TinyClip.write(folder.resolve("clip"), "vit_h", 1);
        prompts = Files.writeString(folder.resolve("prompts.txt"), "a cat\na dog\ntwo birds\n");
    }

    /// Two trajectories of four steps, all of which are compared: up to eight pairs, three a step.
    private static Recipe recipe(String name, String... overrides) throws IOException {
        return recipe(tiny, prompts, reward, name, overrides);
    }

    static Recipe recipe(TinyRun tiny, Path prompts, Path reward, String name, String... overrides) throws IOException {
        String yaml = """
            model: '%s'
            output: '%s'
            seed: 7
            data: {resolution: 16}
            objective: {method: spo, beta: 10, clip: 0.1}
            trajectory:
              prompts: '%s'
              prompts_per_rollout: 2
              steps: 4
              guidance_scale: 3
              candidates: 3
              continuation: random
              reward: '%s'
            train:
              steps: 6
              pairs_per_step: 3
              micro_batch: 2
              threads: 1
              device: cpu
              precision: fp32
              weights: {type: lora, rank: 2}
            learning_rate: 1e-2
            checkpoint: {every: 2, keep: 2}
            health: {window: 3}
            export: {formats: [lora_peft]}
            """.formatted(tiny.model(), tiny.output(name), prompts, reward);
        return Recipe.parse("tiny.yaml", yaml, List.of(overrides));
    }

    private static List<Map<String, Object>> events(String name, String kind) throws IOException {
        return tiny.log(name).stream()
                .filter(event -> event.get("event").equals(kind))
                .toList();
    }

    /// Adapters begin without effect, and policy and reference take the same path.
    @ParameterizedTest
    @ValueSource(strings = {"fp32", "bf16"})
    void aNewPolicyHasNoLogit(String precision) throws Exception {
        String name = "first-" + precision;
        tiny.run(recipe(name, "train.precision=" + precision, "train.steps=2"));
        double[] losses = tiny.losses(name);
        assertThat(losses[0]).isEqualTo(Math.log(2));
        assertThat(losses[1]).isNotEqualTo(Math.log(2));
        List<Map<String, Object>> steps = events(name, "step");
        for (Object margin : (List<?>) steps.getFirst().get("margins")) {
            assertThat(((Map<?, ?>) margin).get("margin")).isEqualTo(0.0);
        }
        assertThat((Double) steps.getFirst().get("gradient_norm")).isPositive();
    }

    @Test
    void resumesWithTheSameBitsAtAnyStep() throws Exception {
        tiny.run(recipe("run"));
        tiny.rename("run", "whole");
        Map<String, String> whole = tiny.left("whole");
        assertThat(events("whole", "rollout")).hasSizeGreaterThan(1);
        for (int stop = 1; stop < 6; stop++) {
            tiny.runInTwo(recipe("run"), stop);
            tiny.assertSame("run", whole);
            tiny.rename("run", "stopped-" + stop);
        }
    }

    @Test
    void theLogDescribesRollouts() throws Exception {
        TrainingResult result =
                tiny.run(recipe("tailor", "objective={method: tailorpo, beta: 10}", "trajectory.continuation=winner"));
        assertThat(result.finished()).isTrue();
        List<Map<String, Object>> rollouts = events("tailor", "rollout");
        long kept = 0;
        for (int i = 0; i < rollouts.size(); i++) {
            Map<String, Object> rollout = rollouts.get(i);
            assertThat(rollout).containsEntry("rollout", i).containsEntry("compared", 8);
            assertThat((Double) rollout.get("kept_share")).isBetween(0.0, 1.0);
            assertThat((Double) rollout.get("mean_score")).isFinite();
            kept += (Integer) rollout.get("kept");
        }
        long trained = events("tailor", "step").stream()
                .mapToLong(step -> (Integer) step.get("pairs"))
                .sum();
        // The pairs of the last rollout may not all have been used.
        assertThat(trained).isBetween(kept - 8, kept);
    }

    private static final String TAILOR = "objective={method: tailorpo, beta: 10}";

    /// A winner moves along the gradient of its score and stays there if the score rises.
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void winnersAreGuided(boolean throughUnet) throws Exception {
        String name = "guided-" + throughUnet;
        String guide = "trajectory.guide={strength: 0.1, through_unet: %s}".formatted(throughUnet);
        tiny.run(recipe(name, TAILOR, "trajectory.continuation=winner", guide));
        long guided = 0;
        long moved = 0;
        for (Map<String, Object> rollout : events(name, "rollout")) {
            assertThat(rollout.get("guided")).isEqualTo(rollout.get("kept"));
            assertThat((Double) rollout.get("mean_rise")).isNotNegative();
            assertThat((Double) rollout.get("mean_difference")).isPositive();
            guided += (Integer) rollout.get("guided");
            moved += (Integer) rollout.get("moved");
        }
        assertThat(moved).isGreaterThan(guided * 3 / 4).isLessThanOrEqualTo(guided);
        assertThat(Files.readString(tiny.output(name).resolve("log.jsonl"))).contains("\"guide_seconds\":");
    }

    @Test
    void aGuideChangesWhatIsTrainedOn() throws Exception {
        tiny.run(recipe("plain", TAILOR));
        tiny.run(recipe("one-row", TAILOR, "trajectory.guide={strength: 0.1, rows: 1}"));
        tiny.run(recipe("all-rows", TAILOR, "trajectory.guide={strength: 0.1}"));
        tiny.run(recipe("unet", TAILOR, "trajectory.guide={strength: 0.1, through_unet: true}"));
        // A trajectory continues at random among the candidates that noise made, so that rollouts of one policy are
        // the same with and without a guide.
        Map<String, Object> plain = events("plain", "rollout").getFirst();
        Map<String, Object> row = events("one-row", "rollout").getFirst();
        assertThat(row.get("median_difference")).isEqualTo(plain.get("median_difference"));
        assertThat(row.get("mean_score")).isEqualTo(plain.get("mean_score"));
        // Two trajectories, of which one of the four compared steps each is guided.
        assertThat((Integer) row.get("guided")).isBetween(1, 2);
        assertThat(tiny.losses("one-row")).as("plain").isNotEqualTo(tiny.losses("plain"));
        assertThat(tiny.losses("unet")).isNotEqualTo(tiny.losses("all-rows"));
    }

    @Test
    void guidedRunsResumeWithTheSameBits() throws Exception {
        String[] guided = {TAILOR, "trajectory.guide={strength: 0.1, through_unet: true, rows: 2}"};
        tiny.run(recipe("guided", guided));
        tiny.rename("guided", "guided-whole");
        Map<String, String> whole = tiny.left("guided-whole");
        for (int stop : new int[] {1, 2, 4}) {
            tiny.runInTwo(recipe("guided", guided), stop);
            tiny.assertSame("guided", whole);
            tiny.rename("guided", "guided-" + stop);
        }
    }

    @Test
    void aRewardWithoutAGradientGuidesNothing() throws IOException {
        Path head = TinyBlip.write(folder.resolve("blip"));
        Recipe recipe =
                recipe("refused", "trajectory.guide={strength: 0.1}", "trajectory.reward='imagereward:" + head + "'");
        assertThatThrownBy(() -> tiny.run(recipe))
                .hasMessage("trajectory.guide: expected a reward whose scores have gradients, found imagereward; choose"
                        + " another reward, or set guide to none");
        String[][] recipes = {
            {"trajectory.guide={strength: 0}", "trajectory.guide.strength: expected a number above 0"},
            {"trajectory.guide={rows: 0}", "trajectory.guide.rows: expected an integer of 1 or more"},
            {"trajectory.guide={rows: 5}", "trajectory.guide.rows: expected auto or an integer from 1 to 4"},
            {"trajectory.guide={length: 1}", "trajectory.guide.length"},
        };
        for (String[] one : recipes) {
            assertThatThrownBy(() -> recipe("refused", one[0])).as(one[0]).hasMessageContaining(one[1]);
        }
    }

    /// A step of 20 at timestep 501, the gradient (.4, −.1, .2, .05) and strength .1, worked out in
    /// float64.
    @Test
    void aMoveIsAShareOfTheNoise() {
        double[] x = {0.540120936650, -1.130761725126, 1.100213671654, -0.357222171987};
        double[] target = {-0.758243103840, -0.380585632053, -0.756779023707, 1.537364655760};
        double[] movedX = {0.614627203429, -1.149388291821, 1.137466805043, -0.347908888640};
        double[] movedTarget = {-1.035405924130, -0.311294926981, -0.895360433852, 1.502719303224};
        SamplerPlan plan =
                SamplerPlan.of(NoiseSchedule.stableDiffusion(), new Ddim(TimestepSpacing.LEADING, 1, false, 1), 20);
        int step = 9;
        assertThat(plan.timestep(step)).isEqualTo(501);
        float[] move = WinnerGuide.along(new float[] {0.4f, -0.1f, 0.2f, 0.05f}, 0.1 * plan.noiseCoefficient(step));
        double ofOutput = plan.historyOutputCoefficient(step) * plan.historyCoefficient(step, 0);
        for (int i = 0; i < 4; i++) {
            assertThat(x[i] + move[i]).isCloseTo(movedX[i], within(1e-8));
            assertThat(target[i] + move[i] / ofOutput).isCloseTo(movedTarget[i], within(3e-8));
        }
        assertThat(WinnerGuide.along(new float[2], 0.1)).containsExactly(0, 0);
        assertThatThrownBy(() -> WinnerGuide.along(new float[] {Float.NaN}, 0.1))
                .isInstanceOf(ArithmeticException.class);
    }

    @Test
    void theLastTwoStepsCanBeLeftOut() throws Exception {
        tiny.run(recipe("skip", "trajectory.last_steps=skip", "train.steps=1"));
        assertThat(events("skip", "rollout").getFirst()).containsEntry("compared", 4);
        assertThatThrownBy(() -> recipe("refused", "trajectory.last_steps=skip", "trajectory.first_step=2"))
                .hasMessageContaining(
                        "trajectory.first_step: expected an integer from 0 to 1, since there are 4 steps and"
                                + " the last two are skipped");
    }

    /// LPO's thresholds at timesteps 1, 501 and 951 of Stable Diffusion 1.5 and of SDXL.
    @Test
    void theSmallestPreferenceMayRiseWithTheNoise() throws IOException {
        NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
        double[] sigma = IntStream.of(1, 501, 951)
                .mapToDouble(t -> Math.sqrt(1 - schedule.alphaCumprod(t)))
                .toArray();
        double[][] expected = {{0.35, 0.477303740462, 0.5}, {0.45, 0.577303740462, 0.6}};
        for (double[] one : expected) {
            MinPreference rising = new MinPreference(one[0], one[2]);
            for (int i = 0; i < 3; i++) {
                assertThat(rising.at(sigma[i], sigma[0], sigma[2])).isCloseTo(one[i], within(1e-11));
            }
        }
        assertThat(recipe("rising", "trajectory.min_preference=[0.35, 0.5]").resolved())
                .contains("  min_preference: [0.35, 0.5]");
        assertThat(recipe("same", "trajectory.min_preference=0.3").resolved()).contains("  min_preference: 0.3");
        assertThatThrownBy(() -> recipe("refused", "trajectory.min_preference=[0.35]"))
                .hasMessageContaining(
                        "trajectory.min_preference: expected a number, or one for the least and one for the"
                                + " most noise");
    }

    @Test
    void someStepsAreCompared() throws Exception {
        tiny.run(recipe("some", "trajectory.first_step=1", "trajectory.compared_steps=2", "train.steps=1"));
        assertThat(events("some", "rollout").getFirst()).containsEntry("compared", 4);
    }

    @Test
    void aPreferenceThatNoPairReachesEndsTheRun() throws IOException {
        Recipe recipe = recipe("none", "trajectory.min_preference=0.999");
        assertThatThrownBy(() -> tiny.run(recipe))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("trajectory: no pair of 480 candidates above min_preference 0.999: the reward's"
                        + " temperature (1.0) may be too high; the median difference of scores is");
    }

    @Test
    void whatDoesNotSuitIsRefused() throws IOException {
        Path empty = Files.writeString(folder.resolve("empty.txt"), "\n");
        String[][] runs = {
            {"trajectory.prompts='" + empty + "'", empty + ": expected a prompt, found none"},
            {"trajectory.reward='" + folder.resolve("absent") + "'", "trajectory.reward: reward "},
        };
        for (String[] one : runs) {
            Recipe recipe = recipe("refused", one[0]);
            assertThatThrownBy(() -> tiny.run(recipe)).hasMessageContaining(one[1]);
        }
        String[][] recipes = {
            {"trajectory.eta=0", "trajectory.eta: expected a number above 0 up to 1, since candidates differ in noise"},
            {"trajectory.candidates=1", "trajectory.candidates: expected an integer from 2 to 64, got 1"},
            {"trajectory.first_step=4", "trajectory.first_step: expected an integer from 0 to 3"},
            {"trajectory.compared_steps=5", "trajectory.compared_steps: expected auto or an integer from 1 to 4"},
            {"trajectory.guidance_scale=0.5", "trajectory.guidance_scale: expected a number of 1 or more"},
            {"trajectory.min_preference=1", "trajectory.min_preference: expected a number from 0 to below 1"},
            {"objective.clip=1", "objective.clip: expected"},
            {"evaluate.every=2", "evaluate.every: trajectories have no pairs to hold out; set it to none"},
            {"data.paths=[pairs]", "data.paths: expected no such key, since trajectories generate their own pairs"},
            {"labels.winner=human", "labels: expected no such key, since trajectories rank their own candidates"},
            {"timesteps.end=500", "timesteps: expected no such key, since trajectories have the timesteps of their"},
            {"objective={method: dpo, beta: 10}", "trajectory: dpo trains on stored pairs"},
        };
        for (String[] one : recipes) {
            assertThatThrownBy(() -> recipe("refused", one[0]))
                    .as(one[0])
                    .isInstanceOf(RecipeException.class)
                    .hasMessageContaining(one[1]);
        }
        assertThatThrownBy(() -> tiny.recipe("refused", "objective={method: spo, beta: 10}", "inversion=none"))
                .isInstanceOf(RecipeException.class)
                .hasMessageContaining("trajectory: spo trains on candidates of the policy's own trajectories and none"
                        + " are configured");
    }

    @Test
    void theResolvedRecipeReadsBack() throws IOException {
        Recipe recipe = recipe("read");
        assertThat(Recipe.parse("resolved", recipe.resolved(), List.of())).isEqualTo(recipe);
        assertThat(recipe.resolved()).contains("trajectory:").doesNotContain("labels:", "timesteps:", "paths:");
    }
}
