package org.smpo.demo;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.DataCheck;
import org.smpo.data.DataReport;
import org.smpo.data.PairSource;
import org.smpo.data.PreferencePair;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.objective.HumanChoice;
import org.smpo.random.Philox;

final class PreferencePairsTest {
    private static final int PAIRS = 60;

    @TempDir
    private Path temporary;

    private Path write(String name, int count, long seed) throws IOException {
        Path file = temporary.resolve(name);
        PreferencePairs.write(file, count, seed, done -> {});
        return file;
    }

    /// Reading the pairs returns each image, caption and choice as it was written.
    @Test
    void pairsReadBackAsTheyWerePainted() throws IOException, InterruptedException {
        Philox philox = new Philox(11);
        int first = 0;
        try (PairSource source = PairSource.open(write("pairs.parquet", PAIRS, 11))) {
            assertThat(source.size()).isEqualTo(PAIRS);
            for (int item = 0; item < PAIRS; item++) {
                PreferencePairs.Pair drawn = PreferencePairs.draw(philox, item);
                PreferencePair read = (PreferencePair) source.read(item);
                assertThat(read.id()).isEqualTo("drawn-" + item);
                assertThat(Scene.parse(read.caption())).isEqualTo(drawn.scene());
                boolean zeroWins = read.people() == HumanChoice.IMAGE_0;
                assertThat(read.people()).isIn(HumanChoice.IMAGE_0, HumanChoice.IMAGE_1);
                RgbImage zero = Png.read("0", read.image0().bytes()).image();
                RgbImage one = Png.read("1", read.image1().bytes()).image();
                assertThat(zeroWins ? zero : one).isEqualTo(drawn.right()).isNotEqualTo(drawn.other());
                assertThat(zeroWins ? one : zero).isEqualTo(drawn.other());
                first += zeroWins ? 1 : 0;
            }
            DataReport report = DataCheck.run(source, 1, done -> {});
            assertThat(report.acceptable(0)).isTrue();
        }
        // Five standard deviations of a fair coin.
        assertThat(Math.abs(first - PAIRS / 2.0)).isLessThan(5 * Math.sqrt(PAIRS) / 2);
    }

    @Test
    void theFileIsAFunctionOfTheSeed() throws IOException {
        byte[] bytes = Files.readAllBytes(write("a.parquet", 8, 3));
        assertThat(Files.readAllBytes(write("b.parquet", 8, 3))).isEqualTo(bytes);
        assertThat(Files.readAllBytes(write("c.parquet", 8, 4))).isNotEqualTo(bytes);
        assertThatThrownBy(() -> write("d.parquet", 0, 3)).hasMessageContaining("expected 1 or more, got 0");
    }

    /// The small model trains on other images than those of the pairs of the same seed.
    @Test
    void pairsAndScenesOfOneSeedDiffer() {
        Philox philox = new Philox(3);
        int equal = 0;
        for (int item = 0; item < 100; item++) {
            equal += PreferencePairs.draw(philox, item).scene().equals(SceneSet.scene(philox, item)) ? 1 : 0;
        }
        assertThat(equal).isLessThan(10);
    }
}
