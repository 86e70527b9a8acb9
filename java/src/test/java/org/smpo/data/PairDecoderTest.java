package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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

    private static RgbImage picture(int width, int height) {
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
            records.add(pair(i, picture(40, 24), picture(40, 24)));
        }
        return new InMemory(records);
    }

    private static List<Draw> draws(int count, long epoch) {
        List<Draw> draws = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            draws.add(new Draw(i, epoch));
        }
        return draws;
    }

    private static List<DecodedPair> decode(int count, long epoch, Crop crop, boolean flip, boolean shared)
            throws IOException, InterruptedException {
        DecodeOptions options = new DecodeOptions(SIDE, crop, flip, shared, 0.25, 2);
        return new PairDecoder(options, 1)
                .decode(same(count), draws(count, epoch))
                .pairs();
    }

    /// Pixels are those of resizing, cropping and mirroring, in this order, and the numbers say what was done.
    @Test
    void numbersSayWhereThePixelsComeFrom() throws IOException, InterruptedException {
        RgbImage resized = Resample.shorterSide(picture(40, 24), SIDE, Resample.Filter.BILINEAR);
        assertThat(resized.width()).isEqualTo(26);
        for (Crop crop : Crop.values()) {
            for (DecodedPair pair : decode(40, 0, crop, true, false)) {
                for (int which = 0; which < 2; which++) {
                    DecodedImage image = pair.image(which);
                    RgbImage whole = image.mirrored() ? resized.mirrored() : resized;
                    assertThat(image.pixels()).isEqualTo(whole.crop(image.cropLeft(), image.cropTop(), SIDE, SIDE));
                    assertThat(image.originalWidth()).isEqualTo(40);
                    assertThat(image.originalHeight()).isEqualTo(24);
                    if (crop == Crop.CENTRE) {
                        assertThat(image.cropLeft()).isEqualTo(5);
                    }
                }
            }
        }
    }

    @Test
    void imagesOfAPairAreDrawnAloneUnlessShared() throws IOException, InterruptedException {
        long different = decode(60, 0, Crop.RANDOM, true, false).stream()
                .filter(pair -> !pair.image0().equals(pair.image1()))
                .count();
        assertThat(different).isGreaterThan(45);
        assertThat(decode(60, 0, Crop.RANDOM, true, true))
                .allSatisfy(pair -> assertThat(pair.image0()).isEqualTo(pair.image1()));
    }

    @Test
    void everyPlaceAndBothSidesAreDrawn() throws IOException, InterruptedException {
        List<DecodedPair> pairs = decode(300, 0, Crop.RANDOM, true, false);
        assertThat(pairs.stream().map(pair -> pair.image0().cropLeft()).distinct())
                .hasSize(11);
        // Of 600 coins, 300 with a deviation of 12; six deviations.
        assertThat(pairs.stream()
                        .mapToInt(pair -> (pair.image0().mirrored() ? 1 : 0)
                                + (pair.image1().mirrored() ? 1 : 0))
                        .sum())
                .isBetween(300 - 74, 300 + 74);
        assertThat(pairs.stream().filter(DecodedPair::captionDropped).count()).isBetween(75L - 45, 75L + 45);
        assertThat(pairs)
                .allSatisfy(pair -> assertThat(pair.caption())
                        .isEqualTo(
                                pair.captionDropped()
                                        ? ""
                                        : "caption " + pair.draw().pair()));
    }

    @Test
    void epochsDifferAndRepeat() throws IOException, InterruptedException {
        List<DecodedPair> first = decode(30, 0, Crop.RANDOM, true, false);
        assertThat(decode(30, 0, Crop.RANDOM, true, false)).isEqualTo(first);
        List<DecodedPair> second = decode(30, 1, Crop.RANDOM, true, false);
        long same = 0;
        for (int i = 0; i < 30; i++) {
            same += first.get(i).image0().equals(second.get(i).image0()) ? 1 : 0;
        }
        assertThat(same).isLessThan(10);
    }

    @Test
    void badPairsAreSkippedAndNamed() throws IOException, InterruptedException {
        EncodedImage text = EncodedImage.of("text.jpg", "no picture".getBytes(StandardCharsets.UTF_8));
        EncodedImage good = ((PreferencePair) same(1).read(0)).image0();
        EncodedImage line = EncodedImage.of("line", new Png(picture(4000, 1), Map.of()).bytes());
        List<PairRecord> records = List.of(
                new PreferencePair(0, "a", "", good, text, HumanChoice.TIE, Optional.empty()),
                new BadPair(1, "b", Problem.MISSING_FILE, "gone"),
                new PreferencePair(2, "c", "", good, good, HumanChoice.TIE, Optional.empty()),
                new PreferencePair(3, "d", "", line, good, HumanChoice.TIE, Optional.empty()));
        DecodeOptions options = new DecodeOptions(512, Crop.CENTRE, false, false, 0, 1);
        DecodedWindow window = new PairDecoder(options, 1).decode(new InMemory(records), draws(4, 0));
        assertThat(window.pairs()).extracting(DecodedPair::id).containsExactly("c");
        assertThat(window.bad())
                .extracting(BadPair::problem)
                .containsExactly(Problem.UNKNOWN_FORMAT, Problem.MISSING_FILE, Problem.IMAGE_TOO_LARGE);
        assertThat(window.bad().get(0).message()).contains("text.jpg: expected PNG, JPEG or WebP");
    }

    @Test
    void optionsAreChecked() {
        assertThatThrownBy(() -> new DecodeOptions(0, Crop.CENTRE, true, false, 0, 1))
                .hasMessageContaining("resolution");
        assertThatThrownBy(() -> new DecodeOptions(8, Crop.CENTRE, true, false, 1.5, 1))
                .hasMessageContaining("dropout");
        assertThatThrownBy(() -> new DecodeOptions(8, Crop.CENTRE, true, false, 0, 0))
                .hasMessageContaining("threads");
        assertThat(DecodeOptions.published(512).captionDropout()).isEqualTo(0.2);
    }
}
