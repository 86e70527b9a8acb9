package org.smpo.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/// The machine on which a figure was measured.
///
/// @param cpu model name as reported by the operating system
/// @param simd widest instruction set that the kernels would use: `amx`, `avx512`, `avx2` or `sse2`
/// @param cores logical cores that this process may use
public record Machine(String cpu, String simd, int cores) {

    /// Returns the current machine.
    public static Machine current() {
        String model = "unknown";
        List<String> flags = List.of();
        try {
            for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
                if (line.startsWith("model name")) model = value(line);
                if (line.startsWith("flags")) flags = List.of(value(line).split(" "));
            }
        } catch (IOException absent) {
            model = System.getProperty("os.arch");
        }
        String simd = flags.contains("amx_bf16")
                ? "amx"
                : flags.contains("avx512f") ? "avx512" : flags.contains("avx2") ? "avx2" : "sse2";
        return new Machine(model, simd, Runtime.getRuntime().availableProcessors());
    }

    private static String value(String line) {
        return line.substring(line.indexOf(':') + 1).strip();
    }

    /// Returns the key of this machine in the records; figures with different keys are not compared.
    public String key() {
        return cpu + ", " + simd + ", " + cores + " cores";
    }
}
