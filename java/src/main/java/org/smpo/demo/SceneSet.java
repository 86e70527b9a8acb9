package org.smpo.demo;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;
import org.smpo.io.AtomicFiles;
import org.smpo.io.DType;
import org.smpo.io.SafetensorsWriter;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

/// Painted scenes to train a small model on: `scenes.safetensors` with the tensor `pictures`, uint8 [count,
/// 64, 64, 3], RGB from the top left, and `captions.txt` with the caption of image i in line i.
///
/// Scene i is a pure function of the seed and i, and independent of pair i of [PreferencePairs].
public final class SceneSet {
    /// Name of the file with the images.
    public static final String IMAGES = "scenes.safetensors";
    /// Name of the file with the captions.
    public static final String CAPTIONS = "captions.txt";

    private static final String TENSOR = "pictures";
    private static final int STEP = 0;
    private static final int VERSION = 0;

    private SceneSet() {}

    static Scene scene(Philox philox, long item) {
        return Scene.draw(philox.stream(Purpose.DEMO_SCENES, STEP, item));
    }

    /// Writes the scenes 0 to count - 1 into an existing folder. The file of the images is written last, so
    /// that both files are complete where it exists.
    ///
    /// @param progress receives the number of finished scenes
    /// @throws IOException when a file cannot be written
    public static void write(Path folder, int count, long seed, IntConsumer progress) throws IOException {
        if (count < 1) {
            throw new IllegalArgumentException("scenes: expected 1 or more, got " + count);
        }
        Philox philox = new Philox(seed);
        StringBuilder captions = new StringBuilder();
        for (int item = 0; item < count; item++) {
            captions.append(scene(philox, item).caption()).append('\n');
        }
        AtomicFiles.write(folder.resolve(CAPTIONS), captions.toString());
        long side = ScenePainter.SIDE;
        List<SafetensorsWriter.Declaration> tensors =
                List.of(new SafetensorsWriter.Declaration(TENSOR, DType.U8, List.of((long) count, side, side, 3L)));
        Map<String, String> metadata = Map.of("smpo.seed", Long.toString(seed));
        SafetensorsWriter.write(folder.resolve(IMAGES), tensors, metadata, (tensor, out) -> {
            for (int item = 0; item < count; item++) {
                byte[] rgb = ScenePainter.paint(scene(philox, item), philox, VERSION, item)
                        .rgb();
                out.write(TENSOR, ByteBuffer.wrap(rgb));
                progress.accept(item + 1);
            }
        });
    }
}
