package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.smpo.recipe.Recipe;

/// Same seed, same bits; stopped and resumed, the same bits; other batches, the same numbers.
final class ExactnessTest {
    private static final Path GOLDEN =
            Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/train/ten_losses.txt");

    // Kernels sum in other orders on other kinds of CPU and in other batches. A loss is a mean over errors of some
    // hundred terms in fp32 (2^-24 each), after some thirty layers, and Adam divides each update by a gradient of
    // the same error: 2^-24 x sqrt(100 terms x 30 layers) x 10 steps is 3e-5.
    private static final double ROUNDING = 1e-4;

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
        // Once more after its end: nothing is left to do but to write the model again.
        tiny.run(recipe, true, new TinyRun.Said());
        tiny.assertSame("run", tiny.left("whole"));
    }

    @Test
    void microBatchesAgreeToRounding() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe("one", "train.micro_batch=1"));
        tiny.run(tiny.recipe("two"));
        tiny.run(tiny.recipe("all", "train.micro_batch=3"));
        assertClose(tiny.losses("one"), tiny.losses("all"));
        assertClose(tiny.losses("two"), tiny.losses("all"));
    }

    @Test
    void tenLossesAreTheCommittedOnes() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe("ten", "train.steps=10", "checkpoint.every=none"));
        double[] losses = tiny.losses("ten");
        List<String> lines = Arrays.stream(losses).mapToObj(Double::toString).toList();
        if (Boolean.getBoolean("smpo.write")) {
            Files.createDirectories(GOLDEN.getParent());
            Files.write(GOLDEN, lines);
        }
        double[] expected = Files.readAllLines(GOLDEN).stream()
                .mapToDouble(Double::parseDouble)
                .toArray();
        assertThat(losses).hasSize(10);
        assertClose(losses, expected);
        // On the kind of CPU that they were made on (AVX2, one thread) they are equal to nine digits; what the
        // tolerance above allows is not noticed here, a tenth of a per cent is.
        double[] mutated = expected.clone();
        mutated[9] *= 1.001;
        assertThatThrownBy(() -> assertClose(losses, mutated)).isInstanceOf(AssertionError.class);
        System.out.println("largest relative difference from the committed losses: " + largest(losses, expected));
    }

    private static double largest(double[] found, double[] expected) {
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            largest = Math.max(largest, Math.abs(found[i] - expected[i]) / Math.abs(expected[i]));
        }
        return largest;
    }

    private static void assertClose(double[] found, double[] expected) {
        assertThat(found).hasSameSizeAs(expected);
        assertThat(largest(found, expected)).isLessThan(ROUNDING);
    }
}
