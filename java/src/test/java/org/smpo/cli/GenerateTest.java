package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;
import static org.smpo.cli.Outcome.with;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.Png;
import org.smpo.io.Safetensors;
import org.smpo.io.TorchWriter;
import org.smpo.schedule.Sampler;
import org.smpo.train.TinyRun;

/// `smpo generate` as a user runs it, on a small model with made-up weights.
final class GenerateTest {
    @TempDir
    private Path temporary;

    @Test
    void imagesDoNotDependOnTheBatch() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Path together = temporary.resolve("together");
        Path alone = temporary.resolve("alone");
        for (Sampler.Kind sampler : Sampler.Kind.values()) {
            Outcome both = smpo(
                    "generate",
                    model,
                    "--prompt",
                    "a cat",
                    "--seed",
                    "3,4",
                    "--steps",
                    3,
                    "--height",
                    64,
                    "--width",
                    72,
                    "--batch",
                    2,
                    "--sampler",
                    sampler.id(),
                    "--out",
                    together);
            assertThat(both.code()).as(both.err()).isZero();
            assertThat(both.err()).contains(" 100%");
            Outcome one = smpo(
                    "generate",
                    model,
                    "--prompt",
                    "a cat",
                    "--seed",
                    4,
                    "--steps",
                    3,
                    "--height",
                    64,
                    "--width",
                    72,
                    "--sampler",
                    sampler.id(),
                    "--out",
                    alone);
            assertThat(one.code()).as(one.err()).isZero();
            Png second = Png.read(together.resolve("00001-4.png"));
            Png same = Png.read(alone.resolve("00000-4.png"));
            assertThat(second.image().width()).isEqualTo(72);
            assertThat(second.text().get("smpo")).contains("\"a cat\"", sampler.id());
            byte[] a = second.image().rgb();
            byte[] b = same.image().rgb();
            byte[] other = Png.read(together.resolve("00000-3.png")).image().rgb();
            // Rounding depends on the batch, so a value may fall on the other side of a half.
            assertThat(largestDifference(a, b)).as(sampler.id()).isLessThanOrEqualTo(1);
            assertThat(largestDifference(a, other)).as(sampler.id()).isGreaterThan(1);
        }
        assertThat(together.resolve("sheet.png")).exists();
    }

    /// Memory does not grow with the number of images: the sheet shows the first ones, and latents go to
    /// their file at once.
    @Test
    void aLongListHasASheetOfItsFirstImages() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Path prompts = temporary.resolve("prompts.txt");
        Files.writeString(prompts, "a cat\n".repeat(33));
        Path out = temporary.resolve("out");
        Path latents = temporary.resolve("latents.safetensors");
        Outcome outcome = smpo(
                "generate",
                model,
                "--prompt-file",
                prompts,
                "--seed",
                "1,2",
                "--steps",
                1,
                "--batch",
                8,
                "--height",
                64,
                "--width",
                64,
                "--save-latents",
                latents,
                "--out",
                out);
        assertThat(outcome.code()).as(outcome.err()).isZero();
        assertThat(outcome.out()).contains("sheet.png: the first 64 of 66");
        assertThat(out.resolve("00065-2.png")).exists();
        // Four columns of cells with 64 pixels and a margin of 8.
        assertThat(Png.read(out.resolve("sheet.png")).image().width()).isEqualTo(4 * 72 + 8);
        try (Safetensors file = Safetensors.open(latents)) {
            assertThat(file.entry("latents").shape().getFirst()).isEqualTo(66);
        }
    }

    @Test
    void savedLatentsAndBadInput() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Path latents = temporary.resolve("latents.safetensors");
        Path out = temporary.resolve("out");
        Object[] small = {"generate", model, "--prompt", "a", "--steps", 2, "--height", 64, "--width", 64, "--out", out
        };
        assertThat(smpo(with(small, "--save-latents", latents)).code()).isZero();
        assertThat(Files.size(latents)).isGreaterThan(4 * 4 * 8 * 8);
        assertThat(smpo(with(small, "--initial-latents", latents)).code()).isZero();
        Outcome wide = smpo(
                "generate",
                model,
                "--prompt",
                "a",
                "--width",
                80,
                "--height",
                64,
                "--initial-latents",
                latents,
                "--out",
                out);
        assertThat(wide.code()).isEqualTo(1);
        assertThat(wide.err()).contains("initial latents", "4x8x10");
        assertThat(smpo(with(small, "--sampler", "magic")).err()).contains("dpmpp_2m", "magic");
        assertThat(smpo(with(small, "--sampler", "magic")).code()).isEqualTo(2);
        assertThat(smpo(with(small, "--sampler", "euler", "--eta", 1)).err())
                .startsWith("--eta: expected 0 with sampler euler, since only ddim reads it, got 1.0");
        Outcome odd = smpo("generate", model, "--prompt", "a", "--height", 65, "--out", out);
        assertThat(odd.code()).isEqualTo(2);
        assertThat(odd.err()).startsWith("--height: expected a multiple of 8, got 65");
        Object[][] wrong = {
            {"--width", 100, "--width: expected a multiple of 8, got 100"},
            {"--width", 0, "--width: expected a multiple of 8, got 0"},
            {"--vae-tile", 40, "--vae-tile: expected 0 or a multiple of 32, got 40"},
            {"--steps", 0, "--steps: expected 1 or more, got 0"},
            {"--seed", -1, "--seed: expected 0 to 2^56 - 1, got -1"},
            {"--guidance-rescale", 2, "--guidance-rescale: expected 0 to 1, got 2.0"},
            {"--eta", 1.5, "--eta: expected 0 to 1, got 1.5"},
            {"--eta", "NaN", "--eta: expected 0 to 1, got NaN"},
            {
                "--config",
                model,
                "--config, --prediction-type and --vae: expected a single-file checkpoint, got a diffusers folder,"
                        + " which has its own"
            },
        };
        for (Object[] one : wrong) {
            Outcome outcome = smpo("generate", model, "--prompt", "a", one[0], one[1], "--out", out);
            assertThat(outcome.code()).as(outcome.err()).isEqualTo(2);
            assertThat(outcome.err()).startsWith(one[2].toString());
        }
        assertThat(smpo("generate", model, "--out", out).err()).contains("--prompt");
    }

    @Test
    void aPromptFileThatIsNotUtf8SaysWhere() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Path prompts =
                Files.write(temporary.resolve("prompts.txt"), new byte[] {'o', 'k', '\n', 'c', 'a', (byte) 0xe9});
        Path out = temporary.resolve("out");
        Outcome outcome = smpo("generate", model, "--prompt-file", prompts, "--out", out);
        assertThat(outcome.code()).isEqualTo(1);
        assertThat(outcome.err())
                .contains("prompts.txt: line 2, byte 3: expected UTF-8, found the byte 0xe9: save the file as UTF-8");
        assertThat(out).doesNotExist();
    }

    @Test
    void tilesAndBf16WorkToo() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        // The value that transformers writes for an unset length.
        Files.writeString(
                model.resolve("tokenizer/tokenizer_config.json"),
                "{\"model_max_length\": 1000000000000000019884624838656}");
        byte[] plain = image(model, "plain");
        byte[] tiled = image(model, "tiled", "--vae-tile", 32);
        byte[] narrow = image(model, "bf16", "--precision", "bf16");
        // Only a plausibility check: golden tests measure the errors of tiles and of bf16.
        assertThat(tiled).hasSameSizeAs(plain).isNotEqualTo(plain);
        assertThat(narrow).hasSameSizeAs(plain).isNotEqualTo(plain);
        assertThat(image(model, "noisy", "--eta", 1)).hasSameSizeAs(plain).isNotEqualTo(plain);
        // A tile that covers the whole image changes nothing.
        assertThat(image(model, "one tile", "--vae-tile", 128)).isEqualTo(plain);
    }

    @Test
    void aCheckpointTakesItsTokenizersFromAFolder() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Path file = temporary.resolve("model.safetensors");
        Outcome converted = smpo("convert", model, file, "--to", "single-file");
        assertThat(converted.code()).as(converted.err()).isZero();
        byte[] expected = image(model, "folder");
        assertThat(image(file, "checkpoint", "--config", model)).isEqualTo(expected);
        Path torch = temporary.resolve("model.ckpt");
        TorchWriter.write(torch, TinyModels.torchTensors(file), true);
        assertThat(image(torch, "torch checkpoint", "--config", model)).isEqualTo(expected);
        Outcome alone = smpo("generate", file, "--prompt", "a", "--out", temporary.resolve("out"));
        assertThat(alone.code()).isEqualTo(1);
        assertThat(alone.err()).contains("--config");
    }

    private byte[] image(Path model, String name, Object... more) throws IOException {
        Path out = temporary.resolve(name);
        Object[] small = {
            "generate",
            model,
            "--prompt",
            "a cat",
            "--steps",
            2,
            "--height",
            64,
            "--width",
            64,
            "--threads",
            1,
            "--out",
            out
        };
        Outcome outcome = smpo(with(small, more));
        assertThat(outcome.code()).as(outcome.err()).isZero();
        return Png.read(out.resolve("00000-0.png")).image().rgb();
    }

    private static int largestDifference(byte[] a, byte[] b) {
        int largest = 0;
        for (int i = 0; i < a.length; i++) {
            largest = Math.max(largest, Math.abs((a[i] & 0xff) - (b[i] & 0xff)));
        }
        return largest;
    }

    /// The folder of a run stands for the model that it tuned, here the base model and adapters.
    @Test
    void theFolderOfARunIsAModel() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe(
                "tuned",
                "train.steps=2",
                "learning_rate.value=1e-2",
                "train.weights={type: lora, rank: 2}",
                "export.formats=[lora_kohya]"));
        Path adapters = tiny.output("tuned").resolve("tuned-lora.safetensors");
        byte[] byRun = image(tiny.output("tuned"), "by run");
        assertThat(byRun).isEqualTo(image(tiny.model(), "by hand", "--lora", adapters));
        assertThat(byRun).isEqualTo(image(Path.of(tiny.model() + "+" + adapters), "in one word"));
        assertThat(byRun).isNotEqualTo(image(tiny.model(), "untuned"));
    }

    @Test
    void aModelOfTheHubThatIsNotThereComesWithItsDownload() {
        Outcome outcome = smpo("generate", "nobody-such/model-1", "--prompt", "a", "--out", temporary.resolve("out"));
        assertThat(outcome.code()).isEqualTo(1);
        assertThat(outcome.err())
                .contains("nobody-such/model-1: expected a file or folder of this name, or a repository in the Hugging")
                .contains("hf download nobody-such/model-1");
    }
}
