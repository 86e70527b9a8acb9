package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.PairResults;
import org.smpo.ffi.ParameterInfo;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.network.UNet;
import org.smpo.objective.Kto;
import org.smpo.objective.PairLoss;
import org.smpo.random.Synthetic;
import org.smpo.schedule.NoiseSchedule;

/// A step of KTO on five single images against torch's autograd in fp64: tools/golden/kto_single.py, which says how
/// weights, inputs and noise come from their names.
final class KtoStepTest {
    /// Torch in fp32 needs 1.7e-7, relative.
    private static final double ERRORS = 1e-6;

    /// Torch in fp32 needs 2.8e-7, relative.
    private static final double LOSS = 1e-6;

    /// Relative; the reference point is a mean of small differences of errors, for which torch in fp32 needs 5.8e-5.
    private static final double MEAN_GAIN = 2e-4;

    /// Torch in fp32 needs 4.8e-6, relative, and another order of sums 1.3e-5: the gradients of desirable and
    /// undesirable images cancel.
    private static final double GRADIENT = 2e-5;

    private static final Path ROOT = Path.of(System.getProperty("smpo.root"));

    @TempDir
    private static Path folder;

    private static JsonObject golden;
    private static JsonObject network;

    @BeforeAll
    static void write() throws IOException {
        golden = Json.readObject(ROOT.resolve("java/src/test/resources/org/smpo/train/kto/kto.json"));
        network = GoldenStep.network();
        GoldenStep.writeUnet(network, folder.resolve("policy"), 0);
        GoldenStep.writeUnet(
                network,
                folder.resolve("reference"),
                Math.scalb(1f, -Math.toIntExact(golden.integer("perturbation_bits"))));
    }

    private record Found(PairResults results, Map<String, float[]> gradients) {}

    private static Found run(double beta, int microBatch) throws IOException {
        int images = golden.numbers("timesteps").size();
        int height = Math.toIntExact(golden.integer("height"));
        int width = Math.toIntExact(golden.integer("width"));
        int[] timesteps =
                golden.numbers("timesteps").stream().mapToInt(Double::intValue).toArray();
        boolean[] desirable = new boolean[images];
        long[] items = new long[images];
        for (int i = 0; i < images; i++) {
            desirable[i] = golden.numbers("desirable").get(i) == 1;
            items[i] = 2L * i;
        }
        try (ModelFiles policyFiles = ModelFiles.open(folder.resolve("policy"));
                ModelFiles referenceFiles = ModelFiles.open(folder.resolve("reference"));
                Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1).withSeed(0));
                UNet policy = UNet.load(engine, policyFiles.unetOrOnly(), new ModelOptions(DType.F32, true, false));
                UNet reference = UNet.load(engine, referenceFiles.unetOrOnly(), ModelOptions.frozen(DType.F32));
                PairLatents latents = new PairLatents(
                        engine.fromHost(
                                Synthetic.normalLike("kto.latents", images * 4 * height * width),
                                images,
                                4,
                                height,
                                width),
                        engine.fromHost(Synthetic.normalLike("kto.prompt_embeds", images * 77 * 12), images, 77, 12),
                        null,
                        null,
                        timesteps,
                        null,
                        null,
                        items,
                        true,
                        desirable)) {
            NoiseSchedule schedule =
                    NoiseSchedule.fromConfig(network.object("scheduler").asMap());
            PreferenceStep step = new PreferenceStep(engine, schedule, PairLoss.of(new Kto(beta, 1, 1)), null, 1);
            StepResults results = step.run(
                    latents, new Networks(policy.network(), reference.network(), null), 0, microBatch, images, true);
            Map<String, float[]> gradients = new LinkedHashMap<>();
            for (ParameterInfo parameter : policy.network().parameters()) {
                gradients.put(parameter.name(), policy.network().readGradient(parameter));
            }
            return new Found(results.pairs(), gradients);
        }
    }

    @Test
    void aStepAgreesWithAutogradForEveryMicroBatch() throws IOException {
        for (int microBatch : new int[] {2, 5}) {
            Found found = run(golden.number("beta"), microBatch);
            PairResults results = found.results();
            List<?> errors = (List<?>) golden.asMap().get("errors");
            for (int image = 0; image < errors.size(); image++) {
                double[] both = {results.policyWinner()[image], results.referenceWinner()[image]};
                for (int i = 0; i < 2; i++) {
                    double error = ((Number) ((List<?>) errors.get(image)).get(i)).doubleValue();
                    assertThat(both[i] / error - 1)
                            .as("error %d of image %d", i, image)
                            .isBetween(-ERRORS, ERRORS);
                }
                assertThat(results.loss()[image] / golden.numbers("loss").get(image) - 1)
                        .as("loss of image %d", image)
                        .isBetween(-LOSS, LOSS);
            }
            assertThat(golden.number("z0")).isPositive();
            assertThat(results.meanGain() / golden.number("z0") - 1).isBetween(-MEAN_GAIN, MEAN_GAIN);
            double mean = golden.numbers("loss").stream()
                    .mapToDouble(Double::doubleValue)
                    .average()
                    .orElseThrow();
            assertThat(results.lossSum() / mean - 1).isBetween(-LOSS, LOSS);
            assertThat(results.isSingle()).isTrue();
            assertThat(GoldenStep.worstGradient(golden, found.gradients()::get)).isLessThan(GRADIENT);
        }
    }

    /// The comparisons notice another strength.
    @Test
    void anotherBetaIsNoticed() throws IOException {
        Found other = run(golden.number("beta") * (1 + 4 * GRADIENT), 5);
        assertThat(GoldenStep.worstGradient(golden, other.gradients()::get)).isGreaterThan(GRADIENT);
    }
}
