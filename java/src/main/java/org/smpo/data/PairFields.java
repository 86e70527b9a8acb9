package org.smpo.data;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import org.smpo.objective.HumanChoice;

/// The fields of one record by name and their meaning, which is the same for every format.
///
/// | field | value |
/// |---|---|
/// | `caption`, `prompt`, `text` | the prompt, may be empty; the first of them that exists |
/// | `label` | the better image: 0 or 1; 0.5 or `"tie"` when neither is; null or absent for no answer |
/// | `label_0`, `label_1` | Pick-a-Pic: 1 for the better image, 0 for the other, 0.5 both for a tie |
/// | `has_label` | Pick-a-Pic: when false, there is no answer |
/// | `best_image_uid`, `image_0_uid`, `image_1_uid` | Pick-a-Pic: which one is better, where there is no `label_0` |
/// | `probability_0` | probability that image 0 is the better one, 0 to 1; above ½ image 0 is, at ½ neither |
/// | `score_0`, `score_1` | scores of a reward model: both or none |
/// | `id`, `ranking_id` | name of the pair; the first of them that exists |
/// | `jpg_0`, `image_0`, `chosen` | image 0; `chosen` means that it is the better one |
/// | `jpg_1`, `image_1`, `rejected` | image 1 |
///
/// A single image is in the field `file_name`, `image` or `jpg`; its `label` is true or 1 where it is desirable,
/// false or 0 where it is not.
///
/// Names of images may end with `_file_name`, as in Hugging Face's `metadata.jsonl`. Text may also be UTF-8
/// bytes. Other fields are ignored.
final class PairFields {
    /// Fields that tell who won and by how much.
    static final Set<String> LABELS = ordered(
            "label",
            "label_0",
            "label_1",
            "has_label",
            "are_different",
            "best_image_uid",
            "image_0_uid",
            "image_1_uid",
            "probability_0",
            "score_0",
            "score_1");

    /// Fields that name a pair.
    static final Set<String> NAMES = ordered("id", "ranking_id");

    /// Fields that hold the prompt, the most specific first.
    static final Set<String> CAPTIONS = ordered("caption", "prompt", "text");

    private static final List<List<String>> IMAGES =
            List.of(List.of("jpg_0", "image_0", "chosen"), List.of("jpg_1", "image_1", "rejected"));

    private static final List<String> SINGLE_IMAGES = List.of("file_name", "image", "image_file_name", "jpg");

    private final String where;
    private final Map<String, Object> values;
    private final boolean chosenFirst;

    /// @param where place of the record, for messages
    /// @param values text, UTF-8 bytes, Long, Double, Boolean or null by field
    PairFields(String where, Map<String, Object> values) {
        this(where, values, isChosen(imageField(0, values.keySet())));
    }

    /// @param chosenFirst whether image 0 is the chosen one by the name of its field
    PairFields(String where, Map<String, Object> values, boolean chosenFirst) {
        this.where = where;
        this.values = values;
        this.chosenFirst = chosenFirst;
    }

    private static Set<String> ordered(String... names) {
        return new LinkedHashSet<>(List.of(names));
    }

    /// The field of image 0 or 1 among these names, or null.
    static String imageField(int which, Collection<String> names) {
        for (String suffix : List.of("", "_file_name")) {
            for (String name : IMAGES.get(which)) {
                if (names.contains(name + suffix)) {
                    return name + suffix;
                }
            }
        }
        return null;
    }

    static boolean isChosen(String imageField) {
        return imageField != null && imageField.startsWith("chosen");
    }

    /// The field of image 0 or 1.
    String imageField(int which) throws BadPairException {
        String field = imageField(which, values.keySet());
        if (field == null) {
            throw bad(Problem.MISSING_FIELD, "image_" + which, "text", null);
        }
        return field;
    }

    /// The field of a single image among these names, or null.
    static String singleImageField(Collection<String> names) {
        return SINGLE_IMAGES.stream().filter(names::contains).findFirst().orElse(null);
    }

    /// The field of a single image.
    String singleImageField() throws BadPairException {
        String field = singleImageField(values.keySet());
        if (field == null) {
            throw bad(Problem.MISSING_FIELD, SINGLE_IMAGES.getFirst(), "text", null);
        }
        return field;
    }

    /// Whether a single image is desirable; empty where the record has no label.
    Optional<Boolean> desirable() throws BadPairException {
        Object value = value("label");
        String text = switch (value) {
            case null -> "";
            case Double number -> number == Math.rint(number) ? Long.toString(number.longValue()) : "" + number;
            case String given -> given.strip().toLowerCase(Locale.ROOT);
            default -> value.toString();
        };
        return switch (text) {
            case "" -> Optional.empty();
            case "true", "1" -> Optional.of(true);
            case "false", "0" -> Optional.of(false);
            default -> throw bad(Problem.BAD_LABEL, "label", "true or false, or 1 or 0", value);
        };
    }

    /// The pair's name, or the other one when it has none.
    String id(String otherwise) throws BadPairException {
        for (String name : NAMES) {
            Object value = value(name);
            if (value instanceof String || value instanceof Long) {
                return value.toString();
            }
        }
        return otherwise;
    }

    String caption() throws BadPairException {
        for (String name : CAPTIONS) {
            if (values.get(name) != null) {
                return text(name);
            }
        }
        return text("caption");
    }

    /// The value of a field, with bytes decoded to text.
    private Object value(String name) throws BadPairException {
        Object value = values.get(name);
        if (!(value instanceof byte[] bytes)) {
            return value;
        }
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new BadPairException(
                    Problem.BAD_TEXT, where + ": " + name + ": expected UTF-8, found bytes that are not");
        }
    }

    /// Text that a record must have.
    String text(String name) throws BadPairException {
        Object value = value(name);
        if (value == null) {
            throw bad(Problem.MISSING_FIELD, name, "text", null);
        }
        if (!(value instanceof String text)) {
            throw bad(Problem.WRONG_TYPE, name, "text", value);
        }
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            boolean pair = Character.isHighSurrogate(c)
                    && i + 1 < text.length()
                    && Character.isLowSurrogate(text.charAt(i + 1));
            if (pair) {
                i++;
            } else if (Character.isSurrogate(c)) {
                throw new BadPairException(
                        Problem.BAD_TEXT,
                        where + ": " + name + ": expected Unicode text, found half a surrogate pair at character " + i);
            }
        }
        return text;
    }

    /// The better image by the labels, or by the probability where there is no label.
    HumanChoice people() throws BadPairException {
        OptionalDouble probability0 = probability0();
        boolean unanswered = values.get("has_label") instanceof Boolean has && !has;
        if (unanswered && probability0.isEmpty()) {
            return HumanChoice.UNKNOWN;
        }
        HumanChoice said = unanswered ? HumanChoice.UNKNOWN : byLabels();
        if (probability0.isPresent()) {
            HumanChoice byProbability = HumanChoice.ofProbability0(probability0.getAsDouble());
            if (said != HumanChoice.UNKNOWN && said != byProbability) {
                throw new BadPairException(
                        Problem.BAD_LABEL,
                        where + ": label: expected "
                                + (byProbability == HumanChoice.TIE ? "a tie" : "image " + number(byProbability))
                                + ", which probability_0 (" + probability0.getAsDouble() + ") prefers, found "
                                + number(said));
            }
            said = byProbability;
        }
        if (!chosenFirst) {
            return said;
        }
        if (said != HumanChoice.UNKNOWN && said != HumanChoice.IMAGE_0) {
            throw new BadPairException(
                    Problem.BAD_LABEL,
                    where + ": chosen: expected the better image, found another one by the label (" + said + ")");
        }
        return HumanChoice.IMAGE_0;
    }

    private static String number(HumanChoice choice) {
        return switch (choice) {
            case IMAGE_0 -> "0";
            case IMAGE_1 -> "1";
            case TIE -> "a tie";
            case UNKNOWN -> "nothing";
        };
    }

    /// The probability that image 0 is the better one, if the record has it.
    OptionalDouble probability0() throws BadPairException {
        Optional<Double> found = number("probability_0");
        if (found.isEmpty()) {
            return OptionalDouble.empty();
        }
        double probability = found.get();
        if (!(probability >= 0 && probability <= 1)) {
            throw bad(Problem.BAD_LABEL, "probability_0", "a number from 0 to 1", probability);
        }
        return OptionalDouble.of(probability);
    }

    private HumanChoice byLabels() throws BadPairException {
        HumanChoice byLabel = byLabel();
        HumanChoice byPair = byLabelPair();
        if (byLabel != HumanChoice.UNKNOWN && byPair != HumanChoice.UNKNOWN && byLabel != byPair) {
            throw new BadPairException(
                    Problem.BAD_LABEL,
                    where + ": label: expected the choice of label_0 and label_1 (" + byPair + "), found " + byLabel);
        }
        return byLabel != HumanChoice.UNKNOWN ? byLabel : byPair != HumanChoice.UNKNOWN ? byPair : byBest();
    }

    private HumanChoice byLabel() throws BadPairException {
        Object value = value("label");
        String text = switch (value) {
            case null -> "";
            case Long number -> number.toString();
            case Double number -> number == Math.rint(number) ? Long.toString(number.longValue()) : "" + number;
            case String given -> given.strip().toLowerCase(Locale.ROOT);
            default -> value.toString();
        };
        return switch (text) {
            case "" -> HumanChoice.UNKNOWN;
            case "0", "0.0" -> HumanChoice.IMAGE_0;
            case "1", "1.0" -> HumanChoice.IMAGE_1;
            case "0.5", "tie" -> HumanChoice.TIE;
            default ->
                throw bad(Problem.BAD_LABEL, "label", "the better image's number, 0 or 1, or 0.5 or \"tie\"", value);
        };
    }

    private HumanChoice byLabelPair() throws BadPairException {
        Optional<Double> label0 = share("label_0");
        Optional<Double> label1 = share("label_1");
        if (label0.isEmpty() && label1.isEmpty()) {
            return HumanChoice.UNKNOWN;
        }
        double first = label0.orElseGet(() -> 1 - label1.orElseThrow());
        double second = label1.orElse(1 - first);
        if ((first != 0 && first != 0.5 && first != 1) || first + second != 1) {
            throw new BadPairException(
                    Problem.BAD_LABEL,
                    where + ": label_0, label_1: expected (1, 0), (0, 1) or (0.5, 0.5), found (" + first + ", " + second
                            + ")");
        }
        return HumanChoice.ofLabel0(first);
    }

    private HumanChoice byBest() throws BadPairException {
        Object best = value("best_image_uid");
        if (!(best instanceof String uid) || uid.isEmpty()) {
            return Boolean.FALSE.equals(values.get("are_different")) ? HumanChoice.TIE : HumanChoice.UNKNOWN;
        }
        if (uid.equals(value("image_0_uid"))) {
            return HumanChoice.IMAGE_0;
        }
        if (uid.equals(value("image_1_uid"))) {
            return HumanChoice.IMAGE_1;
        }
        if (uid.equalsIgnoreCase("tie")) {
            return HumanChoice.TIE;
        }
        throw bad(Problem.BAD_LABEL, "best_image_uid", "image_0_uid, image_1_uid or \"tie\"", best);
    }

    Optional<PairScores> scores() throws BadPairException {
        Optional<Double> score0 = number("score_0");
        Optional<Double> score1 = number("score_1");
        if (score0.isEmpty() && score1.isEmpty()) {
            return Optional.empty();
        }
        for (String name : new String[] {"score_0", "score_1"}) {
            double score =
                    number(name).orElseThrow(() -> bad(Problem.MISSING_FIELD, name, "both scores or none", null));
            if (!Double.isFinite(score)) {
                throw bad(Problem.SCORE_NOT_FINITE, name, "a finite number", score);
            }
        }
        return Optional.of(new PairScores(score0.orElseThrow(), score1.orElseThrow()));
    }

    /// One image's share of the choice, which some tables have as a truth value.
    private Optional<Double> share(String name) throws BadPairException {
        return values.get(name) instanceof Boolean best ? Optional.of(best ? 1.0 : 0.0) : number(name);
    }

    private Optional<Double> number(String name) throws BadPairException {
        return switch (values.get(name)) {
            case null -> Optional.empty();
            case Number number -> Optional.of(number.doubleValue());
            case Object other -> throw bad(Problem.WRONG_TYPE, name, "a number", other);
        };
    }

    private BadPairException bad(Problem problem, String name, String expected, Object found) {
        String shown = switch (found) {
            case null -> "nothing";
            case String text -> "\"" + (text.length() > 60 ? text.substring(0, 60) + "..." : text) + "\"";
            case Number number -> number.toString();
            case Boolean truth -> truth.toString();
            default -> "a value of another kind";
        };
        return new BadPairException(problem, where + ": " + name + ": expected " + expected + ", found " + shown);
    }
}
