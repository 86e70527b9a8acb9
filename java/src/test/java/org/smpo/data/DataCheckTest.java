package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.data.Problem.Severity;

/// Every kind of bad record is located, none stops the check, and none is trained on.
class DataCheckTest {
    private static final int GOOD = 12;

    @TempDir
    private Path temporary;

    @Test
    void everyProblemIsFound() throws IOException, InterruptedException {
        Path folder = temporary.resolve("pairs");
        List<Problem> problems = BadRecords.write(folder, GOOD);
        assertThat(problems).hasSizeGreaterThanOrEqualTo(20);
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.size()).isEqualTo(GOOD + problems.size());
            DataReport report = DataCheck.run(source, 2, done -> {});
            for (int i = 0; i < problems.size(); i++) {
                Problem problem = problems.get(i);
                assertThat(report.count(problem)).as(problem.id()).isEqualTo(1);
                DataReport.Example example = report.examples(problem).get(0);
                assertThat(example.index()).as(problem.id()).isEqualTo(GOOD + i);
                assertThat(example.message()).isNotBlank().doesNotContain("Exception");
            }
            long bad =
                    problems.stream().filter(p -> p.severity() == Severity.BAD).count();
            assertThat(report.bad()).isEqualTo((int) bad).isEqualTo(14);
            double fraction = (double) bad / source.size();
            assertThat(report.badFraction()).isEqualTo(fraction);
            assertThat(report.acceptable(fraction)).isTrue();
            assertThat(report.acceptable(Math.nextDown(fraction))).isFalse();
            assertThat(String.join("\n", report.lines(0.01))).contains("14 of 40 records are bad", "too many");

            // Decoding skips exactly the records that the check reports.
            PairDecoder decoder = new PairDecoder(new DecodeOptions(32, Crop.CENTRE, true, false, 0, 2), 1);
            PreparedBatch<PreparedPair> batch = decoder.prepare(
                    source,
                    IntStream.range(0, source.size())
                            .mapToObj(i -> new PairUse(i, 0))
                            .toList(),
                    image -> false);
            assertThat(batch.bad())
                    .extracting(BadPair::problem)
                    .containsExactlyElementsOf(problems.stream()
                            .filter(p -> p.severity() == Severity.BAD)
                            .toList());
            assertThat(batch.pairs()).hasSize(source.size() - 14);
            // A pair without a winner cannot be trained on.
            LabelledPairs labelled = new LabelledPairs(source.labels(), pair -> List.of(), Labeler.ofPeople(), false);
            assertThat(labelled.ties()).isEqualTo(1);
            assertThat(labelled.eligible())
                    .doesNotContain(
                            GOOD + problems.indexOf(Problem.TIE), GOOD + problems.indexOf(Problem.MISSING_LABEL));
        }
    }

    @Test
    void goodPairsHaveNoProblems() throws IOException, InterruptedException {
        Path folder = SyntheticPairs.folder(
                temporary.resolve("good"), SyntheticPairs.create(14).subList(1, 11));
        try (PairSource source = PairSource.open(folder)) {
            DataReport report = DataCheck.run(source, 3, done -> {});
            assertThat(report.records()).isEqualTo(10);
            assertThat(report.lines(0)).hasSize(4).last().asString().contains("0 of 10 records are bad", "fine");
            assertThat(report.acceptable(0)).isTrue();
        }
    }

    @Test
    void noPairsAreNotFine() throws IOException, InterruptedException {
        Path folder = Files.createDirectories(temporary.resolve("none"));
        Files.writeString(folder.resolve("pairs.jsonl"), "\n\n");
        try (PairSource source = PairSource.open(folder)) {
            assertThat(DataCheck.run(source, 1, done -> {}).acceptable(1)).isFalse();
        }
    }

    /// The Hugging Face cache consists of links.
    @Test
    void linksOutOfTheFolderAreFollowed() throws IOException {
        Path folder = temporary.resolve("linked");
        SyntheticPairs.folder(folder, SyntheticPairs.create(2));
        Path image = folder.resolve("images")
                .resolve("p1_0." + SyntheticPairs.create(2).get(1).extension(0));
        Path outside = Files.move(image, temporary.resolve("outside"));
        Files.createSymbolicLink(image, outside);
        try (PairSource source = PairSource.open(folder)) {
            assertThat(source.read(0)).isInstanceOf(PreferencePair.class);
            assertThat(source.read(1)).isInstanceOf(PreferencePair.class);
        }
    }
}
