package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.network.TinyClip;

/// A small data set of preference pairs: the golden's pictures with its captions.
public final class TinyPairs {
    private TinyPairs() {}

    /// Writes a folder with `pairs.jsonl`. Pair i has caption i, picture i and picture i + 1, of the lists taken in
    /// turn.
    ///
    /// @param pairs how many
    /// @param corrupt places where image 1 is no picture
    public static Path write(Path folder, int pairs, List<Integer> corrupt) throws IOException {
        Files.createDirectories(folder);
        List<RgbImage> pictures = List.copyOf(TinyClip.images().values());
        List<String> captions = TinyClip.golden().strings("captions");
        for (int i = 0; i < pictures.size(); i++) {
            new Png(pictures.get(i), Map.of()).write(folder.resolve(i + ".png"));
        }
        Files.writeString(folder.resolve("bad.png"), "no picture");
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < pairs; i++) {
            String second = corrupt.contains(i) ? "bad" : "" + (i + 1) % pictures.size();
            lines.append("{\"id\": \"pair-")
                    .append(i)
                    .append("\", \"caption\": \"")
                    .append(captions.get(i % captions.size()))
                    .append("\", \"image_0\": \"")
                    .append(i % pictures.size())
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
