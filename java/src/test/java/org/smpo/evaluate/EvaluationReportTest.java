package org.smpo.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;

/// The report of a small evaluation that has every section.
final class EvaluationReportTest {
    private static final String EVIL = "</script><b>bold</b>";

    @TempDir
    private Path temporary;

    /// Three models, one of them with the log of a run, a reward and a verdict, categories and a note.
    private EvaluationResult evaluate() throws IOException {
        Path log = temporary.resolve("log.jsonl");
        StringBuilder lines = new StringBuilder();
        for (int step = 1; step <= 300; step++) {
            lines.append(String.format(
                    Locale.ROOT,
                    "{\"event\": \"step\", \"step\": %d, \"loss\": %s, \"implicit_accuracy\": 0.%d, \"winner_error\":"
                            + " 0.2, \"loser_error\": 0.3, \"reference_winner_error\": 0.21, \"reference_loser_error\":"
                            + " 0.29, \"margins\": [{\"from\": 0, \"pairs\": 2, \"margin\": 0.1}, {\"from\": 100,"
                            + " \"pairs\": 1, \"margin\": -0.2}]}%n",
                    step,
                    step == 7 ? "NaN" : "0." + (900 - step),
                    500 + step));
            if (step % 100 == 0) {
                lines.append(String.format(
                        "{\"event\": \"evaluation\", \"step\": %d, \"loss\": 0.5, \"implicit_accuracy\": 0.6}%n",
                        step));
            }
        }
        Files.writeString(log, lines);
        Path recipe = Files.writeString(temporary.resolve("recipe.yaml"), "# " + EVIL + "\nseed: 7\n");
        List<EvaluatedModel> models = List.of(
                EvaluatedModel.of("base", TinyModels.writeTrainable(temporary.resolve("a"))),
                EvaluatedModel.of(EVIL, TinyEvaluation.writeOther(temporary.resolve("b"), 0.15)),
                EvaluatedModel.of(
                                "a model of a rather long name, as people give",
                                TinyEvaluation.writeOther(temporary.resolve("c"), 0.3))
                        .with(new EvaluatedModel.RunRecords(log, recipe)));
        List<Prompt> prompts = List.of(
                new Prompt(EVIL, null, OptionalLong.empty(), "Animals"),
                new Prompt("a dog with a name of " + "x".repeat(120), EVIL, OptionalLong.empty(), EVIL),
                Prompt.of("a red house"));
        EvaluationRequest plain = TinyEvaluation.request(
                models, prompts, List.of(TinyEvaluation.Red.reward(), TinyEvaluation.Red.verdict(0.48)));
        EvaluationRequest.Note note = EvaluationRequest.Note.of(
                "Notes of " + EVIL, "Three semantics.", new TreeMap<>(Map.of("exact", "57.6 %", EVIL, EVIL)));
        return Evaluation.run(
                new EvaluationRequest(
                        plain.models(),
                        plain.prompts(),
                        plain.negativePrompt(),
                        plain.seed(),
                        plain.imagesPerPrompt(),
                        plain.generation(),
                        plain.metrics(),
                        plain.bootstrap(),
                        plain.gallery(),
                        new EvaluationRequest.Provenance("1", "abc", "library", "smpo evaluate '" + EVIL + "'"),
                        List.of(note)),
                temporary.resolve("out"),
                TinyEvaluation.display());
    }

    /// Names are escaped in the excerpt, too, and the strip has the images of each model.
    @Test
    void theExcerptHasTableChartAndStrip() throws IOException {
        Path folder = evaluate().report().getParent();
        String table = Files.readString(folder.resolve(EvaluationExcerpt.TABLE));
        assertThat(table)
                .contains(
                        "| model | red | difference | win rate, % |",
                        "| base | ", "3 prompts and 6 images", "guidance scale")
                .doesNotContain(EVIL);
        String chart = Files.readString(folder.resolve(EvaluationExcerpt.CHART));
        assertThat(chart).doesNotContain(EVIL).contains("difference from base", "</svg>");
        assertThat(chart.split("<circle", -1)).hasSize(1 + 2 * 2);
        RgbImage strip = Png.read(folder.resolve(EvaluationExcerpt.STRIP)).image();
        int columns = table.split("\n\\* ", -1).length - 1;
        assertThat(columns).isPositive();
        assertThat(strip.width() % (columns * 4)).isEqualTo(columns * 4 - 4);
        assertThat(Arrays.equals(
                        strip.crop(0, 0, strip.width(), (strip.height() - 8) / 3)
                                .rgb(),
                        strip.crop(0, (strip.height() - 8) / 3 + 4, strip.width(), (strip.height() - 8) / 3)
                                .rgb()))
                .as("models generate different images")
                .isFalse();
    }

    @Test
    void everySectionIsThereAndNothingIsMarkup() throws IOException {
        String html = Files.readString(evaluate().report());
        assertThat(html.contains(EVIL)).isFalse();
        assertThat(html.contains("&lt;/script&gt;&lt;b&gt;bold&lt;/b&gt;")).isTrue();
        for (String heading : List.of(
                "Summary",
                "Distributions",
                "Categories",
                "Reward quality",
                "Training",
                "Images",
                "How to reproduce this")) {
            assertThat(html.contains(">" + heading + "</h2>")).as(heading).isTrue();
        }
        for (String part : List.of(
                "Notes of &lt;",
                "57.6 %",
                "Three semantics.",
                "largest gains by",
                "largest losses by",
                ">Random<",
                "commit abc",
                "Comparisons without base.",
                "Margins by timestep",
                "seed: 7",
                "data:image/png;base64,")) {
            assertThat(html.contains(part)).as(part).isTrue();
        }
    }

    @Test
    void aBrowserShowsItAtEveryWidth() throws IOException, InterruptedException {
        Optional<Browser> browser = Browser.find(temporary);
        assumeTrue(browser.isPresent(), "no Chromium on the PATH to open the report in (apt install chromium)");
        Path report = evaluate().report();
        for (int width : new int[] {1280, 390}) {
            Browser.Look look = browser.get().look(report, width);
            assertThat(look.console()).as("console at " + width).isEmpty();
            assertThat(look.charts()).isEqualTo(8);
            assertThat(look.drawn()).isEqualTo(8);
            assertThat(look.overflow()).as("pixels too wide at " + width).isLessThanOrEqualTo(0);
            assertThat(look.fetched()).isZero();
        }
        // The checks detect an error, empty charts, an element that is too wide, and a request.
        String html = Files.readString(report);
        Path broken = Files.writeString(
                temporary.resolve("broken.html"),
                html.replace("drawn.push(new Chart(", "drawn.push(new Missing(")
                        .replace("<h1>", "<img src=\"nowhere.png\" alt=\"\"><h1 style=\"width:2000px\">"));
        Browser.Look look = browser.get().look(broken, 390);
        assertThat(look.console()).anyMatch(line -> line.contains("Missing is not defined"));
        assertThat(look.console()).anyMatch(line -> line.contains("Content Security Policy"));
        assertThat(look.drawn()).isZero();
        assertThat(look.overflow()).isPositive();
    }
}
