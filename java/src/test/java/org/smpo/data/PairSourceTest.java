package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.SyntheticPairs.Synthetic;
import org.smpo.io.Rendering;
import org.smpo.io.RgbImage;

/// Every dataset format yields the same 500 pairs in the same batches.
class PairSourceTest {
    private static final int PAIRS = 500;

    @TempDir
    static Path temporary;

    private static List<Synthetic> synthetic;
    private static Path folder;
    private static Path parquet;
    private static Path tar;

    @BeforeAll
    static void write() throws IOException, SQLException {
        synthetic = SyntheticPairs.create(PAIRS);
        folder = SyntheticPairs.folder(temporary.resolve("folder"), synthetic);
        parquet = SyntheticPairs.parquet(temporary.resolve("parquet"), synthetic, 180);
        tar = SyntheticPairs.tar(temporary.resolve("tar"), synthetic, 200);
    }

    @Test
    void everyFormatHoldsTheSamePairs() throws IOException {
        for (Path path : List.of(folder, parquet, tar)) {
            try (PairSource source = PairSource.open(path)) {
                assertThat(source.size()).as(source.describe()).isEqualTo(PAIRS);
                for (int i = 0; i < PAIRS; i++) {
                    Synthetic expected = synthetic.get(i);
                    assertThat(source.labels().people(i)).isEqualTo(expected.people());
                    assertThat(source.labels().probability0(i).stream().boxed().toList())
                            .isEqualTo(
                                    Stream.ofNullable(expected.probability0()).toList());
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
        Synthetic pair = synthetic.get(i);
        return new PreferencePair(
                i,
                pair.id(),
                pair.caption(),
                pair.image0(),
                pair.image1(),
                pair.people(),
                java.util.Optional.of(new PairScores(pair.score0(), pair.score1())));
    }

    private static List<PreparedPair> batches(Path path, int threads, int steps)
            throws IOException, InterruptedException {
        try (PairSource source = PairSource.open(path)) {
            LabelledPairs labelled = new LabelledPairs(source.labels(), pair -> List.of(), Labeler.ofPeople(), false);
            DataCursor cursor = new DataCursor(labelled.eligible(), 20, 11, 0, 1, Optional.empty());
            PairDecoder decoder = new PairDecoder(new DecodeOptions(64, Crop.RANDOM, true, false, 0.2, threads), 11);
            List<PreparedPair> pairs = new ArrayList<>();
            for (int step = 0; step < steps; step++) {
                PreparedBatch<PreparedPair> batch = decoder.prepare(source, cursor.batch(step, 48), image -> false);
                assertThat(batch.bad()).isEmpty();
                pairs.addAll(batch.pairs());
            }
            return pairs;
        }
    }

    @Test
    void everyFormatGivesTheSameBatches() throws IOException, InterruptedException {
        List<PreparedPair> expected = batches(folder, 2, 11);
        assertThat(expected).hasSize(11 * 48);
        assertThat(expected.stream().map(pair -> pair.use().epoch()).distinct()).containsExactly(0L, 1L);
        assertThat(expected.stream().filter(PreparedPair::captionDropped).count())
                .isBetween(70L, 145L);
        assertThat(batches(parquet, 2, 11)).isEqualTo(expected);
        assertThat(batches(tar, 2, 11)).isEqualTo(expected);
        // The comparison detects one changed pixel.
        PreparedPair first = expected.get(0);
        byte[] rgb = first.image0().pixels().rgb();
        rgb[5] ^= 1;
        assertThat(RgbImage.of(64, 64, rgb)).isNotEqualTo(first.image0().pixels());
    }

    @Test
    void theResultDoesNotDependOnThreads() throws IOException, InterruptedException {
        List<PreparedPair> expected = batches(tar, 1, 2);
        assertThat(batches(tar, 3, 2)).isEqualTo(expected);
        assertThat(batches(tar, 64, 2)).isEqualTo(expected);
    }

    @Test
    void fingerprintsDetectOtherData() throws IOException, SQLException {
        List<String> seen = new ArrayList<>();
        for (Path path : List.of(folder, parquet, tar)) {
            try (PairSource first = PairSource.open(path);
                    PairSource again = PairSource.open(path)) {
                assertThat(first.fingerprint()).isEqualTo(again.fingerprint());
                seen.add(first.fingerprint());
            }
        }
        List<Synthetic> fewer = synthetic.subList(0, 30);
        List<Synthetic> changed = new ArrayList<>(fewer);
        Synthetic pair = changed.get(5);
        changed.set(5, new Synthetic(pair.id(), pair.caption(), pair.image0(), pair.image1(), 0.5, 0, 1));
        for (List<Synthetic> pairs : List.of(fewer, changed)) {
            Path into = temporary.resolve("few" + seen.size());
            for (Path path : List.of(
                    SyntheticPairs.folder(into.resolve("f"), pairs),
                    SyntheticPairs.parquet(into.resolve("p"), pairs, 20),
                    SyntheticPairs.tar(into.resolve("t"), pairs, 20))) {
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
    void whatIsNotADataSetIsNamed() throws IOException {
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
        Files.createDirectories(odd.resolve("dev"));
        Files.createDirectories(odd.resolve("test"));
        assertThatThrownBy(() -> PairSource.open(odd)).hasMessageContaining("found dev, test; choose one");
        Files.createDirectories(odd.resolve("train"));
        assertThatThrownBy(() -> PairSource.open(odd)).hasMessageContaining("train: expected pairs.jsonl");
        assertThatThrownBy(() -> PairSource.open(odd, Optional.of("dev"), Rendering.VIEWER))
                .hasMessageContaining("dev: expected pairs.jsonl");
        Files.writeString(odd.resolve("x.parquet"), "PAR1 and no more");
        assertThatThrownBy(() -> PairSource.open(odd.resolve("x.parquet")))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("x.parquet");
        Files.write(
                odd.resolve("cut.tar"), java.util.Arrays.copyOf(Files.readAllBytes(tar.resolve("00000.tar")), 9000));
        assertThatThrownBy(() -> PairSource.open(odd.resolve("cut.tar"))).isInstanceOf(IOException.class);
    }
}
