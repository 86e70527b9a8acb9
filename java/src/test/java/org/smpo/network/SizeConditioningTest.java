package org.smpo.network;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class SizeConditioningTest {
    @Test
    void rowsEqualThoseOfDiffusers() throws IOException {
        try (InputStream stream = SizeConditioningTest.class.getResourceAsStream("time_ids/time_ids.json")) {
            JsonNode cases = new JsonMapper().readTree(stream);
            assertThat(cases.size()).isEqualTo(2);
            for (JsonNode golden : cases) {
                JsonNode s = golden.get("size");
                SizeConditioning size = new SizeConditioning(
                        s.get(0).asInt(),
                        s.get(1).asInt(),
                        s.get(2).asInt(),
                        s.get(3).asInt(),
                        s.get(4).asInt(),
                        s.get(5).asInt());
                assertThat(size.timeIds()).containsExactly(floats(golden.get("base")));
            }
        }
    }

    private static float[] floats(JsonNode array) {
        float[] floats = new float[array.size()];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) array.get(i).asDouble();
        }
        return floats;
    }

    @Test
    void anImageOfItsOwnSizeIsTheDefault() {
        assertThat(SizeConditioning.of(832, 1216).timeIds()).containsExactly(832, 1216, 0, 0, 832, 1216);
    }

    @Test
    void aUNetForOtherRowsIsRefused() {
        assertThatCode(() -> SizeConditioning.requireFits(6, 256, 1280, 2816)).doesNotThrowAnyException();
        assertThatCode(() -> SizeConditioning.requireFits(5, 256, 1280, 2560)).doesNotThrowAnyException();
        assertThatThrownBy(() -> SizeConditioning.requireFits(6, 256, 1280, 2560))
                .hasMessageContaining("expected 2816")
                .hasMessageContaining("is this the refiner?");
        assertThatThrownBy(() -> SizeConditioning.requireFits(5, 256, 1280, 2816))
                .hasMessageContaining("is this the base model?");
        assertThatThrownBy(() -> SizeConditioning.of(0, 8)).hasMessageContaining("positive");
    }
}
