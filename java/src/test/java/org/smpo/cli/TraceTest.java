package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.FloatTensor;
import org.smpo.random.Synthetic;

/// `smpo trace` as a user runs it. `org.smpo.train.TraceTest` compares its numbers with the published
/// algorithm.
final class TraceTest {
    @TempDir
    private static Path folder;

    private static Path model;
    private static Path batch;

    @BeforeAll
    static void write() throws IOException {
        model = TinyModels.writeRunnable(folder.resolve("model"));
        batch = folder.resolve("batch.safetensors");
        FloatTensor.writeAll(batch, tensors(), Map.of());
    }

    private static Map<String, FloatTensor> tensors() {
        Map<String, FloatTensor> tensors = new LinkedHashMap<>();
        for (String name : List.of("latents_w", "latents_l")) {
            tensors.put(name, FloatTensor.of(Synthetic.normalLike(name, 2 * 4 * 4 * 4), 2, 4, 4, 4));
        }
        tensors.put("prompt_embeds", FloatTensor.of(Synthetic.normalLike("prompt_embeds", 2 * 7 * 20), 2, 7, 20));
        tensors.put("timesteps", FloatTensor.of(new float[] {0, 300}, 2));
        tensors.put("p", FloatTensor.of(new float[] {0.6f, 0.55f}, 2));
        return tensors;
    }

    private static Outcome trace(Path batch, Path out, Object... more) {
        List<Object> arguments = new ArrayList<>(List.of("trace", model, "--batch", batch, "--out", out));
        arguments.addAll(List.of("--threads", 1));
        arguments.addAll(List.of(more));
        return smpo(arguments.toArray());
    }

    @Test
    void writesEveryIntermediateAndGradient() throws IOException {
        Path out = folder.resolve("out.safetensors");
        Outcome outcome = trace(batch, out);
        assertThat(outcome.code()).as(outcome.err()).isZero();
        Map<String, FloatTensor> result = FloatTensor.readAll(out);
        assertThat(outcome.out()).matches("loss 0\\.6931\\d*, " + result.size() + " tensors\\s+");
        for (int pair = 0; pair < 2; pair++) {
            for (String kind : List.of("noised", "target", "pred", "ref_pred")) {
                for (String side : List.of("_w.", "_l.")) {
                    assertThat(result.get(kind + side + pair).shape()).containsExactly(4L, 4L, 4L);
                }
            }
            assertThat(result.get("errors." + pair).shape()).containsExactly(4L);
        }
        assertThat(result.get("loss").shape()).isEmpty();
        assertThat(result.get("grad.conv_in.weight").values()).doesNotContain(Float.NaN);
    }

    @Test
    void everyObjectiveRuns() throws IOException {
        for (String objective : List.of("dpo", "inpo", "dmpo", "ipo", "sft")) {
            Path out = folder.resolve(objective + ".safetensors");
            Outcome outcome = trace(batch, out, "--objective", objective, "--beta", 10);
            assertThat(outcome.code()).as(outcome.err()).isZero();
            Map<String, FloatTensor> result = FloatTensor.readAll(out);
            assertThat(result.containsKey("ref_pred_w.0")).isEqualTo(!objective.equals("sft"));
            assertThat(result.get("loss").values()[0]).isFinite();
        }
    }

    @Test
    void microBatchAndInversionBatchAreRead() throws IOException {
        Path one = folder.resolve("one.safetensors");
        Path all = folder.resolve("all.safetensors");
        assertThat(trace(batch, one, "--micro-batch", 1, "--slots", 1).code()).isZero();
        assertThat(trace(batch, all).code()).isZero();
        assertThat(FloatTensor.readAll(one).keySet())
                .isEqualTo(FloatTensor.readAll(all).keySet());
    }

    @Test
    void wrongUsageIsSaid() {
        Path out = folder.resolve("unused.safetensors");
        assertThat(smpo("trace").code()).isEqualTo(2);
        assertThat(smpo("trace", model, "--out", out).err()).contains("--batch");
        assertThat(smpo("trace", model, "--batch", batch).err()).contains("--out");
        assertUsage(
                "--objective: expected smpo, dpo, inpo, dmpo, ipo, sft, hinge, robust, npo, kto, mapo, capo, tailorpo,"
                        + " spo or selfnpo, got ppo",
                "--objective",
                "ppo");
        assertUsage("--inversion: expected one of v020, v022, exact, got v021", "--inversion", "v021");
        assertUsage("--renoise: expected one of every_step, last_step, none, got always", "--renoise", "always");
        assertUsage("--precision: expected one of fp32, bf16, got fp8", "--precision", "fp8");
        assertUsage("--micro-batch: expected 0 or more, got -1", "--micro-batch", -1);
        assertUsage("--slots: expected 0 or more, got -2", "--slots", -2);
        assertUsage("steps: expected 1 or more, got 0", "--steps", 0);
        assertUsage("--steps", "--steps", "five");
        assertUsage("device: expected auto, cpu, cuda or cuda:N, got gpu", "--device", "gpu");
        assertUsage("--threads: expected 0 or more, got -1", "--threads", -1);
        assertUsage("beta", "--beta", "NaN");
        assertUsage("eta", "--objective", "inpo", "--eta", 2);
        assertThat(Files.exists(out)).isFalse();
    }

    private static void assertUsage(String message, Object... options) {
        List<Object> arguments =
                new ArrayList<>(List.of("trace", model, "--batch", batch, "--out", folder.resolve("unused")));
        arguments.addAll(List.of(options));
        Outcome outcome = smpo(arguments.toArray());
        assertThat(outcome.code()).as(outcome.err()).isEqualTo(2);
        assertThat(outcome.err()).contains(message);
    }

    @Test
    void badBatchesAreSaid() throws IOException {
        assertFails(folder.resolve("missing.safetensors"), "missing.safetensors");
        Path broken = folder.resolve("broken.safetensors");
        Files.write(broken, new byte[] {1, 2, 3});
        assertFails(broken, "broken.safetensors");
        Map<String, FloatTensor> tensors = tensors();
        tensors.remove("latents_l");
        assertFails(tensors, "batch: expected a tensor latents_l, found");
        tensors = tensors();
        tensors.put("timesteps", FloatTensor.of(new float[] {1, 2, 3}, 3));
        assertFails(tensors, "batch: timesteps: expected 1 dimensions, the first of 2, got [3]");
        tensors = tensors();
        tensors.put("timesteps", FloatTensor.of(new float[] {1, 1.5f}, 2));
        assertFails(tensors, "batch: timesteps: expected whole numbers, got 1.5");
        tensors = tensors();
        tensors.put("prompt_embeds", FloatTensor.of(new float[2 * 7 * 21], 2, 7, 21));
        assertFails(tensors, "encoder_hidden_states: expected [");
        tensors = tensors();
        tensors.put("latents_l", FloatTensor.of(new float[2 * 4 * 4 * 6], 2, 4, 4, 6));
        assertFails(tensors, "batch: latents_l: expected shape [2, 4, 4, 4] as latents_w, got [2, 4, 4, 6]");
        tensors = tensors();
        tensors.put("pooled", FloatTensor.of(new float[6], 2, 3));
        tensors.put("time_ids", FloatTensor.of(new float[12], 2, 6));
        assertFails(tensors, "since the UNet has no text_time embedding");
    }

    private static void assertFails(Map<String, FloatTensor> tensors, String message) throws IOException {
        Path file = folder.resolve("bad.safetensors");
        FloatTensor.writeAll(file, tensors, Map.of());
        assertFails(file, message);
    }

    private static void assertFails(Path file, String message) {
        Path out = folder.resolve("not-written.safetensors");
        Outcome outcome = trace(file, out);
        assertThat(outcome.code()).as(outcome.err()).isEqualTo(1);
        assertThat(outcome.err()).contains(message);
        assertThat(Files.exists(out)).isFalse();
    }
}
