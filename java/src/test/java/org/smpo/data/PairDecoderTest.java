package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.smpo.io.Png;
import org.smpo.io.Resample;
import org.smpo.io.RgbImage;
import org.smpo.objective.HumanChoice;

class PairDecoderTest {
    private static final int SIDE = 16;

    /// Pairs in memory.
    private record InMemory(List<PairRecord> records) implements PairSource {
        @Override
        public int size() {
            return records.size();
        }

        @Override
        public PairLabels labels() {
            throw new UnsupportedOperationException("not asked for here");
        }

        @Override
        public List<PairRecord> read(List<Integer> indices) {
            return indices.stream().map(records::get).toList();
        }

        @Override
        public String fingerprint() {
            return "memory";
        }

        @Override
        public String describe() {
            return "memory";
        }

        @Override
        public void close() {}
    }

    private static RgbImage image(int width, int height) {
        byte[] rgb = new byte[3 * width * height];
        for (int i = 0; i < rgb.length; i++) {
            rgb[i] = (byte) (i * 7 + i / 31);
        }
        return RgbImage.of(width, height, rgb);
    }

    private static PreferencePair pair(int index, RgbImage image0, RgbImage image1) {
        return new PreferencePair(
                index,
                "p" + index,
                "caption " + index,
                EncodedImage.of("0", new Png(image0, Map.of()).bytes()),
                EncodedImage.of("1", new Png(image1, Map.of()).bytes()),
                HumanChoice.IMAGE_0,
                Optional.empty());
    }

    private static PairSource same(int count) {
        List<PairRecord> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            records.add(pair(i, image(40, 24), image(40, 24)));
        }
        return new InMemory(records);
    }

    private static List<PairUse> uses(int count, long epoch) {
        List<PairUse> uses = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            uses.add(new PairUse(i, epoch));
        }
        return uses;
    }

    private static List<PreparedPair> decode(int count, long epoch, Crop crop, boolean flip, boolean shared)
            throws IOException, InterruptedException {
        DecodeOptions options = new DecodeOptions(SIDE, crop, flip, shared, 0.25, 2);
        return new PairDecoder(options, 1)
                .prepare(same(count), uses(count, epoch), image -> false)
                .pairs();
    }

    /// Images are resized, cropped and mirrored in this order, and the placement records it.
    @Test
    void thePlacementTellsWhereThePixelsComeFrom() throws IOException, InterruptedException {
        RgbImage resized = Resample.shorterSide(image(40, 24), SIDE, Resample.Filter.BILINEAR);
        assertThat(resized.width()).isEqualTo(26);
        for (Crop crop : Crop.values()) {
            for (PreparedPair pair : decode(40, 0, crop, true, false)) {
                for (int which = 0; which < 2; which++) {
                    PreparedImage image = pair.image(which);
                    RgbImage whole = image.placement().mirrored() ? resized.mirrored() : resized;
                    assertThat(image.pixels())
                            .isEqualTo(whole.crop(
                                    image.placement().cropLeft(),
                                    image.placement().cropTop(),
                                    SIDE,
                                    SIDE));
                    assertThat(image.placement().originalWidth()).isEqualTo(40);
                    assertThat(image.placement().originalHeight()).isEqualTo(24);
                    if (crop == Crop.CENTRE) {
                        assertThat(image.placement().cropLeft()).isEqualTo(5);
                    }
                }
            }
        }
    }

    @Test
    void theImagesOfAPairDifferUnlessTheyShareTheirCrop() throws IOException, InterruptedException {
        long different = decode(60, 0, Crop.RANDOM, true, false).stream()
                .filter(pair -> !pair.image0().equals(pair.image1()))
                .count();
        assertThat(different).isGreaterThan(45);
        assertThat(decode(60, 0, Crop.RANDOM, true, true))
                .allSatisfy(pair -> assertThat(pair.image0()).isEqualTo(pair.image1()));
    }

    @Test
    void everyPositionAndBothOrientationsOccur() throws IOException, InterruptedException {
        List<PreparedPair> pairs = decode(300, 0, Crop.RANDOM, true, false);
        assertThat(pairs.stream()
                        .map(pair -> pair.image0().placement().cropLeft())
                        .distinct())
                .hasSize(11);
        // 600 coins: a mean of 300 with a standard deviation of 12; the bounds are six deviations.
        assertThat(pairs.stream()
                        .mapToInt(pair -> (pair.image0().placement().mirrored() ? 1 : 0)
                                + (pair.image1().placement().mirrored() ? 1 : 0))
                        .sum())
                .isBetween(300 - 74, 300 + 74);
        assertThat(pairs.stream().filter(PreparedPair::captionDropped).count()).isBetween(75L - 45, 75L + 45);
        assertThat(pairs)
                .allSatisfy(pair -> assertThat(pair.caption())
                        .isEqualTo(
                                pair.captionDropped()
                                        ? ""
                                        : "caption " + pair.use().pair()));
    }

    @Test
    void epochsDifferAndRepeat() throws IOException, InterruptedException {
        List<PreparedPair> first = decode(30, 0, Crop.RANDOM, true, false);
        assertThat(decode(30, 0, Crop.RANDOM, true, false)).isEqualTo(first);
        List<PreparedPair> second = decode(30, 1, Crop.RANDOM, true, false);
        long same = 0;
        for (int i = 0; i < 30; i++) {
            same += first.get(i).image0().equals(second.get(i).image0()) ? 1 : 0;
        }
        assertThat(same).isLessThan(10);
    }

    @Test
    void badPairsAreSkippedAndNamed() throws IOException, InterruptedException {
        EncodedImage text = EncodedImage.of("text.jpg", "not an image".getBytes(StandardCharsets.UTF_8));
        EncodedImage good = ((PreferencePair) same(1).read(0)).image0();
        EncodedImage line = EncodedImage.of("line", new Png(image(4000, 1), Map.of()).bytes());
        List<PairRecord> records = List.of(
                new PreferencePair(0, "a", "", good, text, HumanChoice.TIE, Optional.empty()),
                new BadPair(1, "b", Problem.MISSING_FILE, "gone"),
                new PreferencePair(2, "c", "", good, good, HumanChoice.TIE, Optional.empty()),
                new PreferencePair(3, "d", "", line, good, HumanChoice.TIE, Optional.empty()));
        DecodeOptions options = new DecodeOptions(512, Crop.CENTRE, false, false, 0, 1);
        PreparedBatch<PreparedPair> batch =
                new PairDecoder(options, 1).prepare(new InMemory(records), uses(4, 0), image -> false);
        assertThat(batch.pairs()).extracting(PreparedPair::id).containsExactly("c");
        assertThat(batch.bad())
                .extracting(BadPair::problem)
                .containsExactly(Problem.UNKNOWN_FORMAT, Problem.MISSING_FILE, Problem.IMAGE_TOO_LARGE);
        assertThat(batch.bad().get(0).message()).contains("text.jpg: expected PNG, JPEG or WebP");
    }

    /// A cached image is placed by its header alone, so its broken pixels are never decoded.
    @Test
    void cachedImagesAreNotDecoded() throws IOException, InterruptedException {
        byte[] broken = new Png(image(40, 24), Map.of()).bytes();
        int data = new String(broken, StandardCharsets.ISO_8859_1).indexOf("IDAT");
        int length = ByteBuffer.wrap(broken).getInt(data - 4);
        Arrays.fill(broken, data + 4, data + 4 + length, (byte) 7);
        CRC32 checksum = new CRC32();
        checksum.update(broken, data, 4 + length);
        ByteBuffer.wrap(broken).putInt(data + 4 + length, (int) checksum.getValue());
        EncodedImage encoded = EncodedImage.of("broken", broken);
        List<PairRecord> records =
                List.of(new PreferencePair(0, "a", "", encoded, encoded, HumanChoice.IMAGE_0, Optional.empty()));
        PairDecoder decoder = new PairDecoder(new DecodeOptions(SIDE, Crop.RANDOM, true, false, 0, 1), 1);
        assertThat(decoder.prepare(new InMemory(records), uses(1, 0), image -> false)
                        .bad())
                .hasSize(1);
        PreparedPair pair = decoder.prepare(new InMemory(records), uses(1, 0), image -> true)
                .pairs()
                .getFirst();
        PreparedPair decoded =
                decoder.prepare(same(1), uses(1, 0), image -> false).pairs().getFirst();
        for (int which = 0; which < 2; which++) {
            assertThat(pair.image(which).decoded()).isEmpty();
            assertThat(pair.image(which).placement())
                    .isEqualTo(decoded.image(which).placement());
            assertThatThrownBy(pair.image(which)::pixels).hasMessageContaining("broken");
        }
    }

    @Test
    void lateDecodingGivesTheSamePixels() throws IOException, InterruptedException {
        PairDecoder decoder = new PairDecoder(new DecodeOptions(SIDE, Crop.RANDOM, true, false, 0, 2), 1);
        List<PreparedPair> early =
                decoder.prepare(same(20), uses(20, 0), image -> false).pairs();
        List<PreparedPair> late =
                decoder.prepare(same(20), uses(20, 0), image -> true).pairs();
        for (int i = 0; i < 20; i++) {
            PreparedImage first = early.get(i).image0();
            PreparedImage second = late.get(i).image0();
            assertThat(second.pixels()).isEqualTo(first.decoded().orElseThrow());
            assertThat(second.transformation()).isEqualTo(first.transformation());
        }
    }

    @Test
    void optionsAreChecked() {
        assertThatThrownBy(() -> new DecodeOptions(0, Crop.CENTRE, true, false, 0, 1))
                .hasMessageContaining("resolution");
        assertThatThrownBy(() -> new DecodeOptions(8, Crop.CENTRE, true, false, 1.5, 1))
                .hasMessageContaining("dropout");
        assertThatThrownBy(() -> new DecodeOptions(8, Crop.CENTRE, true, false, 0, 0))
                .hasMessageContaining("threads");
    }
}
