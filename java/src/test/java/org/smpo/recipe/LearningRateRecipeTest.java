package org.smpo.recipe;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// The schedules have diffusers' values, step by step and beyond the end.
class LearningRateRecipeTest {
    /// Python and Java may order a handful of multiplications differently: four roundings of a number up to 1, and
    /// the cosine's last bit.
    private static final double TOLERANCE = 6 * Math.ulp(1.0);

    static List<JsonNode> cases() throws IOException {
        List<JsonNode> all = new ArrayList<>();
        for (String file : List.of("learning_rates.json", "more_learning_rates.json")) {
            try (InputStream stream = LearningRateRecipeTest.class.getResourceAsStream(file)) {
                JsonNode cases =
                        new JsonMapper().readTree(stream.readAllBytes()).get("cases");
                cases.forEach(all::add);
            }
        }
        return all;
    }

    private static boolean agrees(LearningRateRecipe recipe, long steps, JsonNode rates, double scale) {
        for (int step = 0; step < rates.size(); step++) {
            double wanted = scale * rates.get(step).asDouble();
            if (!(Math.abs(recipe.at(step, steps) - wanted) <= TOLERANCE * recipe.value())) {
                return false;
            }
        }
        return true;
    }

    @ParameterizedTest
    @MethodSource("cases")
    void aScheduleHasDiffusersValues(JsonNode golden) {
        LearningRateRecipe recipe = new LearningRateRecipe(
                golden.get("value").asDouble(),
                LearningRateRecipe.Schedule.valueOf(
                        golden.get("schedule").asString().toUpperCase(Locale.ROOT)),
                golden.get("warmup_steps").asLong(),
                golden.get("cycles").asDouble(),
                golden.has("power") ? golden.get("power").asDouble() : 1,
                golden.has("end") ? golden.get("end").asDouble() : 1e-7);
        long steps = golden.get("steps").asLong();
        assertThat(agrees(recipe, steps, golden.get("rates"), 1)).isTrue();
        assertThat(agrees(recipe, steps, golden.get("rates"), 1 + 1e-13))
                .as("the comparison sees an error in the thirteenth digit")
                .isFalse();
        assertThat(agrees(recipe, steps + 9, golden.get("rates"), 1))
                .as("the length matters exactly to the schedules that end, once the warm-up is over")
                .isEqualTo(recipe.schedule() == LearningRateRecipe.Schedule.CONSTANT
                        || recipe.schedule() == LearningRateRecipe.Schedule.CONSTANT_WITH_WARMUP
                        || recipe.warmupSteps() > steps);
    }

    @Test
    void thereAreCasesOfEverySchedule() throws IOException {
        assertThat(cases().stream()
                        .map(golden -> golden.get("schedule").asString())
                        .distinct())
                .containsExactlyInAnyOrder(
                        "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial");
    }
}
