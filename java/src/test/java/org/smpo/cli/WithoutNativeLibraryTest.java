package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.TinyModels;

/// `inspect` and `convert` where the native library does not load: in separate processes whose
/// `smpo.library` names a file that does not exist.
class WithoutNativeLibraryTest {
    @TempDir
    private Path temporary;

    @Test
    void inspectAndConvertWork() throws IOException, InterruptedException {
        Path folder = TinyModels.write(temporary.resolve("model"), Family.SD1);
        Path single = temporary.resolve("model.safetensors");
        Path again = temporary.resolve("again");
        assertThat(smpo("inspect", folder)).contains("unet");
        assertThat(smpo("convert", folder, single, "--to", "single-file")).isNotNull();
        assertThat(smpo("convert", single, again, "--to", "diffusers", "--config", folder))
                .isNotNull();
        assertThat(again.resolve("unet/diffusion_pytorch_model.safetensors")).exists();
    }

    /// Runs a verb that must succeed and returns its output.
    private String smpo(Object... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Dsmpo.library=/nowhere/libsmpo.so",
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName()));
        for (Object argument : arguments) {
            command.add(argument.toString());
        }
        Path output = Files.createTempFile(temporary, "output", ".txt");
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        int status = process.waitFor();
        String text = Files.readString(output, StandardCharsets.UTF_8);
        assertThat(status).as(text).isZero();
        return text;
    }
}
