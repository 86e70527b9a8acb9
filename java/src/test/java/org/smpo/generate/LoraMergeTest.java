package org.smpo.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.TinyModels;
import org.smpo.checkpoint.Weight;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.ParameterInfo;
import org.smpo.io.DType;
import org.smpo.network.NativeWeights;
import org.smpo.network.UNet;

/// Merged adapters, with the numbers of a numpy script.
final class LoraMergeTest {
    private static final String MODULE = "mid_block.attentions.0.transformer_blocks.0.attn1.to_v";
    private static final int WIDTH = 32;

    @TempDir
    private Path temporary;

    /// The weights of a negative network: W + 0.6 * 2 B1 A1 + 1 * 1 B2 A2 for adapters of rank 1 with α 2 and α 1, the
    /// first of which are the positive model's, merged at 0.6.
    @Test
    void adaptersAddUpByWeightAndAlpha() throws IOException {
        Path model = TinyModels.writeRunnable(temporary.resolve("model"));
        try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1));
                ModelFiles files = ModelFiles.open(model);
                UNet unet = UNet.load(engine, files.component("unet"), ModelOptions.frozen(DType.F32))) {
            NativeModel network = unet.network();
            NativeWeights.write(network, weight(MODULE + ".weight", WIDTH, WIDTH, new float[][] {
                {1, 0.2f}, {-0.3f, 0.8f}
            }));
            merge(network, "positive", 2, new float[][] {{0.2f, 0.6f}}, new float[][] {{0.5f}, {-0.4f}}, 0.6);
            merge(network, "npo", 1, new float[][] {{0.7f, -0.5f}}, new float[][] {{-0.1f}, {0.3f}}, 1);

            float[] merged = network.read(parameter(network));
            double[] expected = {1.05, 0.61, -0.186, 0.362};
            for (int i = 0; i < merged.length; i++) {
                boolean inside = i / WIDTH < 2 && i % WIDTH < 2;
                double value = inside ? expected[2 * (i / WIDTH) + i % WIDTH] : 0;
                assertThat((double) merged[i]).as("element %d", i).isCloseTo(value, within(1e-7));
            }
        }
    }

    private static ParameterInfo parameter(NativeModel network) {
        return network.parameters().stream()
                .filter(parameter -> parameter.name().equals(MODULE + ".weight"))
                .findFirst()
                .orElseThrow();
    }

    private void merge(NativeModel network, String name, float alpha, float[][] down, float[][] up, double weight)
            throws IOException {
        Path file = temporary.resolve(name + ".safetensors");
        String module = "unet." + MODULE;
        Weight.writeAll(
                file,
                List.of(
                        weight(module + ".alpha", 1, 1, new float[][] {{alpha}}),
                        weight(module + ".lora_A.weight", 1, WIDTH, down),
                        weight(module + ".lora_B.weight", WIDTH, 1, up)),
                null,
                Map.of());
        try (LoraFile lora = LoraFile.open(file)) {
            LoraMerge.merge(lora.lora(), weight, component -> network);
        }
    }

    /// A matrix with these values in its first rows and columns and 0 elsewhere.
    private static Weight weight(String name, int rows, int columns, float[][] values) {
        ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * rows * columns).order(ByteOrder.LITTLE_ENDIAN);
        for (int row = 0; row < values.length; row++) {
            for (int column = 0; column < values[row].length; column++) {
                bytes.putFloat(Float.BYTES * (row * columns + column), values[row][column]);
            }
        }
        List<Long> shape = name.endsWith(".alpha") ? List.of() : List.of((long) rows, (long) columns);
        return Weight.of(name, DType.F32, shape, bytes.array());
    }
}
