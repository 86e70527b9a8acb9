package org.smpo.recipe;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.smpo.objective.Objective;

/// The guides under java/src/site list every method, parameter and recipe key, and nothing else.
class GuideTest {
    private static final Path GUIDES = Path.of(System.getProperty("smpo.root"), "java/src/site/markdown");
    private static final Pattern ROW = Pattern.compile("^\\| `([^`]+)` \\|.*$", Pattern.MULTILINE);
    private static final Pattern QUOTED = Pattern.compile("`([a-z_]+)`");

    @Test
    void everyKeyOfARecipeIsInTheGuide() throws IOException {
        SortedSet<String> keys = new TreeSet<>();
        collect("", Recipe.class, keys);
        collect("rounds.", RoundsRecipe.class, keys);
        keys.remove("learning_rate");
        assertThat(rows("recipes.md").keySet()).containsExactlyInAnyOrderElementsOf(keys);
    }

    /// The objective's parameters are in the other guide.
    private static void collect(String prefix, Class<?> type, SortedSet<String> keys) {
        if (type.isSealed()) {
            Arrays.stream(type.getPermittedSubclasses()).forEach(kind -> collect(prefix, kind, keys));
            return;
        }
        for (RecordComponent component : type.getRecordComponents()) {
            String key = prefix + Section.snakeCase(component.getName());
            Class<?> section = switch (component.getName()) {
                case "inversion" -> InversionRecipe.class;
                case "learningRate" -> LearningRateRecipe.class;
                case "trajectory" -> TrajectoryRecipe.class;
                case "guide" -> GuideRecipe.class;
                case "evaluation" -> RoundEvaluationRecipe.class;
                case "mix" -> MixRecipe.class;
                case "rewardTraining" -> RewardTrainingRecipe.class;
                default -> component.getType();
            };
            if (section.equals(ObjectiveRecipe.class)) {
                continue;
            }
            if (section.equals(WeightsRecipe.class)) {
                keys.add(key);
            }
            if (section.getSimpleName().endsWith("Recipe")) {
                collect(key + ".", section, keys);
            } else {
                keys.add(key);
            }
        }
    }

    @Test
    void everyMethodAndItsParametersAreInTheGuide() throws IOException {
        Map<String, String> rows = rows("methods.md");
        for (Class<?> method : Objective.class.getPermittedSubclasses()) {
            String name = method.getSimpleName().toLowerCase(Locale.ROOT);
            assertThat(rows).containsKey(name);
            String parameters = rows.get(name).split("\\|", -1)[3];
            List<String> named = QUOTED.matcher(parameters)
                    .results()
                    .map(found -> found.group(1))
                    .toList();
            assertThat(named)
                    .as(name)
                    .containsExactlyElementsOf(Arrays.stream(method.getRecordComponents())
                            .map(component -> Section.snakeCase(component.getName()))
                            .toList());
        }
    }

    /// Returns the table rows whose first cell is one name, by that name.
    private static Map<String, String> rows(String guide) throws IOException {
        Map<String, String> rows = new TreeMap<>();
        Matcher matcher = ROW.matcher(Files.readString(GUIDES.resolve(guide)));
        while (matcher.find()) {
            rows.put(matcher.group(1), matcher.group());
        }
        return rows;
    }
}
