package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.SyntheticPairs.Synthetic;
import org.smpo.objective.HumanChoice;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Datasets that Hugging Face's `datasets` library saved (`tools/golden/arrow.py`).
class ArrowPairsTest {
    @TempDir
    private Path temporary;

    private static Path golden(String name) {
        try {
            return Path.of(ArrowPairsTest.class.getResource("arrow/" + name).toURI());
        } catch (URISyntaxException e) {
            throw new AssertionError(e);
        }
    }

    private static JsonNode expected(String name) throws IOException {
        return JsonMapper.shared()
                .readTree(Files.readAllBytes(golden("expected.json")))
                .get(name);
    }

    private static EncodedImage image(JsonNode row, String column) {
        return EncodedImage.of(
                "golden", Base64.getDecoder().decode(row.get(column).asString()));
    }

    @Test
    void pairsAreThoseThatWereSaved() throws IOException {
        JsonNode rows = expected("pairs");
        try (PairSource source = PairSource.open(golden("pairs"))) {
            assertThat(source.size()).isEqualTo(12);
            assertThat(source.describe()).contains("12 pairs of 2 Arrow files");
            for (int i = 11; i >= 0; i--) {
                JsonNode row = rows.get(i);
                HumanChoice people = i == 7
                        ? HumanChoice.UNKNOWN
                        : HumanChoice.ofLabel0(row.get("label_0").asDouble());
                assertThat(source.labels().people(i)).isEqualTo(people);
                assertThat(source.read(i))
                        .isEqualTo(new PreferencePair(
                                i,
                                Integer.toString(1000 + i),
                                row.get("caption").asString(),
                                image(row, "jpg_0"),
                                image(row, "jpg_1"),
                                people,
                                Optional.of(new PairScores(
                                        row.get("score_0").asDouble(),
                                        row.get("score_1").asDouble()))));
            }
        }
    }

    /// The same rows in a folder give the same pixels.
    @Test
    void batchesEqualThoseOfTheFolder() throws IOException, InterruptedException {
        List<Synthetic> synthetic = new ArrayList<>();
        List<PairUse> uses = new ArrayList<>();
        for (JsonNode row : expected("pairs")) {
            int i = synthetic.size();
            double label = row.get("label_0").asDouble();
            Object said = i == 7 ? null : label == 0.5 ? (Object) 0.5 : (Object) (long) (1 - label);
            synthetic.add(new Synthetic(
                    row.get("ranking_id").asString(),
                    row.get("caption").asString(),
                    image(row, "jpg_0"),
                    image(row, "jpg_1"),
                    said,
                    row.get("score_0").asDouble(),
                    row.get("score_1").asDouble()));
            uses.add(new PairUse(i, 3));
        }
        PairDecoder decoder = new PairDecoder(new DecodeOptions(24, Crop.RANDOM, true, false, 0.3, 2), 5);
        try (PairSource arrow = PairSource.open(golden("pairs"));
                PairSource folder = PairSource.open(SyntheticPairs.folder(temporary, synthetic))) {
            assertThat(decoder.prepare(arrow, uses, image -> false))
                    .isEqualTo(decoder.prepare(folder, uses, image -> false));
            assertThat(decoder.prepare(arrow, uses, image -> false).pairs()).hasSize(12);
        }
    }

    @Test
    void imageFeaturesAndMissingValues() throws IOException {
        JsonNode rows = expected("images");
        try (PairSource source = PairSource.open(golden("images/data-00000-of-00001.arrow"))) {
            PreferencePair first = (PreferencePair) source.read(0);
            assertThat(first.image1()).isEqualTo(image(rows.get(0), "jpg_1"));
            assertThat(first.people()).isEqualTo(HumanChoice.IMAGE_0);
            assertThat(first.id()).isEqualTo("data-00000-of-00001.arrow: row 0");
            assertThat(source.labels().people(1)).isEqualTo(HumanChoice.IMAGE_1);
            assertThat(((BadPair) source.read(1)).problem()).isEqualTo(Problem.MISSING_FIELD);
            BadPair third = (BadPair) source.read(2);
            assertThat(third.message()).contains("row 2: image 1").contains("found nothing");
        }
        assertThatThrownBy(() -> PairSource.open(golden("odd.arrow")))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("expected a column jpg_0");
    }

    @Test
    void probabilitiesAreLabels() throws IOException {
        try (PairSource source = PairSource.open(golden("soft.arrow"))) {
            assertThat(source.labels().probability0(0)).hasValue(0.25);
            assertThat(source.labels().people(0)).isEqualTo(HumanChoice.IMAGE_1);
            assertThat(source.labels().probability0(1)).isEmpty();
            assertThat(source.labels().people(1)).isEqualTo(HumanChoice.UNKNOWN);
            assertThat(source.labels().people(2)).isEqualTo(HumanChoice.IMAGE_0);
            assertThat(((PreferencePair) source.read(2)).people()).isEqualTo(HumanChoice.IMAGE_0);
        }
    }

    @Test
    void statesThatReferToOtherRowsAreRefused() throws IOException {
        Files.writeString(temporary.resolve("state.json"), "{\"_data_files\": [{\"filename\": \"../x.arrow\"}]}");
        Files.writeString(temporary.resolve("x.arrow"), "");
        assertThatThrownBy(() -> PairSource.open(temporary)).hasMessageContaining("found ../x.arrow");
        Files.writeString(temporary.resolve("state.json"), "{\"_indices_data_files\": [{\"filename\": \"i.arrow\"}]}");
        assertThatThrownBy(() -> PairSource.open(temporary)).hasMessageContaining("flatten_indices()");
    }
}
