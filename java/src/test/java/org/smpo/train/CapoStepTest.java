package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.objective.Capo;
import org.smpo.objective.Fronts;
import org.smpo.objective.RewardEnsemble;

/// A step of CaPO on four pairs against torch's autograd in fp64: tools/golden/capo.py, which says how weights,
/// inputs and noise come from their names.
final class CapoStepTest {
    /// Torch in fp32 needs 3.7e-7, relative.
    private static final double ERRORS = 1e-6;

    /// Absolute, for losses of about 0.1: the errors of ERRORS, of which a logit has four times β = 2.
    private static final double LOSS = 1e-6;

    /// Torch in fp32 needs 4.2e-6, relative.
    private static final double GRADIENT = 1e-5;

    private static final Path ROOT = Path.of(System.getProperty("smpo.root"));

    @TempDir
    private static Path folder;

    private static JsonObject golden;

    @BeforeAll
    static void write() throws IOException {
        golden = Json.readObject(ROOT.resolve("java/src/test/resources/org/smpo/train/capo/capo.json"));
        GoldenStep.write(folder, golden);
    }

    private static FloatTensor vector(List<Double> numbers) {
        float[] values = new float[numbers.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = numbers.get(i).floatValue();
        }
        return FloatTensor.of(values, values.length);
    }

    private static Map<String, FloatTensor> run(double beta) throws IOException {
        int pairs = golden.numbers("timesteps").size();
        int height = Math.toIntExact(golden.integer("height"));
        int width = Math.toIntExact(golden.integer("width"));
        Map<String, FloatTensor> batch = new LinkedHashMap<>();
        batch.put("latents_w", GoldenStep.input("capo.latents_w", pairs, 4, height, width));
        batch.put("latents_l", GoldenStep.input("capo.latents_l", pairs, 4, height, width));
        batch.put("prompt_embeds", GoldenStep.input("capo.prompt_embeds", pairs, 77, 12));
        batch.put("timesteps", vector(golden.numbers("timesteps")));
        batch.put("reward_margin", vector(golden.numbers("margins")));
        Trace.Settings settings =
                new Trace.Settings(new Capo(beta, golden.number("bias")), null, "cpu", Precision.FP32, 1, 0, 0, 0);
        return Trace.run(folder.resolve("model"), folder.resolve("policy"), batch, settings);
    }

    @Test
    void aStepAgreesWithAutograd() throws IOException {
        Map<String, FloatTensor> found = run(golden.number("beta"));
        List<?> errors = (List<?>) golden.asMap().get("errors");
        for (int pair = 0; pair < errors.size(); pair++) {
            List<?> wanted = (List<?>) errors.get(pair);
            for (int i = 0; i < 4; i++) {
                double error = ((Number) wanted.get(i)).doubleValue();
                assertThat(found.get("errors." + pair).values()[i] / error - 1)
                        .as("error %d of pair %d", i, pair)
                        .isBetween(-ERRORS, ERRORS);
            }
        }
        double loss = golden.numbers("loss").stream()
                .mapToDouble(Double::doubleValue)
                .average()
                .orElseThrow();
        assertThat(found.get("loss").values()[0] - loss).isBetween(-LOSS, LOSS);
        assertThat(GoldenStep.worstGradient(golden, found)).isLessThan(GRADIENT);
        // The noise of the two images of a pair is not the same: at t = 751 it is nearly all there is.
        assertThat(found.get("noised_w.1").values())
                .isNotEqualTo(found.get("noised_l.1").values());
    }

    private static double[][] matrix(JsonObject group, String name) {
        return ((List<?>) group.asMap().get(name))
                .stream()
                        .map(row -> ((List<?>) row)
                                .stream()
                                        .mapToDouble(value -> ((Number) value).doubleValue())
                                        .toArray())
                        .toArray(double[][]::new);
    }

    /// From scores to pairs, exactly; calibrated scores to rounding.
    @Test
    void groupsGiveThePairsOfTheScript() throws IOException {
        List<JsonObject> groups = golden.objects("groups");
        assertThat(groups).hasSize(4);
        for (JsonObject group : groups) {
            double[][] scores = matrix(group, "scores");
            RewardEnsemble ensemble = RewardEnsemble.of(Collections.nCopies(scores[0].length, 1.0));
            double[][] calibrated = ensemble.calibrated(scores);
            double[][] wanted = matrix(group, "calibrated");
            for (int image = 0; image < scores.length; image++) {
                for (int reward = 0; reward < scores[0].length; reward++) {
                    assertThat(calibrated[image][reward]).isCloseTo(wanted[image][reward], within(1e-14));
                }
            }
            Fronts fronts = Fronts.of(scores);
            assertThat(fronts.upper().stream().map(Integer::longValue).toList()).isEqualTo(group.integers("upper"));
            assertThat(fronts.lower().stream().map(Integer::longValue).toList()).isEqualTo(group.integers("lower"));
            List<Fronts.Candidate> pairs = new ArrayList<>();
            for (double[] pair : matrix(group, "pairs")) {
                pairs.add(new Fronts.Candidate((int) pair[0], (int) pair[1]));
            }
            assertThat(fronts.pairs(ensemble.combined(RewardEnsemble.Combination.CALIBRATED, scores)))
                    .isEqualTo(pairs);
        }
    }

    /// The comparisons notice another strength.
    @Test
    void anotherBetaIsNoticed() throws IOException {
        assertThat(GoldenStep.worstGradient(golden, run(golden.number("beta") * (1 + 4 * GRADIENT))))
                .isGreaterThan(GRADIENT);
    }
}
