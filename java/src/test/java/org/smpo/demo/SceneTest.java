package org.smpo.demo;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

final class SceneTest {
    private static final int DRAWS = 6000;

    private final Philox philox = new Philox(6);

    @Test
    void captionsAndScenesAreOneToOne() {
        Set<String> captions = Scene.all().stream().map(Scene::caption).collect(Collectors.toSet());
        assertThat(captions).hasSize(2 * 24 + 2 * 24 + 4 * 24 * 23).hasSameSizeAs(Scene.all());
        for (Scene scene : Scene.all()) {
            assertThat(Scene.parse(scene.caption())).isEqualTo(scene);
        }
        assertThat(Scene.parse("three red circles"))
                .isEqualTo(new Scene.Several(3, new Thing(Colour.RED, Shape.CIRCLE)));
        assertThat(Scene.parse("a large green ring"))
                .isEqualTo(new Scene.One(Size.LARGE, new Thing(Colour.GREEN, Shape.RING)));
        assertThat(Scene.parse("a blue ring left of a green square"))
                .isEqualTo(new Scene.Two(
                        new Thing(Colour.BLUE, Shape.RING), Relation.LEFT_OF, new Thing(Colour.GREEN, Shape.SQUARE)));
    }

    @Test
    void theVocabularyIsWhatCaptionsUse() {
        Set<String> used = Scene.all().stream()
                .flatMap(scene -> Arrays.stream(scene.caption().split(" ")))
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(Scene.VOCABULARY).doesNotHaveDuplicates().hasSize(26 - 2).containsExactlyInAnyOrderElementsOf(used);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "a ring",
                "two red circle",
                "four red circles",
                "A large green ring",
                "a large green ring ",
                "a red ring left of a red ring"
            })
    void otherTextsAreRefused(String caption) {
        assertThatThrownBy(() -> Scene.parse(caption))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("got \"" + caption + "\"");
    }

    /// Counts of uniform choices are within five standard deviations.
    @Test
    void randomScenesAreUniform() {
        Map<String, Integer> counts = new java.util.TreeMap<>();
        Map<Colour, Integer> colours = new EnumMap<>(Colour.class);
        Set<Scene> scenes = new HashSet<>();
        for (int item = 0; item < DRAWS; item++) {
            Scene scene = Scene.draw(philox.stream(Purpose.DEMO_SCENES, 0, item));
            scenes.add(scene);
            counts.merge(scene.getClass().getSimpleName(), 1, Integer::sum);
            Colour colour = switch (scene) {
                case Scene.One one -> one.thing().colour();
                case Scene.Several several -> several.thing().colour();
                case Scene.Two two -> two.first().colour();
            };
            colours.merge(colour, 1, Integer::sum);
        }
        assertThat(counts).hasSize(3).allSatisfy((kind, count) -> assertFair(count, 1.0 / 3));
        assertThat(colours).hasSize(6).allSatisfy((colour, count) -> assertFair(count, 1.0 / 6));
        assertThatThrownBy(() -> assertFair(DRAWS / 4, 1.0 / 3)).isInstanceOf(AssertionError.class);
        assertThat(scenes).hasSizeGreaterThan(1000);
    }

    @Test
    void heldOutScenesAreNeverChosenAndCoverEveryAttribute() {
        List<Scene> heldOut = Scene.all().stream().filter(Scene::heldOut).toList();
        assertThat(heldOut).hasSize(12 + 12 + 2 * (24 * 24 - 24) * 2 / 6);
        assertThat(heldOut)
                .allSatisfy(scene -> assertThat(
                                Scene.all().stream().filter(scene::sameImages).allMatch(Scene::heldOut))
                        .isTrue());
        for (String word : Scene.VOCABULARY) {
            assertThat(Scene.all().stream()
                            .filter(scene -> List.of(scene.caption().split(" ")).contains(word)))
                    .as(word)
                    .anyMatch(Scene::heldOut)
                    .anyMatch(scene -> !scene.heldOut());
        }
        Philox philox = new Philox(5);
        for (int item = 0; item < DRAWS; item++) {
            assertThat(Scene.draw(philox.stream(Purpose.DEMO_SCENES, 0, item)).heldOut())
                    .isFalse();
        }
    }

    private static void assertFair(int count, double share) {
        double deviation = Math.sqrt(DRAWS * share * (1 - share));
        assertThat(Math.abs(count - DRAWS * share)).isLessThan(5 * deviation);
    }

    @Test
    void aWrongSceneDiffersInOneOrTwoAttributes() {
        Map<Attribute, Integer> changed = new EnumMap<>(Attribute.class);
        int single = 0;
        for (int item = 0; item < DRAWS; item++) {
            Scene scene = Scene.draw(philox.stream(Purpose.DEMO_SCENES, 0, item));
            Scene.Wrong wrong = scene.wrong(philox.stream(Purpose.DEMO_SCENES, 1, item));
            assertThat(wrong.scene().sameImages(scene))
                    .as("%s, %s", scene, wrong)
                    .isFalse();
            assertThat(differences(scene, wrong.scene()))
                    .as("%s, %s", scene, wrong)
                    .isEqualTo(wrong.attributes());
            assertThat(wrong.attributes()).hasSizeBetween(1, 2);
            single += wrong.attributes().size() == 1 ? 1 : 0;
            wrong.attributes().forEach(attribute -> changed.merge(attribute, 1, Integer::sum));
        }
        assertFair(single, 0.5);
        assertThat(changed)
                .hasSize(Attribute.values().length)
                .allSatisfy((attribute, count) -> assertThat(count).isGreaterThan(500));
        Scene scene = Scene.parse("a small red ring");
        assertThat(differences(scene, scene)).isEmpty();
    }

    private static Set<Attribute> differences(Scene a, Scene b) {
        Set<Attribute> differences = new HashSet<>();
        differ(differences, Attribute.COLOUR, attributes(a)[0], attributes(b)[0]);
        differ(differences, Attribute.SHAPE, attributes(a)[1], attributes(b)[1]);
        differ(differences, Attribute.COUNT, attributes(a)[2], attributes(b)[2]);
        if (a.getClass() == b.getClass()) {
            differ(differences, Attribute.SIZE, attributes(a)[3], attributes(b)[3]);
            differ(differences, Attribute.RELATION, attributes(a)[4], attributes(b)[4]);
        }
        return differences;
    }

    private static void differ(Set<Attribute> differences, Attribute attribute, String a, String b) {
        if (!a.equals(b)) {
            differences.add(attribute);
        }
    }

    private static String[] attributes(Scene scene) {
        return switch (scene) {
            case Scene.One one ->
                new String[] {"" + one.thing().colour(), "" + one.thing().shape(), "1", "" + one.size(), ""};
            case Scene.Several several ->
                new String[] {
                    "" + several.thing().colour(), "" + several.thing().shape(), "" + several.count(), "", ""
                };
            case Scene.Two two ->
                new String[] {
                    two.first().colour() + " " + two.second().colour(),
                    two.first().shape() + " " + two.second().shape(),
                    "2",
                    "",
                    "" + two.relation()
                };
        };
    }

    @Test
    void theConverseHasTheSameImages() {
        Scene scene = Scene.parse("a red ring above a blue ring");
        assertThat(scene.sameImages(Scene.parse("a blue ring below a red ring")))
                .isTrue();
        assertThat(scene.sameImages(Scene.parse("a red ring below a blue ring")))
                .isFalse();
        assertThat(scene.sameImages(Scene.parse("a blue ring above a red ring")))
                .isFalse();
        assertThat(scene.sameImages(Scene.parse("a blue ring left of a red ring")))
                .isFalse();
    }
}
