package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.SplittableRandom;
import org.smpo.data.PairScores;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.network.TinyClip;

/// Preference pairs whose images tell by their colours what they are: people prefer bright images, and
/// the images of another domain have another tint. Even the embeddings of a model with made-up weights
/// show colours.
public final class TintedPairs {
    private TintedPairs() {}

    /// Writes a folder with `pairs.jsonl`. Each pair has a caption of its own, which another folder
    /// repeats.
    ///
    /// @param red how much red is added to each image, from 0 to 120
    /// @param bad number of pairs, the last ones, whose image 1 is not an image
    public static Path write(Path folder, int pairs, int red, int bad) throws IOException {
        Files.createDirectories(folder);
        SplittableRandom random = new SplittableRandom(red + 1);
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < pairs; i++) {
            int better = random.nextInt(2);
            for (int which = 0; which < 2; which++) {
                Path file = folder.resolve(i + "-" + which + ".png");
                if (which == 1 && i >= pairs - bad) {
                    Files.writeString(file, "not an image");
                } else {
                    new Png(image(i + "." + which + "." + red, red, which == better ? 60 : 0), Map.of()).write(file);
                }
            }
            lines.append(
                    "{\"id\": \"%d\", \"caption\": \"thing number %d\", \"image_0\": \"%d-0.png\", \"image_1\": \"%d-1.png\", \"label\": %d}%n"
                            .formatted(i, i, i, i, better));
        }
        Files.writeString(folder.resolve("pairs.jsonl"), lines);
        return folder;
    }

    /// Makes all images red, and nearly alike.
    public static void redden(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            for (Path file :
                    files.filter(path -> path.toString().endsWith(".png")).toList()) {
                RgbImage image = Png.read(file).image();
                byte[] rgb = image.rgb().clone();
                for (int i = 0; i < rgb.length; i++) {
                    rgb[i] = (byte) (i % 3 == 0 ? 255 : (rgb[i] & 255) >> 3);
                }
                new Png(RgbImage.of(image.width(), image.height(), rgb), Map.of()).write(file);
            }
        }
    }

    /// Changes the labels of all pairs to the choice of a reward.
    public static void relabel(Path folder, ScoreTable scores) throws IOException {
        Path list = folder.resolve("pairs.jsonl");
        StringBuilder lines = new StringBuilder();
        int row = 0;
        for (String line : Files.readAllLines(list)) {
            PairScores both = scores.scores(row++).orElseThrow();
            int better = both.score0() > both.score1() ? 0 : 1;
            lines.append(line.replaceFirst("\"label\": .", "\"label\": " + better))
                    .append('\n');
        }
        Files.writeString(list, lines);
    }

    private static RgbImage image(String name, int red, int bright) {
        RgbImage plain = TinyClip.image(name, 30, 30);
        byte[] rgb = new byte[3 * 30 * 30];
        for (int y = 0; y < 30; y++) {
            for (int x = 0; x < 30; x++) {
                for (int channel = 0; channel < 3; channel++) {
                    int value = (plain.rgb()[3 * (30 * y + x) + channel] & 255) / 2 + bright + (channel == 0 ? red : 0);
                    rgb[3 * (30 * y + x) + channel] = (byte) Math.min(255, value);
                }
            }
        }
        return RgbImage.of(30, 30, rgb);
    }
}
