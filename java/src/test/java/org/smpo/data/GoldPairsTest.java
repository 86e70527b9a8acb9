package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.objective.HumanChoice;

/// Gold images of people's pairs against generated ones.
final class GoldPairsTest {
    @TempDir
    private Path temporary;

    private Path image(String name, int value) throws IOException {
        Path file = temporary.resolve(name);
        Files.createDirectories(file.getParent());
        byte[] rgb = new byte[3 * 4 * 4];
        rgb[0] = (byte) value;
        new Png(RgbImage.of(4, 4, rgb), Map.of()).write(file);
        return file;
    }

    private PairSource human() throws IOException {
        for (int i = 0; i < 5; i++) {
            image("human/" + i + "a.png", 10 * i);
            image("human/" + i + "b.png", 10 * i + 1);
        }
        // A tie comes before the first choice; the second pair of the cat has another winner; one has no caption.
        Files.writeString(temporary.resolve("human/pairs.jsonl"), """
            {"id": "p0", "caption": "a cat", "image_0": "0a.png", "image_1": "0b.png", "label": 0.5}
            {"id": "p1", "caption": "a cat ", "image_0": "1a.png", "image_1": "1b.png", "label": 1}
            {"id": "p2", "caption": "a dog", "image_0": "2a.png", "image_1": "2b.png", "label": 0.5}
            {"id": "p3", "caption": "a cat", "image_0": "3a.png", "image_1": "3b.png", "label": 0}
            {"id": "p4", "caption": "", "image_0": "4a.png", "image_1": "4b.png", "label": 0}
            """);
        return PairSource.open(temporary.resolve("human"));
    }

    private static int value(EncodedImage image) throws IOException {
        return image.decode().rgb()[0];
    }

    @Test
    void aGeneratedImageMeetsTheFirstChoiceOfItsCaption() throws IOException {
        Path one = image("generated/1.png", 101);
        Path two = image("generated/2.png", 102);
        Path other = image("generated/3.png", 103);
        try (PairSource human = human()) {
            assertThat(GoldPairs.captions(human)).containsExactly("a cat");
            try (PairSource game = GoldPairs.of(
                    human,
                    List.of(
                            new GoldPairs.Candidate("a cat", one),
                            new GoldPairs.Candidate("a dog", other),
                            new GoldPairs.Candidate("a cat", two)))) {
                assertThat(game.size()).isEqualTo(2);
                assertThat(game.labels().people(1)).isEqualTo(HumanChoice.IMAGE_0);
                assertThat(game.describe())
                        .startsWith("2 generated images against the gold images of 1 captions from 5");
                List<PairRecord> pairs = game.read(List.of(1, 0));
                assertThat(pairs).hasSize(2);
                PreferencePair second = (PreferencePair) pairs.getFirst();
                assertThat(second.index()).isEqualTo(1);
                assertThat(second.id()).isEqualTo("p1/2.png");
                assertThat(second.people()).isEqualTo(HumanChoice.IMAGE_0);
                assertThat(value(second.image0())).isEqualTo(11);
                assertThat(value(second.image1())).isEqualTo(102);
                String before = game.fingerprint();
                try (PairSource fewer = GoldPairs.of(human, List.of(new GoldPairs.Candidate("a cat", one)))) {
                    assertThat(fewer.fingerprint()).isNotEqualTo(before);
                }
            }
            assertThat(human.read(0)).isNotNull();
        }
    }

    @Test
    void aGoldImageThatCannotBeReadIsABadPair() throws IOException {
        try (PairSource human = human();
                PairSource game =
                        GoldPairs.of(human, List.of(new GoldPairs.Candidate("a cat", image("generated/1.png", 1))))) {
            Files.delete(temporary.resolve("human/1b.png"));
            assertThat(game.read(0)).isInstanceOf(BadPair.class);
        }
    }
}
