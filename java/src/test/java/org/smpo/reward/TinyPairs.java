package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.network.TinyClip;

/// A small dataset of preference pairs from the images and captions of the CLIP golden file.
public final class TinyPairs {
    private TinyPairs() {}

    /// Writes a folder with `pairs.jsonl`. Pair i has caption i, image i and image i + 1, with lists
    /// repeated as needed.
    ///
    /// @param pairs number of pairs
    /// @param corrupt indices of pairs whose image 1 is not an image
    public static Path write(Path folder, int pairs, List<Integer> corrupt) throws IOException {
        Files.createDirectories(folder);
        List<RgbImage> images = List.copyOf(TinyClip.images().values());
        List<String> captions = TinyClip.golden().strings("captions");
        for (int i = 0; i < images.size(); i++) {
            new Png(images.get(i), Map.of()).write(folder.resolve(i + ".png"));
        }
        Files.writeString(folder.resolve("bad.png"), "not an image");
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < pairs; i++) {
            String second = corrupt.contains(i) ? "bad" : "" + (i + 1) % images.size();
            lines.append("{\"id\": \"pair-")
                    .append(i)
                    .append("\", \"caption\": \"")
                    .append(captions.get(i % captions.size()))
                    .append("\", \"image_0\": \"")
                    .append(i % images.size())
                    .append(".png\", \"image_1\": \"")
                    .append(second)
                    .append(".png\", \"label\": ")
                    .append(i % 2)
                    .append("}\n");
        }
        Files.writeString(folder.resolve("pairs.jsonl"), lines);
        return folder;
    }
}
