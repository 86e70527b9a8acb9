package org.smpo.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.io.ByteView;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.io.Safetensors;
import org.smpo.schedule.Sampler;

/// DDIM with eta above 0: the latents of diffusers' pipelines with the same noise (tools/golden/eta.py), and what is
/// refused.
final class EtaTest {
    private static final Path GOLDEN =
            Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/generate/eta");

    /// Largest relative L2 error of fp32 latents per unit of guidance scale, as without noise (PipelineTest).
    private static final double PER_SCALE = 4e-6;

    @TempDir
    private Path temporary;

    @ParameterizedTest
    @ValueSource(strings = {"sd1", "sd2", "sdxl"})
    void equalsDiffusers(String name) throws IOException {
        JsonObject model = PipelineTest.golden().object("models").object(name);
        Path folder = PipelineTest.write(temporary.resolve(name), model, Json.parseObject("changes", "{}"));
        List<JsonObject> cases = Json.readObject(GOLDEN.resolve("eta.json")).objects(name);
        assertThat(cases).hasSize(2);
        try (Safetensors results = Safetensors.open(GOLDEN.resolve("eta.safetensors"));
                TextToImage generator = TextToImage.open(folder, "cpu", Precision.FP32, 1)) {
            for (int k = 0; k < cases.size(); k++) {
                JsonObject one = cases.get(k);
                float[] expected = floats(results, name + "." + k + ".latents");
                ImageRequest request = PipelineTest.request(one, name + ".eta." + k, Sampler.Kind.DDIM, 0);
                double scale = one.number("guidance_scale");
                assertThat(PipelineTest.relativeError(expected, all(generator.generate(request))))
                        .as(name + "." + k)
                        .isLessThanOrEqualTo(PER_SCALE * scale);
                ImageRequest less = new ImageRequest(
                        request.prompts(),
                        request.config().withEta(0.999 * one.number("eta")),
                        request.initialLatents());
                assertThat(PipelineTest.relativeError(expected, all(generator.generate(less))))
                        .as(name + "." + k + " with less noise")
                        .isGreaterThan(PER_SCALE * scale);
            }
        }
    }

    private static float[] all(List<GeneratedImage> images) {
        int row = images.getFirst().latents().length;
        float[] all = new float[images.size() * row];
        for (int i = 0; i < images.size(); i++) {
            System.arraycopy(images.get(i).latents(), 0, all, i * row, row);
        }
        return all;
    }

    private static float[] floats(Safetensors file, String name) throws IOException {
        ByteBuffer bytes = ByteView.of(file, file.entry(name)).buffer();
        float[] values = new float[bytes.remaining() / Float.BYTES];
        bytes.asFloatBuffer().get(values);
        return values;
    }

    @Test
    void manifestsNameItWhereThereIsNoise() {
        GenerationConfig plain = GenerationConfig.standard();
        assertThat(plain.asMap()).doesNotContainKey("eta");
        assertThat(plain.withEta(0.5).asMap()).containsEntry("eta", 0.5);
    }

    @ParameterizedTest
    @EnumSource(value = Sampler.Kind.class, names = "DDIM", mode = EnumSource.Mode.EXCLUDE)
    void otherSamplersDoNotTakeIt(Sampler.Kind sampler) {
        GenerationConfig config = GenerationConfig.standard().withSampler(sampler, 20);
        assertThatThrownBy(() -> config.withEta(0.5))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("eta: expected 0 with sampler " + sampler.id() + ", since only ddim reads it, got 0.5");
    }
}
