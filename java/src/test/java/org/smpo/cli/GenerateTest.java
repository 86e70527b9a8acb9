package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.Png;
import org.smpo.model.TinyModels;
import picocli.CommandLine;

/// `smpo generate` as a user runs it, on a small model with made-up weights.
final class GenerateTest {
    @TempDir
    private Path temporary;

    private record Outcome(int code, String out, String err) {}

    private static Outcome smpo(Object... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        CommandLine command = Main.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err));
        int code =
                command.execute(Arrays.stream(arguments).map(Object::toString).toArray(String[]::new));
        return new Outcome(code, out.toString(), err.toString());
    }

    @Test
    void picturesDoNotDependOnTheBatch() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        Path together = temporary.resolve("together");
        Path alone = temporary.resolve("alone");
        for (String sampler : new String[] {"ddim", "euler", "dpmpp_2m", "pndm"}) {
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
                    sampler,
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
                    sampler,
                    "--out",
                    alone);
            assertThat(one.code()).as(one.err()).isZero();
            Png second = Png.read(together.resolve("00001-4.png"));
            Png same = Png.read(alone.resolve("00000-4.png"));
            assertThat(second.image().width()).isEqualTo(72);
            assertThat(second.text().get("smpo")).contains("\"a cat\"", sampler);
            byte[] a = second.image().rgb();
            byte[] b = same.image().rgb();
            byte[] other = Png.read(together.resolve("00000-3.png")).image().rgb();
            // Sums are rounded otherwise in another batch: a value may fall on the other side of a half.
            assertThat(largestDifference(a, b)).as(sampler).isLessThanOrEqualTo(1);
            assertThat(largestDifference(a, other)).as(sampler).isGreaterThan(1);
        }
        assertThat(together.resolve("sheet.png")).exists();
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
        Outcome odd = smpo("generate", model, "--prompt", "a", "--height", 65, "--out", out);
        assertThat(odd.code()).isEqualTo(1);
        assertThat(odd.err()).contains("height: expected a multiple of 8, got 65");
        assertThat(smpo("generate", model, "--out", out).err()).contains("--prompt");
    }

    private static Object[] with(Object[] arguments, Object... more) {
        Object[] all = Arrays.copyOf(arguments, arguments.length + more.length);
        System.arraycopy(more, 0, all, arguments.length, more.length);
        return all;
    }

    private static int largestDifference(byte[] a, byte[] b) {
        int largest = 0;
        for (int i = 0; i < a.length; i++) {
            largest = Math.max(largest, Math.abs((a[i] & 0xff) - (b[i] & 0xff)));
        }
        return largest;
    }
}
