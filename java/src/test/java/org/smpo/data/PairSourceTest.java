package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.DrawnPairs.Drawn;
import org.smpo.io.RgbImage;

/// The same 500 drawn pairs come out of every form of data set, as the same batches.
class PairSourceTest {
    private static final int PAIRS = 500;

    @TempDir
    static Path temporary;

    private static List<Drawn> drawn;
    private static Path folder;
    private static Path parquet;
    private static Path tar;

    @BeforeAll
    static void write() throws IOException, SQLException {
        drawn = DrawnPairs.draw(PAIRS);
        folder = DrawnPairs.folder(temporary.resolve("folder"), drawn);
        parquet = DrawnPairs.parquet(temporary.resolve("parquet"), drawn, 180);
        tar = DrawnPairs.tar(temporary.resolve("tar"), drawn, 200);
    }

    @Test
    void everyFormHoldsTheSamePairs() throws IOException {
        for (Path path : List.of(folder, parquet, tar)) {
            try (PairSource source = PairSource.open(path)) {
                assertThat(source.size()).as(source.describe()).isEqualTo(PAIRS);
                for (int i = 0; i < PAIRS; i++) {
                    Drawn expected = drawn.get(i);
                    assertThat(source.labels().people(i)).isEqualTo(expected.people());
                    assertThat(source.labels().scores(i))
                            .contains(new PairScores(expected.score0(), expected.score1()));
                }
                for (int i : new int[] {0, 7, 179, 180, 199, 200, 359, 360, 499, 3}) {
                    assertThat(source.read(i)).isEqualTo(pair(i));
                }
                assertThatThrownBy(() -> source.read(PAIRS)).isInstanceOf(IndexOutOfBoundsException.class);
            }
        }
    }

    private static PreferencePair pair(int i) {
        Drawn pair = drawn.get(i);
        return new PreferencePair(
                i,
                pair.id(),
                pair.caption(),
                pair.image0(),
                pair.image1(),
                pair.people(),
                java.util.Optional.of(new PairScores(pair.score0(), pair.score1())));
    }

    private static List<DecodedPair> batches(Path path, int threads, int steps)
            throws IOException, InterruptedException {
        try (PairSource source = PairSource.open(path)) {
            LabelledPairs labelled =
                    new LabelledPairs(source.labels(), ScoreTable.of(source.labels()), Labeler.ofPeople());
            DataCursor cursor = new DataCursor(labelled.eligible(), new HeldOut(20, 0), 11, 0, 1);
            PairDecoder decoder = new PairDecoder(new DecodeOptions(64, Crop.RANDOM, true, false, 0.2, threads), 11);
            List<DecodedPair> pairs = new ArrayList<>();
            for (int step = 0; step < steps; step++) {
                DecodedWindow window = decoder.decode(source, cursor.window(step, 48));
                assertThat(window.bad()).isEmpty();
                pairs.addAll(window.pairs());
            }
            return pairs;
        }
    }

    @Test
    void everyFormGivesTheSameBatches() throws IOException, InterruptedException {
        List<DecodedPair> expected = batches(folder, 2, 11);
        assertThat(expected).hasSize(11 * 48);
        assertThat(expected.stream().map(pair -> pair.draw().epoch()).distinct())
                .containsExactly(0L, 1L);
        assertThat(expected.stream().filter(DecodedPair::captionDropped).count())
                .isBetween(70L, 145L);
        assertThat(batches(parquet, 2, 11)).isEqualTo(expected);
        assertThat(batches(tar, 2, 11)).isEqualTo(expected);
        // The comparison sees one pixel.
        DecodedPair first = expected.get(0);
        byte[] rgb = first.image0().pixels().rgb();
        rgb[5] ^= 1;
        assertThat(RgbImage.of(64, 64, rgb)).isNotEqualTo(first.image0().pixels());
    }

    @Test
    void threadsDoNotShowInTheResult() throws IOException, InterruptedException {
        List<DecodedPair> expected = batches(tar, 1, 2);
        assertThat(batches(tar, 3, 2)).isEqualTo(expected);
        assertThat(batches(tar, 64, 2)).isEqualTo(expected);
    }

    @Test
    void fingerprintsFindOtherData() throws IOException, SQLException {
        List<String> seen = new ArrayList<>();
        for (Path path : List.of(folder, parquet, tar)) {
            try (PairSource first = PairSource.open(path);
                    PairSource again = PairSource.open(path)) {
                assertThat(first.fingerprint()).isEqualTo(again.fingerprint());
                seen.add(first.fingerprint());
            }
        }
        List<Drawn> fewer = drawn.subList(0, 30);
        List<Drawn> changed = new ArrayList<>(fewer);
        Drawn pair = changed.get(5);
        changed.set(5, new Drawn(pair.id(), pair.caption(), pair.image0(), pair.image1(), 0.5, 0, 1));
        for (List<Drawn> pairs : List.of(fewer, changed)) {
            Path into = temporary.resolve("few" + seen.size());
            for (Path path : List.of(
                    DrawnPairs.folder(into.resolve("f"), pairs),
                    DrawnPairs.parquet(into.resolve("p"), pairs, 20),
                    DrawnPairs.tar(into.resolve("t"), pairs, 20))) {
                try (PairSource source = PairSource.open(path)) {
                    seen.add(source.fingerprint());
                }
            }
        }
        assertThat(seen).hasSize(9).doesNotHaveDuplicates();
    }

    @Test
    void onlySomeFilesOfAFolder() throws IOException {
        try (PairSource source = PairSource.open(parquet.resolve("train-00000.parquet"))) {
            assertThat(source.size()).isEqualTo(180);
        }
        try (PairSource source = PairSource.open(tar.resolve("00[24]*.tar"))) {
            assertThat(source.size()).isEqualTo(300);
            assertThat(source.read(0).id()).isEqualTo("p200");
        }
        try (PairSource source = PairSource.open(folder.resolve("pairs.jsonl"))) {
            assertThat(source.size()).isEqualTo(PAIRS);
        }
    }

    @Test
    void whatIsNoDataSetIsNamed() throws IOException {
        Path odd = Files.createDirectories(temporary.resolve("odd"));
        assertThatThrownBy(() -> PairSource.open(odd)).hasMessageContaining("an empty folder");
        assertThatThrownBy(() -> PairSource.open(odd.resolve("no"))).hasMessageContaining("found nothing");
        assertThatThrownBy(() -> PairSource.open(odd.resolve("*.tar"))).hasMessageContaining("found none");
        Files.writeString(odd.resolve("notes.txt"), "hello");
        assertThatThrownBy(() -> PairSource.open(odd)).hasMessageContaining("none of them among 1 files");
        assertThatThrownBy(() -> PairSource.open(odd.resolve("notes.txt"))).hasMessageContaining("found none of them");
        Files.write(odd.resolve("x.tar.gz"), new byte[] {0x1f, (byte) 0x8b, 8, 0});
        assertThatThrownBy(() -> PairSource.open(odd.resolve("x.tar.gz"))).hasMessageContaining("gzip");
        Files.writeString(odd.resolve("pairs.jsonl"), "{}\n");
        Files.writeString(odd.resolve("x.tar"), "");
        assertThatThrownBy(() -> PairSource.open(odd))
                .hasMessageContaining("expected one kind of data")
                .hasMessageContaining("pairs.jsonl")
                .hasMessageContaining("tar shards");
        Files.writeString(odd.resolve("dataset_dict.json"), "{\"splits\": [\"train\"]}");
        Files.createDirectories(odd.resolve("train"));
        assertThatThrownBy(() -> PairSource.open(odd)).hasMessageContaining("name the folder of one (train)");
        Files.writeString(odd.resolve("x.parquet"), "PAR1 and no more");
        assertThatThrownBy(() -> PairSource.open(odd.resolve("x.parquet")))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("x.parquet");
        Files.write(
                odd.resolve("cut.tar"), java.util.Arrays.copyOf(Files.readAllBytes(tar.resolve("00000.tar")), 9000));
        assertThatThrownBy(() -> PairSource.open(odd.resolve("cut.tar"))).isInstanceOf(IOException.class);
    }
}
