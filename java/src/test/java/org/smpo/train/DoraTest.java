package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.data.PairSource;
import org.smpo.data.PairWeights;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.ParameterInfo;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.network.UNet;
import org.smpo.objective.Dora;
import org.smpo.objective.Dpo;
import org.smpo.objective.PairLoss;
import org.smpo.recipe.Recipe;
import org.smpo.schedule.NoiseSchedule;

/// DoRA's weights of the pairs of a batch: one step against torch's autograd over the whole batch
/// (tools/golden/dora.py), and whole runs.
final class DoraTest {
    private static final int PAIRS = 9;
    private static final Path GOLDEN =
            Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/train/dora/dora.json");

    /// Relative; torch in fp32 needs 1e-6 and 6.4e-6.
    private static final double LOSS = 3e-6;

    private static final double GRADIENT = 1.5e-5;

    /// The same for micro-batches of one pair. MKL adds up a product with the two rows of a pair, in the layers of the
    /// time embedding, in another order than one with eight, so losses and weights differ by 1e-6.
    private static final double GRADIENT_OF_ONE_PAIR = 3e-5;

    private static final String[] DORA = {
        "objective={method: dpo, beta: 500, dora: {lambda: 0.5}}",
        "inversion=none",
        "learning_rate={value: 2e-4, schedule: constant, warmup_steps: 0}",
        "train.max_grad_norm=1"
    };

    @TempDir
    private Path temporary;

    private static double[] doubles(List<Double> numbers) {
        return numbers.stream().mapToDouble(Double::doubleValue).toArray();
    }

    private static String[] with(String[] overrides, String... more) {
        String[] all = Arrays.copyOf(overrides, overrides.length + more.length);
        System.arraycopy(more, 0, all, overrides.length, more.length);
        return all;
    }

    /// L and its derivatives, given the losses of the pairs.
    @Test
    void theLossOfABatchIsTorchs() throws IOException {
        JsonObject golden = Json.readObject(GOLDEN);
        Dora dora = new Dora(golden.number("lambda"));
        double[] losses = doubles(golden.numbers("loss"));
        double[] ratios = doubles(golden.numbers("ratios"));
        assertThat(dora.value(losses, ratios)).isCloseTo(golden.number("value"), within(1e-9));
        assertThat(dora.factors(losses, ratios)).containsExactly(doubles(golden.numbers("factors")), within(1e-9));
        double[] weights = dora.weights(losses, ratios);
        for (int i = 0; i < weights.length; i++) {
            assertThat(weights[i]).isCloseTo(4 * golden.numbers("factors").get(i), within(4e-9));
        }
    }

    /// With a large λ only the ratios remain, and in a batch of one pair nothing else is left either.
    @Test
    void aLargeLambdaOrASinglePairLeavesTheRatios() {
        double[] losses = {0.55, 1.17, 0.74};
        double[] ratios = {1.2, 0.7, 1.1};
        assertThat(new Dora(1e9).weights(losses, ratios)).containsExactly(ratios, within(1e-6));
        assertThat(new Dora(1).weights(new double[] {0.4}, new double[] {1.3})).containsExactly(1.3);
        double[] broken = {0.5, Double.NaN, 0.5};
        assertThat(new Dora(1).weights(broken, ratios)).containsExactly(ratios);
    }

    /// Results and gradients of the golden step.
    private record Step(StepResults results, Map<String, FloatTensor> gradients) {}

    private Step step(JsonObject golden, int microBatch, double lambda) throws IOException {
        Path folder = temporary;
        GoldenStep.write(folder, golden);
        int pairs = golden.numbers("ratios").size();
        int height = Math.toIntExact(golden.integer("height"));
        int width = Math.toIntExact(golden.integer("width"));
        float[] winners =
                GoldenStep.input("dora.latents_w", pairs, 4, height, width).values();
        float[] losers =
                GoldenStep.input("dora.latents_l", pairs, 4, height, width).values();
        float[] both = Arrays.copyOf(winners, 2 * winners.length);
        System.arraycopy(losers, 0, both, winners.length, losers.length);
        FloatTensor words = GoldenStep.input("dora.prompt_embeds", pairs, 77, 12);
        int[] timesteps = new int[2 * pairs];
        Arrays.fill(timesteps, Math.toIntExact(golden.integer("timestep")));
        long[] items = new long[2 * pairs];
        Arrays.setAll(items, i -> i < pairs ? 2L * i : 2L * (i - pairs) + 1);
        try (ModelFiles files = ModelFiles.open(folder.resolve("model/unet"));
                ModelFiles policyFiles = ModelFiles.open(folder.resolve("policy"));
                Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1));
                UNet policy = UNet.load(
                        engine, policyFiles.unetOrOnly(), new ModelOptions(Precision.FP32.dtype(), true, false));
                UNet reference = UNet.load(engine, files.unetOrOnly(), ModelOptions.frozen(Precision.FP32.dtype()));
                PairLatents latents = new PairLatents(
                        engine.fromHost(both, 2L * pairs, 4, height, width),
                        engine.fromHost(words.values(), words.sizes()),
                        null,
                        null,
                        timesteps,
                        null,
                        doubles(golden.numbers("ratios")),
                        items,
                        false,
                        null)) {
            NoiseSchedule schedule =
                    NoiseSchedule.fromConfig(Json.readObject(folder.resolve("model/scheduler/scheduler_config.json"))
                            .asMap());
            PairLoss loss = PairLoss.of(new Dpo(golden.number("beta"), golden.number("kappa")));
            StepResults results = new PreferenceStep(engine, schedule, loss, null, 1)
                    .withDora(Optional.of(new Dora(lambda)))
                    .run(
                            latents,
                            new Networks(policy.network(), reference.network(), null),
                            0,
                            microBatch,
                            pairs,
                            true);
            Map<String, FloatTensor> gradients = new LinkedHashMap<>();
            for (ParameterInfo parameter : policy.network().parameters()) {
                float[] values = policy.network().readGradient(parameter);
                gradients.put("grad." + parameter.name(), FloatTensor.of(values, values.length));
            }
            return new Step(results, gradients);
        }
    }

    @Test
    void aStepAgreesWithAutogradOverTheWholeBatch() throws IOException {
        JsonObject golden = Json.readObject(GOLDEN);
        Step whole = step(golden, 4, golden.number("lambda"));
        assertThat(whole.results().weightedLoss().orElseThrow() / golden.number("value") - 1)
                .isBetween(-LOSS, LOSS);
        double[] losses = whole.results().pairs().loss();
        assertThat(losses).containsExactly(doubles(golden.numbers("loss")), within(LOSS));
        assertThat(whole.results().loss())
                .isEqualTo(Arrays.stream(losses).average().orElseThrow());
        assertThat(whole.results().effectivePairs().orElseThrow()).isBetween(1.0, 4.0);
        assertThat(GoldenStep.worstGradient(golden, whole.gradients())).isLessThan(GRADIENT);
        // Micro-batches of one pair give the same, since the weights are those of the whole batch.
        Step single = step(golden, 1, golden.number("lambda"));
        assertThat(GoldenStep.worstGradient(golden, single.gradients())).isLessThan(GRADIENT_OF_ONE_PAIR);
        assertThat(single.results().weight()).containsExactly(whole.results().weight(), within(5e-6));
        // Another λ is noticed.
        assertThat(GoldenStep.worstGradient(
                        golden, step(golden, 4, golden.number("lambda") * 1.001).gradients()))
                .isGreaterThan(GRADIENT_OF_ONE_PAIR);
    }

    private Path weights(TinyRun tiny, double first) throws IOException {
        return weights(temporary.resolve("weights-" + first + ".parquet"), tiny, PAIRS, first);
    }

    /// Writes density ratios: `first` for each third pair, 1 for the others.
    static Path weights(Path file, TinyRun tiny, int pairs, double first) throws IOException {
        try (PairSource data = PairSource.open(tiny.data())) {
            List<PairWeights.Row> rows = new ArrayList<>();
            for (int i = 0; i < pairs; i++) {
                rows.add(new PairWeights.Row("p" + i, i % 3 == 0 ? first : 1, 1));
            }
            PairWeights.write(file, data, rows, new TreeMap<>());
        }
        return file;
    }

    @Test
    void aRunLogsItsLossAndSharesTheTimestep() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, PAIRS);
        String file = "labels.weights=" + weights(tiny, 0.2);
        TrainingResult result = tiny.run(tiny.recipe("run", with(DORA, file)), false, new TinyRun.Said());
        assertThat(result.finished()).as(result.reason()).isTrue();
        assertThat(tiny.log("run"))
                .filteredOn(event -> event.get("event").equals("step"))
                .hasSize(6)
                .allSatisfy(event -> {
                    assertThat(((Number) event.get("weighted_loss")).doubleValue())
                            .isPositive();
                    assertThat(((Number) event.get("effective_pairs")).doubleValue())
                            .isBetween(1.0, 3.0);
                    // All pairs of the step are in one bucket of timesteps.
                    assertThat((List<?>) event.get("margins")).hasSize(1);
                });
        Recipe apart = tiny.recipe("apart", with(DORA, file, "timesteps.shared=false"));
        tiny.run(apart, false, new TinyRun.Said());
        assertThat(tiny.log("apart"))
                .anySatisfy(event -> assertThat((List<?>) event.get("margins")).hasSizeGreaterThan(1));
        assertThat(Recipe.parse("again", apart.resolved(), List.of())).isEqualTo(apart);
    }

    @Test
    void itResumesBitForBit() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, PAIRS);
        Recipe recipe = tiny.recipe("run", with(DORA, "labels.weights=" + weights(tiny, 0.2), "train.micro_batch=1"));
        tiny.run(recipe);
        Map<String, String> whole = tiny.left("run");
        tiny.rename("run", "whole");
        tiny.runInTwo(recipe, 3);
        tiny.assertSame("run", whole);
    }

    /// The loss of the batch changes the weights that are learned, and so do the ratios.
    @Test
    void theWeightsMatter() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, PAIRS);
        tiny.run(tiny.recipe("dora", with(DORA, "labels.weights=" + weights(tiny, 0.2))));
        tiny.run(tiny.recipe("ratios", with(DORA, "labels.weights=" + weights(tiny, 3))));
        tiny.run(tiny.recipe("none", with(DORA, "objective.dora=none", "timesteps.shared=true")));
        String dora = tiny.left("dora").get("checkpoints/step-000006/policy.safetensors");
        assertThat(dora)
                .isNotNull()
                .isNotEqualTo(tiny.left("ratios").get("checkpoints/step-000006/policy.safetensors"))
                .isNotEqualTo(tiny.left("none").get("checkpoints/step-000006/policy.safetensors"));
    }

    @Test
    void otherLossesAndLambdasAreRefused() throws IOException {
        TinyRun tiny = TinyRun.in(temporary, PAIRS);
        assertThatThrownBy(() -> tiny.recipe("kto", "objective={method: kto, beta: 500, dora: {}}", "inversion=none"))
                .hasMessageContaining(
                        "objective.dora: it weighs the losses of pairs, and the loss of kto is not a sum");
        assertThatThrownBy(() -> tiny.recipe("zero", with(DORA, "objective.dora.lambda=0")))
                .hasMessageContaining("lambda: expected a finite number > 0, got 0.0");
        assertThatThrownBy(() -> tiny.recipe("typo", with(DORA, "objective.dora.lamda=1")))
                .hasMessageContaining("lamda");
        Recipe sft = tiny.recipe("sft", "objective={method: sft, dora: {lambda: 2}}", "inversion=none");
        assertThat(sft.objective().dora()).contains(new Dora(2));
    }

    @Test
    void fewPairsAreWarnedAbout() {
        assertThat(Health.fewPairs(OptionalDouble.of(6), 64).orElseThrow().message())
                .startsWith("6.0 of 64 pairs carry the step");
        assertThat(Health.fewPairs(OptionalDouble.of(7), 64)).isEmpty();
        assertThat(Health.fewPairs(OptionalDouble.empty(), 64)).isEmpty();
    }
}
