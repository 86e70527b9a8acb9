package org.smpo.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Safetensors;
import org.smpo.io.TensorEntry;

/// Sums of models' differences, with the numbers of a numpy script and on real layouts.
final class WeightSumTest {
    private static final String UNET = "UNet2DConditionModel";

    @TempDir
    private Path temporary;

    private JsonObject config;

    @BeforeEach
    void readConfig() throws IOException {
        config = TinyModels.golden("unet/sd1").object("config");
    }

    /// A UNet whose weights all are one number.
    private Path constant(String name, double value, DType dtype) throws IOException {
        Path folder = Files.createDirectories(temporary.resolve(name));
        Json.write(folder.resolve("config.json"), config);
        List<Weight> weights = new ArrayList<>();
        ModelConfig.parse(config, UNET).parameters().forEach((parameter, shape) -> {
            int count = Math.toIntExact(ModelConfig.elements(shape));
            ByteBuffer bytes = ByteBuffer.allocate(Double.BYTES * count).order(ByteOrder.LITTLE_ENDIAN);
            for (int i = 0; i < count; i++) {
                bytes.putDouble(value);
            }
            weights.add(Weight.of(parameter, DType.F64, shape, bytes.array()));
        });
        Weight.writeAll(folder.resolve("diffusion_pytorch_model.safetensors"), weights, dtype, Map.of());
        return folder;
    }

    private Path sum(Path base, DType dtype, Map<Path, Double> terms) throws IOException {
        Path target = temporary.resolve("sum.safetensors");
        List<ModelFiles> opened = new ArrayList<>();
        try (ModelFiles files = ModelFiles.open(base)) {
            List<WeightSum.Term> all = new ArrayList<>();
            for (Map.Entry<Path, Double> term : terms.entrySet()) {
                opened.add(ModelFiles.open(term.getKey()));
                all.add(new WeightSum.Term(opened.getLast(), term.getValue()));
            }
            WeightSum.write(files, all, dtype, target);
        } finally {
            opened.forEach(ModelFiles::close);
        }
        return target;
    }

    /// θ_neg = θ + a (θ_pos - θ) + b (θ_npo - θ), with a and b of numpy's numbers.
    @ParameterizedTest
    @CsvSource({"0, 1, 0.4", "1, 1, 0.6", "0.6, 1, 0.52", "1, 0.5, 0.65", "1, 0, 0.7"})
    void hasThePublishedFormula(double a, double b, double expected) throws IOException {
        Path base = constant("base", 0.5, DType.F64);
        Map<Path, Double> terms = new LinkedHashMap<>();
        terms.put(constant("positive", 0.7, DType.F64), a);
        terms.put(constant("negative", 0.4, DType.F64), b);
        try (Safetensors file = Safetensors.open(sum(base, DType.F64, terms))) {
            assertThat(file.entries())
                    .hasSameSizeAs(ModelConfig.parse(config, UNET).parameters().keySet());
            for (TensorEntry entry : file.entries()) {
                double[] all = new double[Math.toIntExact(Weight.of(file, entry).elements())];
                Arrays.fill(all, expected);
                assertThat(Weight.of(file, entry).toDoubles()).as(entry.name()).containsExactly(all, within(1e-12));
            }
        }
    }

    /// Every element is the float64 sum, rounded once to the dtype of the base.
    @Test
    void roundsOnce() throws IOException {
        Path base = temporary.resolve("base");
        TinyModels.component(base, config, UNET);
        Path other = constant("other", 1.0 / 3, DType.F32);
        Path small = constant("small", 1e-9, DType.F64);
        for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
            Map<Path, Double> terms = new LinkedHashMap<>();
            terms.put(other, 0.3);
            terms.put(small, -0.7);
            try (ModelFiles files = ModelFiles.open(base);
                    Safetensors file = Safetensors.open(sum(base, dtype, terms))) {
                for (TensorEntry entry : file.entries()) {
                    assertThat(entry.dtype()).isEqualTo(dtype);
                    double[] start = files.only().weights().get(entry.name()).toDoubles();
                    double[] found = Weight.of(file, entry).toDoubles();
                    for (int i = 0; i < start.length; i += 7) {
                        double exact = start[i] + 0.3 * ((float) (1.0 / 3) - start[i]) + -0.7 * (1e-9 - start[i]);
                        assertThat(found[i]).as(entry.name()).isEqualTo(rounded(exact, dtype));
                    }
                }
            }
        }
    }

    private static double rounded(double value, DType dtype) {
        ByteBuffer wide = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putDouble(0, value);
        ByteBuffer narrow = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
        Floats.convert(DType.F64, wide, dtype, narrow, 1);
        return Floats.get(dtype, narrow, 0);
    }

    @Test
    void otherShapesAndValuesOutOfRangeAreRefused() throws IOException {
        Path base = constant("base", 0.5, DType.F32);
        Map<String, Object> wide = new LinkedHashMap<>(config.asMap());
        wide.put("cross_attention_dim", 24L);
        Path other = temporary.resolve("wide");
        TinyModels.component(other, Json.parseObject("config", Json.canonical(wide)), UNET);
        assertThatThrownBy(() -> sum(base, null, Map.of(other, 1.0)))
                .isInstanceOf(ModelException.class)
                .hasMessageMatching(".*wide: .*attn2.to_k.weight: expected \\[\\d+, 20\\] as the base has it, found"
                        + " \\[\\d+, 24\\]");
        Path vae = temporary.resolve("vae");
        TinyModels.component(vae, TinyModels.golden("vae/f8").object("config"), "AutoencoderKL");
        assertThatThrownBy(() -> sum(base, null, Map.of(vae, 1.0)))
                .isInstanceOf(ModelException.class)
                .hasMessageContaining("as the base has it, found no such tensor");
        Path large = constant("large", 60000, DType.F32);
        assertThatThrownBy(() -> sum(base, DType.F16, Map.of(large, 2.0)))
                .isInstanceOf(ModelException.class)
                .hasMessageContaining("element 0 of the sum: expected a value that F16 can hold, found 119999.5");
        Path infinite = constant("infinite", 1, DType.F32);
        try (var files = ModelFiles.open(infinite)) {
            assertThatThrownBy(() -> new WeightSum.Term(files, Double.NaN))
                    .hasMessageContaining("expected a finite weight, got NaN");
        }
    }
}
