package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.ffi.CpuFeature;
import org.smpo.ffi.CpuInfo;
import org.smpo.recipe.Recipe;

/// The same seed gives the same bits, also after stopping and resuming; other batch sizes give the same
/// numbers.
final class ExactnessTest {
    private static final Path GOLDEN =
            Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/train/ten_losses.txt");

    // The order of sums depends on the CPU and on batch sizes. A loss is a mean over errors of some
    // hundred terms in fp32 (2^-24 each), after some thirty layers, and Adam divides each update by a gradient of
    // the same error: 2^-24 x sqrt(100 terms x 30 layers) x 10 steps is 3.3e-5 for one of two runs. Their difference
    // is sqrt(2) times that, and the largest of ten is about three deviations.
    private static final double ROUNDING = 1.5e-4;

    private static final double NINE_DIGITS = 1e-9;

    /// Which instructions ATen, oneDNN and MKL may use; MKL then also sums in one order on every CPU.
    private static final Map<String, String> SAME_EVERYWHERE =
            Map.of("ATEN_CPU_CAPABILITY", "avx2", "ONEDNN_MAX_CPU_ISA", "AVX2", "MKL_CBWR", "COMPATIBLE");

    private static final String POLICY = "checkpoints/step-000006/policy.safetensors";

    @TempDir
    private Path temporary;

    @Test
    void sameSeedSameBits() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe("run"));
        tiny.rename("run", "first");
        tiny.run(tiny.recipe("run"));
        assertThat(tiny.left("first")).containsKeys("model/model_index.json", "recipe.yaml", "manifest.json");
        tiny.assertSame("run", tiny.left("first"));
        tiny.run(tiny.recipe("threads", "data.decode_threads=8"));
        assertThat(tiny.log("threads")).isEqualTo(tiny.log("first"));
        assertThat(tiny.left("threads"))
                .containsEntry(POLICY, tiny.left("first").get(POLICY));
        tiny.run(tiny.recipe("other", "seed=8"));
        assertThat(tiny.left("other").get(POLICY))
                .isNotEqualTo(tiny.left("first").get(POLICY));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    full, AdamW, EMA             | 3 | train.ema=0.9;inversion.network=ema
                    full, Adafactor, one by one  | 1 | optimizer={name: adafactor, scale_parameter: true, beta1: 0.9}
                    LoRA, AdamW, EMA             | 4 | train.weights={type: lora, rank: 2, alpha: 4};train.ema=0.5;inversion.network=ema;export.formats=[diffusers, lora_peft, lora_kohya]
                    LoRA, Adafactor              | 5 | train.weights={type: lora, rank: 2, alpha: 4};inversion.network=reference;optimizer={name: adafactor, relative_step: true, warmup_init: true, scale_parameter: true};learning_rate=none
                    """)
    void stoppedAndResumedIsTheSame(String name, int stop, String overrides) throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        String[] all = (overrides + ";evaluate.every=2;samples={every: 3, prompts: [a cat], steps: 2}").split(";");
        Recipe recipe = tiny.recipe("run", all);
        tiny.run(recipe);
        tiny.rename("run", "whole");
        tiny.runInTwo(recipe, stop);
        assertThat(tiny.left("whole")).as(name).containsKeys(POLICY, "samples/step-000003/000-0.png");
        tiny.assertSame("run", tiny.left("whole"));
        assertThat(Checkpoint.all(tiny.output("run").resolve("checkpoints"))).hasSize(2);
        // Once more after the end: only the model is written again.
        tiny.run(recipe, true, new TinyRun.Said());
        tiny.assertSame("run", tiny.left("whole"));
    }

    /// KTO's pairs are coupled by the mean of their gains.
    @ParameterizedTest
    @ValueSource(strings = {"smpo", "kto"})
    void microBatchesAgreeToRounding(String method) throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        List<String> overrides = new ArrayList<>(List.of("objective={method: " + method + ", beta: 2000}"));
        if (method.equals("kto")) {
            overrides.add("inversion=none");
        }
        for (int size = 1; size <= 3; size++) {
            overrides.add("train.micro_batch=" + size);
            tiny.run(tiny.recipe("of" + size, overrides.toArray(String[]::new)));
        }
        assertClose(tiny.losses("of1"), tiny.losses("of3"), ROUNDING);
        assertClose(tiny.losses("of2"), tiny.losses("of3"), ROUNDING);
    }

    /// Nine digits on every CPU: the libraries in this process use AVX2 at most, and therefore sum in
    /// the same order on every CPU that has it. Our own kernels always sum in one order. A run that
    /// uses all instructions of its CPU differs by rounding only.
    @Test
    void tenLossesAreTheCommittedOnes() throws IOException, InterruptedException {
        assumeThat(CpuInfo.read().features())
                .as("the libraries' sums are pinned to AVX2, which this CPU lacks")
                .contains(CpuFeature.AVX2);
        TinyRun tiny = TinyRun.in(temporary, 9);
        String[] overrides = {"train.steps=10", "checkpoint.every=none"};
        Process child = TrainerChild.start(temporary, "ten", SAME_EVERYWHERE, overrides);
        String said = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(child.waitFor()).as(said).isZero();
        double[] losses = tiny.losses("ten");
        if (Boolean.getBoolean("smpo.write")) {
            Files.createDirectories(GOLDEN.getParent());
            Files.write(GOLDEN, Arrays.stream(losses).mapToObj(Double::toString).toList());
        }
        double[] expected = Files.readAllLines(GOLDEN).stream()
                .mapToDouble(Double::parseDouble)
                .toArray();
        assertThat(losses).hasSize(10);
        assertClose(losses, expected, NINE_DIGITS);
        double[] mutated = expected.clone();
        mutated[9] *= 1 + 2 * NINE_DIGITS;
        assertThatThrownBy(() -> assertClose(losses, mutated, NINE_DIGITS)).isInstanceOf(AssertionError.class);

        tiny.run(tiny.recipe("own", overrides));
        double[] own = tiny.losses("own");
        assertClose(own, expected, ROUNDING);
        mutated[9] *= 1 + 2 * ROUNDING;
        assertThatThrownBy(() -> assertClose(own, mutated, ROUNDING)).isInstanceOf(AssertionError.class);
        System.out.println("largest relative difference from the committed losses: " + largest(losses, expected)
                + " pinned, " + largest(own, expected) + " with all that this CPU has");
    }

    private static double largest(double[] found, double[] expected) {
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            largest = Math.max(largest, Math.abs(found[i] - expected[i]) / Math.abs(expected[i]));
        }
        return largest;
    }

    private static void assertClose(double[] found, double[] expected, double tolerance) {
        assertThat(found).hasSameSizeAs(expected);
        assertThat(largest(found, expected)).isLessThan(tolerance);
    }
}
