package org.smpo.demo;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.IntConsumer;
import java.util.stream.Collectors;
import org.smpo.io.ParquetWriter;
import org.smpo.io.ParquetWriter.Column;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

/// Painted preference pairs in the format of Pick-a-Pic: an image that matches its caption and one that is
/// wrong in one or two attributes, in either order.
///
/// ```text
/// column             value
/// id                 drawn- and the number of the pair
/// caption            caption
/// jpg_0, jpg_1       images; PNG, despite the name of the column
/// label_0, label_1   1 for the right image, 0 for the wrong one
/// wrong              wrong attributes of the wrong image, such as colour,count; training does not read it
/// ```
///
/// Pair i is a pure function of the seed and i. Equal arguments produce equal pixels, and with the same JDK
/// (which compresses the PNGs) equal files.
public final class PreferencePairs {
    /// Name of the file of pairs in its folder.
    public static final String FILE = "pairs.parquet";

    /// Step of [Purpose#DEMO_SCENES]; [SceneSet] uses 0.
    private static final int SCENE = 1;

    private static final int CHANGE = 2;
    private static final int ORDER = 3;
    /// Steps of [Purpose#DEMO_IMAGES]; [SceneSet] uses 0.
    private static final int RIGHT_IMAGE = 1;

    private static final int WRONG_IMAGE = 2;

    private static final List<Column> COLUMNS = List.of(
            Column.text("id"),
            Column.text("caption"),
            Column.bytes("jpg_0"),
            Column.bytes("jpg_1"),
            Column.number("label_0"),
            Column.number("label_1"),
            Column.text("wrong"));

    private PreferencePairs() {}

    /// A pair.
    ///
    /// @param first whether the right image is image 0
    record Pair(Scene scene, Scene.Wrong wrong, RgbImage right, RgbImage other, boolean first) {}

    static Pair draw(Philox philox, long item) {
        Scene scene = Scene.draw(philox.stream(Purpose.DEMO_SCENES, SCENE, item));
        Scene.Wrong wrong = scene.wrong(philox.stream(Purpose.DEMO_SCENES, CHANGE, item));
        return new Pair(
                scene,
                wrong,
                ScenePainter.paint(scene, philox, RIGHT_IMAGE, item),
                ScenePainter.paint(wrong.scene(), philox, WRONG_IMAGE, item),
                philox.uniformInt(Purpose.DEMO_SCENES, ORDER, item, 2) == 0);
    }

    /// Writes the pairs 0 to count - 1 atomically.
    ///
    /// @param progress receives the number of finished pairs
    /// @throws IOException when the file cannot be written; an existing file is then unchanged
    public static void write(Path target, int count, long seed, IntConsumer progress) throws IOException {
        if (count < 1) {
            throw new IllegalArgumentException("pairs: expected 1 or more, got " + count);
        }
        Philox philox = new Philox(seed);
        ParquetWriter.write(target, COLUMNS, Collections.emptySortedMap(), writer -> {
            for (int item = 0; item < count; item++) {
                writer.add(row(draw(philox, item), item));
                progress.accept(item + 1);
            }
        });
    }

    private static Object[] row(Pair pair, int item) throws IOException {
        byte[] right = new Png(pair.right, Map.of()).bytes();
        byte[] other = new Png(pair.other, Map.of()).bytes();
        String wrong = pair.wrong.attributes().stream()
                .map(attribute -> attribute.name().toLowerCase(Locale.ROOT))
                .collect(Collectors.joining(","));
        return new Object[] {
            "drawn-" + item,
            pair.scene.caption(),
            pair.first ? right : other,
            pair.first ? other : right,
            pair.first ? 1.0 : 0.0,
            pair.first ? 0.0 : 1.0,
            wrong
        };
    }
}
