package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.recipe.Recipe;

class BatchSizesTest {
    private static final long GB = 1_000_000_000;
    // SD 1.5 at 512 x 512, in bf16.
    private static final long PAIR = 1_560_000_000;
    private static final long IMAGE = 60_000_000;

    @Test
    void aLargeCardTakesTheMost() {
        assertThat(BatchSizes.of(120 * GB, PAIR, IMAGE, 128, true)).isEqualTo(new BatchSizes(8, 32));
    }

    @Test
    void lessMemoryMeansSmallerPowersOfTwo() {
        assertThat(BatchSizes.of(20 * GB, PAIR, IMAGE, 128, true)).isEqualTo(new BatchSizes(4, 32));
        assertThat(BatchSizes.of(10 * GB, PAIR, IMAGE, 128, true)).isEqualTo(new BatchSizes(2, 32));
        assertThat(BatchSizes.of(5 * GB, PAIR, IMAGE * 10, 128, true)).isEqualTo(new BatchSizes(1, 2));
    }

    @Test
    void theSmallestSizesAreTriedWhenNothingFits() {
        assertThat(BatchSizes.of(0, PAIR, IMAGE, 128, true)).isEqualTo(new BatchSizes(1, 2));
        assertThat(BatchSizes.of(0, 0, 0, 1, false)).isEqualTo(new BatchSizes(1, 2));
    }

    @Test
    void aStepOfFewPairsIsOneBatch() {
        assertThat(BatchSizes.of(120 * GB, PAIR, IMAGE, 3, true)).isEqualTo(new BatchSizes(3, 6));
        assertThat(BatchSizes.of(120 * GB, PAIR, IMAGE, 1, true)).isEqualTo(new BatchSizes(1, 2));
    }

    @Test
    void aCpuInvertsAsManyAsItDifferentiates() {
        assertThat(BatchSizes.of(120 * GB, PAIR, IMAGE, 128, false)).isEqualTo(new BatchSizes(8, 16));
    }

    private static Recipe recipe(String overrides) throws IOException {
        return Recipe.builtIn("smpo-sd15", List.of("train.micro_batch=auto", "train.device=" + overrides));
    }

    @Test
    void aMeasurementThatFailsIsReported() throws IOException {
        List<String> warnings = new ArrayList<>();
        BatchSizes.Probe failing = () -> {
            throw new IOException("no /proc/meminfo");
        };
        assertThat(BatchSizes.choose(recipe("cpu"), false, Optional.empty(), failing, warnings::add))
                .isEqualTo(new BatchSizes(1, 2));
        assertThat(warnings)
                .singleElement()
                .asString()
                .contains("no /proc/meminfo", "one at a time", "set train.micro_batch");
    }

    @Test
    void memoryIsMeasuredOnlyWhereASizeIsToBeChosen() throws IOException {
        BatchSizes.Probe unused = () -> {
            throw new AssertionError("not needed");
        };
        Recipe fixed = Recipe.builtIn("smpo-sd15", List.of("train.micro_batch=2"));
        assertThat(BatchSizes.choose(fixed, false, Optional.empty(), unused, warning -> {}))
                .isEqualTo(new BatchSizes(2, 4));
        JsonObject manifest = Json.parseObject("manifest", "{\"micro_batch\": 3, \"inversion_slots\": 5}");
        assertThat(BatchSizes.choose(recipe("cuda"), true, Optional.of(manifest), unused, warning -> {}))
                .isEqualTo(new BatchSizes(3, 5));
        // A run of a version without a separate inversion batch size.
        JsonObject old = Json.parseObject("manifest", "{\"micro_batch\": 3}");
        assertThat(BatchSizes.choose(recipe("cuda"), true, Optional.of(old), unused, warning -> {}))
                .isEqualTo(new BatchSizes(3, 6));
    }
}
