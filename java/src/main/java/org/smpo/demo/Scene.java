package org.smpo.demo;

import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.smpo.random.PhiloxStream;

/// The content of an image: one object with a size, two or three equal objects, or two different objects
/// and their relation.
///
/// ```text
/// scene     caption
/// One       a large green ring
/// Several   three red circles
/// Two       a blue ring left of a green square
/// ```
///
/// Captions and scenes correspond one to one. "a red ring above a blue ring" and "a blue ring below a red
/// ring" are two scenes with the same images; see [#sameImages].
public sealed interface Scene {
    /// All words of all captions. With the two special tokens of a CLIP tokenizer, the vocabulary has 26
    /// entries.
    List<String> VOCABULARY = List.of(
            "a",
            "two",
            "three",
            "small",
            "large",
            "red",
            "yellow",
            "green",
            "cyan",
            "blue",
            "purple",
            "circle",
            "square",
            "triangle",
            "ring",
            "circles",
            "squares",
            "triangles",
            "rings",
            "left",
            "right",
            "of",
            "above",
            "below");

    /// A single object.
    record One(Size size, Thing thing) implements Scene {}

    /// Equal objects.
    ///
    /// @param count number of objects, 2 or 3
    record Several(int count, Thing thing) implements Scene {
        public Several {
            if (count < 2 || count > 3) {
                throw new IllegalArgumentException("count: expected 2 or 3, got " + count);
            }
        }
    }

    /// Two different objects.
    ///
    /// @param relation position of the first object relative to the second
    record Two(Thing first, Relation relation, Thing second) implements Scene {
        public Two {
            if (first.equals(second)) {
                throw new IllegalArgumentException("expected two different objects, got two of " + first);
            }
        }

        /// Returns the same scene described from the other object.
        Two turned() {
            return new Two(/* first= */ second, relation.converse(), /* second= */ first);
        }
    }

    /// A scene that differs from another one, and the attributes in which it differs.
    record Wrong(Scene scene, Set<Attribute> attributes) {
        public Wrong {
            attributes = Collections.unmodifiableSet(EnumSet.copyOf(attributes));
        }
    }

    /// Returns the caption, in lower case.
    default String caption() {
        return switch (this) {
            case One one -> "a " + word(one.size) + " " + words(one.thing);
            case Several several -> (several.count == 2 ? "two " : "three ") + words(several.thing) + "s";
            case Two two -> "a " + words(two.first) + " " + two.relation.words() + " a " + words(two.second);
        };
    }

    /// Returns the scene of a caption.
    ///
    /// @throws IllegalArgumentException when the text is not a caption of a scene
    static Scene parse(String caption) {
        Scene scene = Captions.SCENES.get(caption);
        if (scene == null) {
            throw new IllegalArgumentException(
                    "expected a caption such as \"three red circles\", \"a large green ring\""
                            + " or \"a blue ring left of a green square\", got \"" + caption + "\"");
        }
        return scene;
    }

    /// Returns all 2,304 scenes in a fixed order.
    static List<Scene> all() {
        return Captions.ALL;
    }

    /// Returns the attributes that the caption states, each of which an image can get wrong. The caption of
    /// a single object states a count, too.
    default Set<Attribute> attributes() {
        return switch (this) {
            case One one -> EnumSet.of(Attribute.COLOUR, Attribute.SHAPE, Attribute.COUNT, Attribute.SIZE);
            case Several several -> EnumSet.of(Attribute.COLOUR, Attribute.SHAPE, Attribute.COUNT);
            case Two two -> EnumSet.of(Attribute.COLOUR, Attribute.SHAPE, Attribute.COUNT, Attribute.RELATION);
        };
    }

    /// Returns whether the scene is held out for evaluation: one in four scenes with one kind of object,
    /// one in six with two. Neither the demo's model nor its tuning trains on held-out captions. Each
    /// colour, shape, size, number and relation occurs equally often among them. Scenes with the same
    /// images are held out together.
    default boolean heldOut() {
        return switch (this) {
            case One one -> (place(one.thing) + (one.size == Size.LARGE ? 1 : 0)) % 4 == 0;
            case Several several -> (place(several.thing) + several.count) % 4 == 0;
            case Two two -> (place(two.first) + place(two.second) + (two.relation.horizontal() ? 3 : 0)) % 6 == 0;
        };
    }

    /// Returns the cell of a Latin square over colours and shapes.
    private static int place(Thing thing) {
        return List.of(Colour.values()).indexOf(thing.colour())
                + List.of(Shape.values()).indexOf(thing.shape());
    }

    /// Returns a random scene that is not held out: the three kinds are equally likely, and so are the
    /// scenes of a kind.
    static Scene draw(PhiloxStream random) {
        int kind = random.nextInt(3);
        Scene scene;
        do {
            scene = switch (kind) {
                case 0 -> new One(any(random, Size.values()), thing(random));
                case 1 -> new Several(2 + random.nextInt(2), thing(random));
                default -> {
                    Thing first = thing(random);
                    Thing second = thing(random);
                    while (second.equals(first)) {
                        second = thing(random);
                    }
                    yield new Two(first, any(random, Relation.values()), second);
                }
            };
        } while (scene.heldOut());
        return scene;
    }

    /// Returns a random scene that differs from this one in one or two attributes, with equal probability,
    /// and that has no image in common with it. Two objects keep their number, since a single object has a
    /// size, which their caption does not state.
    default Wrong wrong(PhiloxStream random) {
        int changes = 1 + random.nextInt(2);
        EnumSet<Attribute> changed = EnumSet.noneOf(Attribute.class);
        Scene scene = this;
        while (changed.size() < changes) {
            EnumSet<Attribute> left = EnumSet.copyOf(changeable());
            left.retainAll(scene.changeable());
            left.removeAll(changed);
            if (changed.contains(Attribute.SIZE)) {
                // A scene with another number of objects states no size.
                left.remove(Attribute.COUNT);
            }
            Attribute attribute = any(random, left.toArray(Attribute[]::new));
            // Two objects may become equal, which is not a scene; try again.
            Scene next = scene.changed(attribute, random);
            while (next.sameImages(this)) {
                next = scene.changed(attribute, random);
            }
            scene = next;
            changed.add(attribute);
        }
        return new Wrong(scene, changed);
    }

    /// Returns whether both scenes have the same images.
    default boolean sameImages(Scene other) {
        return equals(other) || (this instanceof Two two && other.equals(two.turned()));
    }

    private Set<Attribute> changeable() {
        Set<Attribute> changeable = EnumSet.copyOf(attributes());
        if (this instanceof Two) {
            changeable.remove(Attribute.COUNT);
        }
        return changeable;
    }

    /// Returns this scene with another value of one attribute, chosen uniformly. Several objects that
    /// become one get a random size.
    private Scene changed(Attribute attribute, PhiloxStream random) {
        return switch (this) {
            case One one ->
                switch (attribute) {
                    case COUNT -> new Several(2 + random.nextInt(2), one.thing);
                    case SIZE -> new One(other(random, one.size, Size.values()), one.thing);
                    default -> new One(one.size, changed(one.thing, attribute, random));
                };
            case Several several ->
                switch (attribute) {
                    case COUNT ->
                        random.nextInt(2) == 0
                                ? new One(any(random, Size.values()), several.thing)
                                : new Several(5 - several.count, several.thing);
                    default -> new Several(several.count, changed(several.thing, attribute, random));
                };
            case Two two -> {
                if (attribute == Attribute.RELATION) {
                    yield new Two(two.first, other(random, two.relation, Relation.values()), two.second);
                }
                Thing first = two.first;
                Thing second = two.second;
                do {
                    if (random.nextInt(2) == 0) {
                        first = changed(two.first, attribute, random);
                        second = two.second;
                    } else {
                        first = two.first;
                        second = changed(two.second, attribute, random);
                    }
                } while (first.equals(second));
                yield new Two(first, two.relation, second);
            }
        };
    }

    private static Thing changed(Thing thing, Attribute attribute, PhiloxStream random) {
        return switch (attribute) {
            case COLOUR -> new Thing(other(random, thing.colour(), Colour.values()), thing.shape());
            case SHAPE -> new Thing(thing.colour(), other(random, thing.shape(), Shape.values()));
            default -> throw new IllegalArgumentException("expected an attribute of an object, got " + attribute);
        };
    }

    private static Thing thing(PhiloxStream random) {
        return new Thing(any(random, Colour.values()), any(random, Shape.values()));
    }

    private static <E> E any(PhiloxStream random, E[] values) {
        return values[random.nextInt(values.length)];
    }

    private static <E> E other(PhiloxStream random, E value, E[] values) {
        E chosen = any(random, values);
        while (chosen.equals(value)) {
            chosen = any(random, values);
        }
        return chosen;
    }

    private static String words(Thing thing) {
        return word(thing.colour()) + " " + word(thing.shape());
    }

    private static String word(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }

    /// All scenes and their captions, created on first use.
    final class Captions {
        private static final List<Scene> ALL = make();
        private static final Map<String, Scene> SCENES =
                ALL.stream().collect(Collectors.toUnmodifiableMap(Scene::caption, Function.identity()));

        private Captions() {}

        private static List<Scene> make() {
            List<Thing> things = Stream.of(Colour.values())
                    .flatMap(colour -> Stream.of(Shape.values()).map(shape -> new Thing(colour, shape)))
                    .toList();
            List<Scene> all = new ArrayList<>();
            things.forEach(thing -> Stream.of(Size.values()).forEach(size -> all.add(new One(size, thing))));
            things.forEach(thing -> Stream.of(2, 3).forEach(count -> all.add(new Several(count, thing))));
            for (Thing first : things) {
                for (Thing second : things) {
                    if (!first.equals(second)) {
                        Stream.of(Relation.values()).forEach(relation -> all.add(new Two(first, relation, second)));
                    }
                }
            }
            return List.copyOf(all);
        }
    }
}
