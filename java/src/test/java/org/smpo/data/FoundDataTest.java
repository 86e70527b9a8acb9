package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.smpo.data.SyntheticPairs.Synthetic;
import org.smpo.io.ParquetWriter;
import org.smpo.io.ParquetWriter.Column;
import org.smpo.io.Rendering;
import org.smpo.objective.HumanChoice;

/// Datasets in common layouts and conventions: splits, nested folders, links, byte order marks, other
/// column names.
class FoundDataTest {
    @TempDir
    private Path temporary;

    private static List<Synthetic> some(int count) throws IOException {
        return SyntheticPairs.create(count + 1).subList(1, count + 1);
    }

    private static void parquet(Path file, String caption, String image0, String image1, List<Synthetic> pairs)
            throws IOException {
        Files.createDirectories(file.getParent());
        List<Column> columns = List.of(Column.text(caption), Column.bytes(image0), Column.bytes(image1));
        ParquetWriter.write(file, columns, new TreeMap<>(), writer -> {
            for (Synthetic pair : pairs) {
                writer.add(pair.caption(), pair.image0().bytes(), pair.image1().bytes());
            }
        });
    }

    private static void parquet(Path file, List<Synthetic> pairs) throws IOException {
        parquet(file, "caption", "jpg_0", "jpg_1", pairs);
    }

    @ParameterizedTest
    @CsvSource({
        "train-00000-of-00002.parquet, train",
        "train-00001-of-00002-0f1e2d.parquet, train",
        "validation-00000-of-00001.parquet, validation",
        "val.parquet, validation",
        "test_unique-00000-of-00001.parquet, test_unique",
        "pairs_train_07.parquet, train",
        "training.parquet, train",
        "default/train/0000.parquet, train",
        "test/default/0000.parquet, test",
        "split=test/part-0.parquet, test",
        "a.parquet, ''",
        "constrained.parquet, ''",
        "part-00000-of-00002.parquet, ''"
    })
    void splitsAreTakenFromNames(String file, String split) {
        assertThat(DataSplit.of(Path.of("data"), Path.of("data").resolve(file))).isEqualTo(split);
    }

    @Test
    void ofSeveralSplitsTrainIsTakenAndTheOthersAreNamed() throws IOException {
        Path folder = temporary.resolve("hub");
        parquet(folder.resolve("data/train-00000-of-00001.parquet"), some(3));
        parquet(folder.resolve("data/validation-00000-of-00001.parquet"), some(2));
        parquet(folder.resolve("data/test_unique-00000-of-00001.parquet"), some(1));
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.size()).isEqualTo(3);
            assertThat(source.notes())
                    .singleElement()
                    .asString()
                    .endsWith("of several splits train is taken, left out: test_unique, validation");
            assertThat(source.describe())
                    .startsWith("3 pairs of 1 Parquet file: ")
                    .endsWith(".parquet");
        }
        try (PairSource source = PairSource.open(folder.resolve("data/test_unique*"))) {
            assertThat(source.size()).isEqualTo(1);
        }
        Files.delete(folder.resolve("data/train-00000-of-00001.parquet"));
        assertThatThrownBy(() -> PairSource.open(folder))
                .hasMessageContaining("expected one split of a data set, found test_unique, validation; choose one");
    }

    @Test
    void aChosenSplitIsTaken() throws IOException {
        Path folder = temporary.resolve("hub");
        parquet(folder.resolve("data/train-00000-of-00001.parquet"), some(3));
        parquet(folder.resolve("data/validation-00000-of-00001.parquet"), some(2));
        for (String name : List.of("validation", "val")) {
            try (PairSource source = PairSource.open(folder, Optional.of(name), Rendering.VIEWER)) {
                assertThat(source.size()).isEqualTo(2);
                assertThat(source.notes()).singleElement().asString().endsWith("validation is taken, left out: train");
            }
        }
        assertThatThrownBy(() -> PairSource.open(folder, Optional.of("test"), Rendering.VIEWER))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("hub: expected a split test, found train, validation; choose one");
        Path file = folder.resolve("data/train-00000-of-00001.parquet");
        assertThatThrownBy(() -> PairSource.open(file, Optional.of("train"), Rendering.VIEWER))
                .hasMessageContaining("expected a folder, since the split train is chosen, found a file");
        Path plain = temporary.resolve("plain");
        parquet(plain.resolve("a.parquet"), some(1));
        assertThatThrownBy(() -> PairSource.open(plain, Optional.of("train"), Rendering.VIEWER))
                .hasMessageContaining("expected a split train, found files without a split's name");
    }

    @Test
    void filesWithoutSplitsAreOneSet() throws IOException {
        Path folder = temporary.resolve("plain");
        parquet(folder.resolve("a.parquet"), some(1));
        parquet(folder.resolve("b.parquet"), some(2));
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.size()).isEqualTo(3);
        }
    }

    @Test
    void parquetIsFoundInNestedFolders() throws IOException {
        Path folder = temporary.resolve("converted");
        parquet(folder.resolve("default/train/0000.parquet"), some(2));
        parquet(folder.resolve("default/train/0001.parquet"), some(1));
        parquet(folder.resolve("default/test/0000.parquet"), some(1));
        parquet(folder.resolve(".cache/train/0000.parquet"), some(5));
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.size()).isEqualTo(3);
        }
    }

    @Test
    void columnsOfTrlNameTheWinner() throws IOException {
        Path folder = temporary.resolve("trl");
        parquet(folder.resolve("train.parquet"), "prompt", "chosen", "rejected", some(2));
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.labels().people(1)).isEqualTo(HumanChoice.IMAGE_0);
            PreferencePair pair = (PreferencePair) source.read(1);
            assertThat(pair.people()).isEqualTo(HumanChoice.IMAGE_0);
            assertThat(pair.caption()).isEqualTo(some(2).get(1).caption());
            assertThat(pair.image1()).isEqualTo(some(2).get(1).image1());
        }
    }

    /// An image of the largest size is read; one byte more is refused without reading it.
    @Test
    void imagesInParquetAreBoundedBeforeTheyAreRead() throws IOException {
        Path folder = temporary.resolve("large");
        Synthetic pair = some(1).getFirst();
        List<Column> columns = List.of(Column.text("caption"), Column.bytes("jpg_0"), Column.bytes("jpg_1"));
        Files.createDirectories(folder);
        ParquetWriter.write(folder.resolve("x.parquet"), columns, new TreeMap<>(), writer -> {
            for (int more = 0; more < 2; more++) {
                byte[] large = new byte[(int) RecordPairs.MAX_IMAGE_BYTES + more];
                writer.add("c", pair.image0().bytes(), large);
            }
        });
        assertThat(Files.size(folder.resolve("x.parquet"))).isLessThan(1 << 20);
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.read(0)).isInstanceOf(PreferencePair.class);
            BadPair bad = (BadPair) source.read(1);
            assertThat(bad.problem()).isEqualTo(Problem.IMAGE_TOO_LARGE);
        }
    }

    /// A file of a few kilobytes with far more rows than bytes.
    @Test
    void rowsOfParquetAreBoundedByTheSizeOfTheFile() throws IOException {
        Path file = temporary.resolve("rows.parquet");
        ParquetWriter.write(
                file,
                List.of(Column.text("caption"), Column.bytes("jpg_0"), Column.bytes("jpg_1")),
                new TreeMap<>(),
                writer -> {
                    for (int i = 0; i < 100_000; i++) {
                        writer.add(null, null, null);
                    }
                });
        assertThatThrownBy(() -> PairSource.open(file)).hasMessageContaining("found 100000");
    }

    /// A turned image has its sides exchanged, unless the source is opened as Pillow decodes.
    @Test
    void orientationIsAppliedUnlessPillowIsAskedFor() throws IOException, InterruptedException {
        Path folder = Files.createDirectories(temporary.resolve("turned"));
        byte[] png = SyntheticPairs.png(new BufferedImage(80, 40, BufferedImage.TYPE_INT_RGB));
        Files.write(folder.resolve("a.png"), BadRecords.withOrientation(png, 6));
        Files.writeString(
                folder.resolve("pairs.jsonl"),
                "{\"caption\": \"c\", \"label\": 0, \"image_0\": \"a.png\", \"image_1\": \"a.png\"}\n");
        PairDecoder decoder = new PairDecoder(new DecodeOptions(16, Crop.CENTRE, false, false, 0, 1), 1);
        List<String> transformations = new ArrayList<>();
        for (Rendering rendering : Rendering.values()) {
            try (PairSource source = PairSource.open(folder, Optional.empty(), rendering)) {
                EncodedImage image = ((PreferencePair) source.read(0)).image0();
                int width = rendering == Rendering.VIEWER ? 40 : 80;
                assertThat(image.header().width()).isEqualTo(width);
                assertThat(image.decode().width()).isEqualTo(width);
                PreparedImage prepared = decoder.prepare(source, List.of(new PairUse(0, 0)), none -> false)
                        .pairs()
                        .getFirst()
                        .image0();
                assertThat(prepared.placement().originalWidth()).isEqualTo(width);
                transformations.add(prepared.transformation());
            }
        }
        assertThat(transformations).doesNotHaveDuplicates();
        try (PairSource source = PairSource.open(folder)) {
            assertThat(DataCheck.run(source, 1, done -> {}).count(Problem.TURNED_IMAGE))
                    .isEqualTo(2);
        }
    }

    @Test
    void captionsMayBeBytes() throws IOException {
        Path folder = temporary.resolve("bytes");
        Synthetic pair = some(1).getFirst();
        List<Column> columns = List.of(Column.bytes("caption"), Column.bytes("jpg_0"), Column.bytes("jpg_1"));
        Files.createDirectories(folder);
        ParquetWriter.write(folder.resolve("x.parquet"), columns, new TreeMap<>(), writer -> {
            writer.add(
                    "naïve 猫".getBytes(StandardCharsets.UTF_8),
                    pair.image0().bytes(),
                    pair.image1().bytes());
            writer.add(
                    new byte[] {'a', (byte) 0xe9},
                    pair.image0().bytes(),
                    pair.image1().bytes());
        });
        try (PairSource source = PairSource.open(folder)) {
            assertThat(((PreferencePair) source.read(0)).caption()).isEqualTo("naïve 猫");
            BadPair bad = (BadPair) source.read(1);
            assertThat(bad.problem()).isEqualTo(Problem.BAD_TEXT);
            assertThat(bad.message()).isEqualTo("x.parquet: row 1: caption: expected UTF-8, found bytes that are not");
        }
    }

    @Test
    void valuesOfOtherTypesAreDescribedWithoutNamesOfClasses() throws IOException {
        PairFields fields = new PairFields("row 3", Map.of("caption", List.of("x")));
        assertThatThrownBy(fields::caption).hasMessage("row 3: caption: expected text, found a value of another kind");
    }

    @Test
    void imagefolderListsNameTheirImages() throws IOException {
        List<Synthetic> pairs = some(2);
        Path folder = SyntheticPairs.folder(temporary.resolve("imagefolder"), pairs);
        String lines = Files.readString(folder.resolve("pairs.jsonl"))
                .replace("\"image_0\"", "\"chosen_file_name\"")
                .replace("\"image_1\"", "\"rejected_file_name\"")
                .replace("\"caption\"", "\"text\"")
                .replaceAll("\"label\": [0-9.]+", "\"note\": 7");
        Files.writeString(folder.resolve("metadata.jsonl"), lines);
        Files.delete(folder.resolve("pairs.jsonl"));
        try (PairSource source = PairSource.open(folder)) {
            PreferencePair pair = (PreferencePair) source.read(0);
            assertThat(pair.people()).isEqualTo(HumanChoice.IMAGE_0);
            assertThat(pair.image0()).isEqualTo(pairs.get(0).image0());
            assertThat(pair.caption()).isEqualTo(pairs.get(0).caption());
        }
    }

    /// Hugging Face's imagefolder has a list in the folder of each split.
    @Test
    void listsInFoldersOfSplitsAreFound() throws IOException {
        Path folder = temporary.resolve("splits");
        SyntheticPairs.folder(folder.resolve("train"), some(3));
        SyntheticPairs.folder(folder.resolve("validation"), some(2));
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.size()).isEqualTo(3);
            assertThat(source.read(0)).isInstanceOf(PreferencePair.class);
            assertThat(source.notes()).singleElement().asString().endsWith("train is taken, left out: validation");
        }
        SyntheticPairs.folder(folder.resolve("more/train"), some(1));
        assertThatThrownBy(() -> PairSource.open(folder))
                .hasMessageEndingWith(
                        "expected one list of pairs, found 2: more/train/pairs.jsonl, train/pairs.jsonl; name one");
    }

    @Test
    void twoFoldersOfImagesArePairsByName() throws IOException {
        Path folder = temporary.resolve("folders");
        Synthetic pair = some(1).getFirst();
        for (String side : List.of("chosen", "rejected")) {
            Files.createDirectories(folder.resolve(side));
        }
        Files.write(folder.resolve("chosen/a.1.png"), pair.image0().bytes());
        Files.write(folder.resolve("rejected/a.1.jpg"), pair.image1().bytes());
        Files.writeString(folder.resolve("chosen/a.1.txt"), "a cat\n");
        Files.write(folder.resolve("chosen/b.png"), pair.image0().bytes());
        Files.writeString(folder.resolve("b.txt"), "alone");
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.size()).isEqualTo(2);
            assertThat(source.labels().people(0)).isEqualTo(HumanChoice.IMAGE_0);
            PreferencePair first = (PreferencePair) source.read(0);
            assertThat(first.id()).isEqualTo("a.1");
            assertThat(first.caption()).isEqualTo("a cat");
            assertThat(first.image1()).isEqualTo(pair.image1());
            assertThat(((BadPair) source.read(1)).message()).isEqualTo("rejected/b: expected an image, found nothing");
            String before = source.fingerprint();
            Files.writeString(folder.resolve("chosen/a.1.txt"), "a dog\n");
            assertThat(source.fingerprint()).isNotEqualTo(before);
        }
    }

    @Test
    void aByteOrderMarkIsSkippedAndUtf16IsNamed() throws IOException {
        Path folder = SyntheticPairs.folder(temporary.resolve("marked"), some(2));
        Path list = folder.resolve("pairs.jsonl");
        String lines = Files.readString(list);
        Files.writeString(list, "\uFEFF" + lines);
        for (Path path : List.of(folder, list)) {
            try (PairSource source = PairSource.open(path)) {
                assertThat(source.size()).isEqualTo(2);
                assertThat(source.read(0)).isInstanceOf(PreferencePair.class);
            }
        }
        Files.writeString(list, "\uFEFF" + lines, StandardCharsets.UTF_16LE);
        assertThatThrownBy(() -> PairSource.open(folder)).hasMessageContaining("expected UTF-8, found UTF-16");
    }

    @Test
    void linksAreFollowedButRecordsDoNotLeadOutOfTheFolder() throws IOException {
        Path blobs = SyntheticPairs.folder(temporary.resolve("blobs"), some(2));
        Path snapshot = Files.createDirectories(temporary.resolve("snapshots/1/images"));
        try (var images = Files.list(blobs.resolve("images"))) {
            for (Path image : images.toList()) {
                Files.createSymbolicLink(snapshot.resolve(image.getFileName()), image);
            }
        }
        Path folder = snapshot.getParent();
        Files.createSymbolicLink(folder.resolve("pairs.jsonl"), blobs.resolve("pairs.jsonl"));
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.read(0)).isInstanceOf(PreferencePair.class);
        }
        Files.write(
                temporary.resolve("snapshots/secret.png"),
                some(1).getFirst().image0().bytes());
        Files.delete(folder.resolve("pairs.jsonl"));
        Files.writeString(
                folder.resolve("pairs.jsonl"),
                "{\"caption\": \"c\", \"label\": 0, \"image_0\": \"../secret.png\", \"image_1\": \"../secret.png\"}\n");
        try (PairSource source = PairSource.open(folder)) {
            assertThat(((BadPair) source.read(0)).problem()).isEqualTo(Problem.PATH_OUTSIDE);
        }
    }

    /// A header whose size is 2^62: the message names the file.
    @Test
    void aTarFileWithAnImpossibleSizeIsNamed() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (TarArchiveOutputStream tar = new TarArchiveOutputStream(bytes)) {
            SyntheticPairs.put(tar, "0.0.png", new byte[3]);
        }
        byte[] archive = bytes.toByteArray();
        byte[] size =
                ByteBuffer.allocate(12).putInt(0x80000000).putLong(1L << 62).array();
        System.arraycopy(size, 0, archive, 124, 12);
        Arrays.fill(archive, 148, 156, (byte) ' ');
        int sum = 0;
        for (int i = 0; i < 512; i++) {
            sum += archive[i] & 0xff;
        }
        byte[] checksum = String.format(Locale.ROOT, "%06o\0 ", sum).getBytes(StandardCharsets.US_ASCII);
        System.arraycopy(checksum, 0, archive, 148, 8);
        Path file = Files.write(temporary.resolve("huge.tar"), archive);
        assertThatThrownBy(() -> PairSource.open(file))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("huge.tar");
    }

    @Test
    void keysOfTarMembersMayContainDots() throws IOException {
        Synthetic pair = some(1).getFirst();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (TarArchiveOutputStream tar = new TarArchiveOutputStream(bytes)) {
            for (String key : List.of("0000", "img_v1.5_0000")) {
                SyntheticPairs.put(tar, key + ".0.png", pair.image0().bytes());
                SyntheticPairs.put(tar, key + ".1.png", pair.image1().bytes());
                SyntheticPairs.put(
                        tar, key + ".json", "{\"caption\": \"c\", \"label\": 1}".getBytes(StandardCharsets.UTF_8));
            }
            SyntheticPairs.put(tar, "README.md", new byte[3]);
            SyntheticPairs.put(tar, "0000.depth.exr", new byte[3]);
            SyntheticPairs.put(tar, ".hidden", new byte[3]);
        }
        Path file = Files.write(temporary.resolve("mixed.tar"), bytes.toByteArray());
        try (PairSource source = PairSource.open(file)) {
            assertThat(source.size()).isEqualTo(2);
            assertThat(source.read(1)).isInstanceOf(PreferencePair.class);
            assertThat(source.read(1).id()).isEqualTo("img_v1.5_0000");
            assertThat(source.notes())
                    .containsExactly("2 tar members have no known ending and are ignored, such as README.md");
        }
    }
}
