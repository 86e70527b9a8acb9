package org.smpo.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.generate.ImageRequest;
import org.smpo.generate.TextToImage;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Png;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.reward.RewardKind;

/// Whole evaluations of small models.
final class EvaluationTest {
    private static final List<Prompt> PROMPTS = List.of(
            new Prompt("a cat", null, OptionalLong.empty(), "Animals"),
            new Prompt("a dog", "grey", OptionalLong.of(77), "Animals"),
            Prompt.of("a red house"));

    @TempDir
    private Path temporary;

    private List<EvaluatedModel> two() throws IOException {
        return List.of(
                EvaluatedModel.of("base", TinyModels.writeTrainable(temporary.resolve("a"))),
                EvaluatedModel.of("tuned", TinyEvaluation.writeOther(temporary.resolve("b"), 0.15)));
    }

    private static List<Metric.Source> metrics() {
        return List.of(TinyEvaluation.Red.reward(), TinyEvaluation.Red.verdict(0.5));
    }

    private EvaluationResult run(EvaluationRequest request, String out) throws IOException {
        return Evaluation.run(request, temporary.resolve(out), TinyEvaluation.display());
    }

    @Test
    void resultsMatchTheImagesAndTheirScores() throws IOException, SQLException {
        List<EvaluatedModel> models = two();
        EvaluationResult result = run(TinyEvaluation.request(models, PROMPTS, metrics()), "out");
        assertThat(result.generated()).isEqualTo(10);
        // The second prompt has a seed of its own and therefore one image.
        long[] seeds = {5, 6, 77, 9, 10};
        String[] texts = {"a cat", "a cat", "a dog", "a red house", "a red house"};
        List<Double> base = new ArrayList<>();
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
                Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT * FROM read_parquet('" + result.results() + "')")) {
            for (int row = 0; row < 10; row++) {
                assertThat(rows.next()).isTrue();
                assertThat(rows.getString("model")).isEqualTo(row < 5 ? "base" : "tuned");
                assertThat(rows.getLong("seed")).isEqualTo(seeds[row % 5]);
                assertThat(rows.getString("prompt")).isEqualTo(texts[row % 5]);
                assertThat(rows.getString("category")).isEqualTo(row % 5 < 3 ? "Animals" : null);
                assertThat(rows.getString("negative_prompt")).isEqualTo(row % 5 == 2 ? "grey" : null);
                assertThat(rows.getString("model_sha256"))
                        .isEqualTo(models.get(row / 5).digest());
                Path file = temporary.resolve("out").resolve(rows.getString("picture"));
                assertThat(rows.getString("picture_sha256")).isEqualTo(Digest.sha256(file));
                double red = TinyEvaluation.Red.reward().value(Png.read(file).image());
                assertThat(rows.getDouble("red")).isEqualTo(red);
                assertThat(rows.getDouble("reddish")).isEqualTo(red > 0.5 ? 1 : 0);
                if (row < 5) {
                    base.add(red);
                }
            }
            assertThat(rows.next()).isFalse();
        }
        assertThat(result.summary("red", "base").orElseThrow().mean().estimate())
                .isEqualTo(base.stream().mapToDouble(Double::doubleValue).sum() / 5);
        assertThat(result.comparison("red", "tuned", "base").orElseThrow().ties())
                .isZero();
        JsonObject json = Json.readObject(result.json());
        assertThat(json.objects("comparisons")).hasSize(4);
        assertThat(json.objects("figures")).hasSize(8);
        assertThat(json.objects("agreements")).hasSize(3);
        assertThat(json.string("command")).isEqualTo("smpo evaluate ...");
    }

    /// Images equal those of `smpo generate` up to rounding, which depends on the batch.
    @Test
    void imagesEqualThoseOfGenerate() throws IOException {
        EvaluationResult result = run(TinyEvaluation.request(two(), PROMPTS, metrics()), "out");
        assertThat(result.report()).exists();
        try (TextToImage model = TextToImage.open(temporary.resolve("a"), "cpu", Precision.FP32, 1)) {
            RgbImage alone = model.generate(ImageRequest.of(
                            List.of(new Prompt("a red house", null, OptionalLong.of(10))), TinyEvaluation.config(2)))
                    .getFirst()
                    .image();
            Path folder = temporary.resolve("out/pictures/0-base");
            assertThat(difference(
                            alone, Png.read(folder.resolve("00002-10.png")).image()))
                    .isLessThanOrEqualTo(1);
            assertThat(difference(alone, Png.read(folder.resolve("00002-9.png")).image()))
                    .isGreaterThan(1);
        }
        assertThat(Png.read(temporary.resolve("out/pictures/1-tuned/00001-77.png"))
                        .text()
                        .get("smpo"))
                .contains("a dog", "grey", "77", "tuned");
    }

    private static int difference(RgbImage a, RgbImage b) {
        int largest = 0;
        for (int i = 0; i < a.rgb().length; i++) {
            largest = Math.max(largest, Math.abs((a.rgb()[i] & 0xff) - (b.rgb()[i] & 0xff)));
        }
        return largest;
    }

    @Test
    void aModelAgainstItselfHasWinRateOneHalfAndDifferenceZero() throws IOException {
        Path model = TinyModels.writeTrainable(temporary.resolve("a"));
        EvaluationResult result = run(
                TinyEvaluation.request(
                        List.of(EvaluatedModel.of("one", model), EvaluatedModel.of("two", model)), PROMPTS, metrics()),
                "out");
        assertThat(result.comparisons()).hasSize(4);
        for (Comparison found : result.comparisons()) {
            assertThat(found.winRate()).isEqualTo(new Interval(0.5, 0.5, 0.5));
            assertThat(found.meanDifference()).isEqualTo(new Interval(0, 0, 0));
            assertThat(found.medianDifference()).isEqualTo(new Interval(0, 0, 0));
            assertThat(found.ties()).isEqualTo(found.images());
        }
        assertThat(Files.readString(result.report())).contains("All images score the same.");
        // Different models have different statistics.
        EvaluationResult other = run(TinyEvaluation.request(two(), PROMPTS, metrics()), "other");
        assertThat(other.comparison("red", "tuned", "base").orElseThrow().meanDifference())
                .isNotEqualTo(new Interval(0, 0, 0));
    }

    @Test
    void missingOrDamagedFilesAreMadeAgainWithTheSameBytes() throws IOException {
        EvaluationRequest request = TinyEvaluation.request(two(), PROMPTS, metrics());
        run(request, "out");
        Path out = temporary.resolve("out");
        Map<String, String> whole = TinyEvaluation.left(out);
        assertThat(whole).hasSize(17);
        assertThat(run(request, "out").generated()).isZero();
        assertThat(TinyEvaluation.left(out)).isEqualTo(whole);

        Path first = out.resolve("pictures/0-base/00000-5.png");
        Path second = out.resolve("pictures/1-tuned/00001-77.png");
        Files.delete(first);
        Files.delete(out.resolve("report.html"));
        Files.delete(out.resolve("results.parquet"));
        assertThat(run(request, "out").generated()).isEqualTo(1);
        assertThat(TinyEvaluation.left(out)).isEqualTo(whole);

        // An image that the evaluation did not generate is replaced.
        Files.copy(first, second, java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        assertThat(run(request, "out").generated()).isEqualTo(1);
        assertThat(TinyEvaluation.left(out)).isEqualTo(whole);

        // Killed within a line of the journal or before it: the rest is generated and scored again.
        byte[] journal = Files.readAllBytes(out.resolve("journal.jsonl"));
        int middle = new String(journal, StandardCharsets.UTF_8).indexOf('\n', journal.length / 2) + 1;
        String wrong = """
            {"event": "measured", "model": "zero", "picture": 0, "sha256": "", "measure": "m", "value": "x"}
            """.strip();
        for (String damage : List.of("{}", "[1]", "{\"event\": \"drawn\", \"model\": 1}", "\0\0", wrong)) {
            Files.writeString(
                    out.resolve("journal.jsonl"),
                    new String(journal, 0, middle, StandardCharsets.UTF_8) + damage + "\n"
                            + new String(journal, middle, journal.length - middle, StandardCharsets.UTF_8));
            assertThat(Journal.open(out.resolve("journal.jsonl"))).as(damage).satisfies(Journal::close);
            assertThat(out.resolve("journal.jsonl")).hasSize(middle);
        }
        for (int length : new int[] {0, 7, journal.length / 3, journal.length - 5}) {
            Files.write(out.resolve("journal.jsonl"), java.util.Arrays.copyOf(journal, length));
            run(request, "out");
            assertThat(TinyEvaluation.left(out))
                    .as("journal of " + length + " bytes")
                    .isEqualTo(whole);
        }
    }

    /// Loading a reward model takes minutes, and it would occupy memory while images are generated.
    @Test
    void metricsAreLoadedOnlyToScore() throws IOException {
        AtomicInteger opened = new AtomicInteger();
        Metric.Source counted = new Metric.Source() {
            private final Metric.Source red = TinyEvaluation.Red.reward();

            @Override
            public String name() {
                return red.name();
            }

            @Override
            public boolean isVerdict() {
                return red.isVerdict();
            }

            @Override
            public Optional<RewardKind> rewardKind() {
                return red.rewardKind();
            }

            @Override
            public void requireFits(List<Prompt> prompts, int width, int height) {
                red.requireFits(prompts, width, height);
            }

            @Override
            public String digest() throws IOException {
                return red.digest();
            }

            @Override
            public String describe() throws IOException {
                return red.describe();
            }

            @Override
            public Metric open(String device, int threads) throws IOException {
                opened.incrementAndGet();
                return red.open(device, threads);
            }
        };
        EvaluationRequest request = TinyEvaluation.request(two(), PROMPTS, List.of(counted));
        run(request, "out");
        assertThat(opened).hasValue(1);
        // Everything is finished: the identity is compared without loading a metric.
        run(request, "out");
        assertThat(opened).hasValue(1);
    }

    @Test
    void aFailingMetricLosesNothing() throws IOException {
        List<EvaluatedModel> models = two();
        List<Prompt> many = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            many.add(Prompt.of("a cat " + i));
        }
        Metric.Source broken = new TinyEvaluation.Red("red", Double.NaN, 13);
        assertThatThrownBy(() -> run(TinyEvaluation.request(models, many, List.of(broken)), "out"))
                .hasMessage("the metric failed");
        List<String> lines = Files.readAllLines(temporary.resolve("out/journal.jsonl"));
        assertThat(lines.stream().filter(line -> line.contains("\"drawn\""))).hasSize(24);
        // The twelve images of a model form a batch of eight and one of four; the next batch fails.
        assertThat(lines.stream().filter(line -> line.contains("\"measured\""))).hasSize(12);
        EvaluationRequest sound = TinyEvaluation.request(models, many, List.of(TinyEvaluation.Red.reward()));
        assertThat(run(sound, "out").generated()).isZero();
        run(sound, "whole");
        assertThat(TinyEvaluation.left(temporary.resolve("out")))
                .isEqualTo(TinyEvaluation.left(temporary.resolve("whole")));
    }

    /// Further metrics score the images that are there; fewer, or another one of the same name, are refused.
    @Test
    void metricsCanBeAdded() throws IOException {
        List<EvaluatedModel> models = two();
        Path out = temporary.resolve("out");
        run(TinyEvaluation.request(models, PROMPTS, List.of(TinyEvaluation.Red.reward())), "out");
        assertThat(Evaluation.isFinished(out, List.of("red"))).isTrue();
        assertThat(Evaluation.isFinished(out, List.of("red", "reddish"))).isFalse();
        assertThat(Evaluation.isFinished(temporary.resolve("none"), List.of())).isFalse();
        Path image = out.resolve("pictures/0-base/00000-5.png");
        var made = Files.getLastModifiedTime(image);

        assertThat(run(TinyEvaluation.request(models, PROMPTS, metrics()), "out")
                        .generated())
                .isZero();
        assertThat(Evaluation.isFinished(out, List.of("red", "reddish"))).isTrue();
        assertThat(Files.getLastModifiedTime(image)).isEqualTo(made);
        run(TinyEvaluation.request(models, PROMPTS, metrics()), "whole");
        assertThat(TinyEvaluation.left(out)).isEqualTo(TinyEvaluation.left(temporary.resolve("whole")));
        assertRefused(
                TinyEvaluation.request(models, PROMPTS, List.of(TinyEvaluation.Red.reward())),
                "another number of measures (2, now 1)");
        assertRefused(
                TinyEvaluation.request(
                        models,
                        PROMPTS,
                        List.of(
                                TinyEvaluation.Red.reward(),
                                TinyEvaluation.Red.verdict(0.4),
                                new TinyEvaluation.Red("third", Double.NaN, -1))),
                "measures[2].sha256");
        assertThat(TinyEvaluation.left(out)).isEqualTo(TinyEvaluation.left(temporary.resolve("whole")));
    }

    @Test
    void anotherEvaluationIsRefused() throws IOException {
        List<EvaluatedModel> models = two();
        EvaluationRequest request = TinyEvaluation.request(models, PROMPTS, metrics());
        run(request, "out");
        Map<String, String> before = TinyEvaluation.left(temporary.resolve("out"));
        assertRefused(TinyEvaluation.request(models, PROMPTS.subList(0, 2), metrics()), "pictures_per_model");
        assertRefused(
                TinyEvaluation.request(
                        models, List.of(PROMPTS.get(0), PROMPTS.get(1), Prompt.of("a blue house")), metrics()),
                "prompts_sha256");
        assertRefused(TinyEvaluation.request(List.of(models.get(0)), PROMPTS, metrics()), "another number of models");
        assertRefused(
                TinyEvaluation.request(
                        List.of(
                                models.get(0),
                                EvaluatedModel.of("tuned", models.get(0).path())),
                        PROMPTS,
                        metrics()),
                "models[2].sha256");
        assertRefused(
                TinyEvaluation.request(models, PROMPTS, List.of(metrics().get(0), TinyEvaluation.Red.verdict(0.4))),
                "measures[2].sha256");
        GenerationSetup generation = new GenerationSetup(TinyEvaluation.config(3), 2, "cpu", Precision.FP32, 1);
        assertRefused(with(request, generation, TinyEvaluation.PROVENANCE), "drawing.steps (2, now 3)");
        assertThat(TinyEvaluation.left(temporary.resolve("out"))).isEqualTo(before);

        // Another version of the program may write the report again but does not resume an unfinished evaluation.
        EvaluationRequest later = with(
                request,
                request.generation(),
                new EvaluationRequest.Provenance("1", "def", "library 1", "smpo evaluate ..."));
        assertThat(run(later, "out").generated()).isZero();
        assertThat(TinyEvaluation.left(temporary.resolve("out"))).isEqualTo(before);
        Files.delete(temporary.resolve("out/pictures/0-base/00000-5.png"));
        assertRefused(later, "unfinished, and begun by another commit (abc, now def)");
    }

    private static EvaluationRequest with(
            EvaluationRequest request, GenerationSetup generation, EvaluationRequest.Provenance provenance) {
        return new EvaluationRequest(
                request.models(),
                request.prompts(),
                null,
                request.seed(),
                request.imagesPerPrompt(),
                generation,
                request.metrics(),
                request.bootstrap(),
                request.gallery(),
                provenance,
                List.of());
    }

    private void assertRefused(EvaluationRequest request, String message) {
        assertThatThrownBy(() -> run(request, "out"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining(message);
    }

    @Test
    void requestsThatDoNotFitAreRefused() throws IOException {
        List<EvaluatedModel> models = two();
        List<Metric.Source> checker = List.of(Metrics.checker());
        assertThatThrownBy(() -> run(TinyEvaluation.request(models, PROMPTS, checker), "out"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("images of 64x64, got images of 16x16");
        GenerationSetup large = GenerationSetup.standard().withSides(64, 64);
        assertThatThrownBy(() -> run(
                        with(TinyEvaluation.request(models, PROMPTS, checker), large, TinyEvaluation.PROVENANCE),
                        "out"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(
                        "prompt 1: expected one of the demo's captions", "three red circles", "leave the checker out");
        assertThatThrownBy(() -> run(
                        with(
                                TinyEvaluation.request(models, PROMPTS, metrics()),
                                GenerationSetup.standard().withSides(20, 16),
                                TinyEvaluation.PROVENANCE),
                        "out"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("base: width: expected a multiple of 8, got 20");
        assertThat(temporary.resolve("out")).doesNotExist();
        assertThatThrownBy(() -> TinyEvaluation.request(List.of(models.get(0), models.get(0)), PROMPTS, metrics()))
                .hasMessageContaining("distinct names (NAME=PATH), got a second base");
        assertThatThrownBy(() -> TinyEvaluation.request(models, PROMPTS, List.of()))
                .hasMessageContaining("metrics: expected at least one");
        assertThatThrownBy(() -> TinyEvaluation.request(
                        models, PROMPTS, List.of(new TinyEvaluation.Red("seed", Double.NaN, -1))))
                .hasMessageContaining("a second seed");
    }

    @Test
    void foreignFoldersAndSecondProcessesAreRefused() throws IOException {
        EvaluationRequest request = TinyEvaluation.request(two(), PROMPTS, metrics());
        Path foreign = Files.createDirectories(temporary.resolve("foreign"));
        Files.writeString(foreign.resolve("thesis.txt"), "precious");
        assertThatThrownBy(() -> run(request, "foreign")).hasMessageContaining("found other files");
        Path run = Files.createDirectories(temporary.resolve("run"));
        Files.writeString(run.resolve("manifest.json"), "{\"smpo\": \"1\"}");
        assertThatThrownBy(() -> run(request, "run")).hasMessageContaining("another manifest.json");
        try (EvaluationFolder held = EvaluationFolder.open(temporary.resolve("out"), message -> {})) {
            assertThat(held.root()).exists();
            assertThatThrownBy(() -> run(request, "out")).hasMessageContaining("in use for an evaluation");
        }
        assertThat(run(request, "out").generated()).isEqualTo(10);
    }

    /// The digest of a model depends on its weights and configs, not on its files.
    @Test
    void theDigestDependsOnContentAlone() throws IOException {
        List<EvaluatedModel> models = two();
        String digest = models.get(0).digest();
        assertThat(EvaluatedModel.of("copy", TinyModels.writeTrainable(temporary.resolve("copy")))
                        .digest())
                .isEqualTo(digest);
        assertThat(models.get(1).digest()).isNotEqualTo(digest);
    }
}
