package org.smpo.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.Precision;

/// What a report of a model holds, and how it reads as text.
final class ModelReportTest {
    @TempDir
    private Path temporary;

    @Test
    void theMemoryIsThatOfTheSizeAndPrecision() throws IOException {
        Path folder = TinyModels.write(temporary.resolve("model"), Family.SD1);
        try (ModelFiles model = ModelFiles.open(folder)) {
            Map<?, ?> small = memory(folder, model, Optional.empty(), Precision.BF16);
            Map<?, ?> large = memory(folder, model, Optional.of(new ModelReport.Size(512, 256)), Precision.FP32);
            assertThat(small.get("height"))
                    .isEqualTo(model.unet().sampleSize() * model.vae().scale());
            assertThat(List.of(large.get("height"), large.get("width"))).isEqualTo(List.of(512, 256));
            assertThat(small.get("precision")).isEqualTo("bf16");
            assertThat((long) large.get("generate_bytes")).isGreaterThan((long) small.get("generate_bytes"));
        }
    }

    private static Map<?, ?> memory(Path folder, ModelFiles model, Optional<ModelReport.Size> size, Precision precision)
            throws IOException {
        ModelReport.Options options = new ModelReport.Options(false, size, 1, precision);
        Map<String, Object> report = ModelReport.of(folder, model, options);
        assertThat(report).doesNotContainKey("files");
        return (Map<?, ?>) report.get("memory");
    }

    @Test
    void digestsAreThereWhereAskedFor() throws IOException {
        Path folder = TinyModels.write(temporary.resolve("model"), Family.SD1);
        try (ModelFiles model = ModelFiles.open(folder)) {
            Map<String, Object> report =
                    ModelReport.of(folder, model, new ModelReport.Options(true, Optional.empty(), 1, Precision.FP32));
            assertThat((Map<?, ?>) report.get("files")).hasSameSizeAs(model.weightFiles());
            assertThat(report.toString()).contains("sha256=" + model.sha256("unet"));
        }
    }

    @Test
    void textIndentsAndHasUnits() {
        Map<String, Object> memory = new LinkedHashMap<>();
        memory.put("train_bytes", 2_500_000_000L);
        memory.put("batch", 1234);
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("class", "Pipeline");
        report.put("notices", List.of("one", "two"));
        report.put("memory", memory);
        assertThat(ModelReport.text(report).lines())
                .containsExactly(
                        "class                    Pipeline",
                        "notices                  one, two",
                        "memory",
                        "  train                  2.50 GB",
                        "  batch                  1,234");
    }
}
