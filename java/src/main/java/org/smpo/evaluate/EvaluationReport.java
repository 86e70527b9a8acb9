package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.smpo.report.HtmlPage;
import org.smpo.report.HtmlTable;

/// The HTML report of an evaluation: what differs and how sure that is, losses beside gains, and what it
/// takes to reproduce the evaluation.
final class EvaluationReport {
    private final ReportData data;
    private final EvaluationRequest request;
    private final List<Map<String, Object>> metrics;
    private final Map<String, Object> madeBy;
    private final String evaluation;

    /// @param data results and statistics
    /// @param metrics name, digest and description of each metric
    /// @param madeBy program that generated and scored the images
    /// @param evaluation digest of the evaluation's identity
    EvaluationReport(
            ReportData data, List<Map<String, Object>> metrics, Map<String, Object> madeBy, String evaluation) {
        this.data = data;
        this.request = data.request();
        this.metrics = metrics;
        this.madeBy = madeBy;
        this.evaluation = evaluation;
    }

    String html() throws IOException {
        HtmlPage page = new HtmlPage(
                data.compares()
                        ? data.modelNames(data.others()) + " against "
                                + data.base().name()
                        : data.base().name(),
                String.format(
                        Locale.ROOT,
                        "%,d prompts and %,d images per model at %d × %d pixels, all models from the same noise."
                                + " Intervals are %s bootstrap intervals over prompts.",
                        request.prompts().size(),
                        data.results().images().size(),
                        request.generation().config().width(),
                        request.generation().config().height(),
                        data.level()));
        page.section("Summary", new ReportSummary(data)::write);
        for (EvaluationRequest.Note note : request.notes()) {
            page.section(note.title(), section -> note(section, note));
        }
        page.section("Distributions", section -> section.charts(new ReportDistributions(data).charts()));
        if (!data.results().categories().isEmpty()) {
            page.section("Categories", this::categories);
        }
        if (!data.result().agreements().isEmpty()) {
            page.section("Reward quality", this::agreements);
        }
        training(page);
        new ReportGallery(data).write(page);
        String recipes = recipes();
        page.section("How to reproduce this", section -> reproduction(section, recipes));
        return page.html();
    }

    private static void note(HtmlPage.Section section, EvaluationRequest.Note note) {
        if (!note.paragraph().isBlank()) {
            section.text(note.paragraph());
        }
        if (!note.columns().isEmpty()) {
            List<HtmlTable.Column> columns = new ArrayList<>();
            for (int i = 0; i < note.columns().size(); i++) {
                columns.add(new HtmlTable.Column(note.columns().get(i), i > 0));
            }
            section.table(new HtmlTable(note.title(), columns, note.rows()));
        }
    }

    private void categories(HtmlPage.Section section) {
        for (Metric.Source metric : data.metrics()) {
            List<HtmlTable.Column> columns = new ArrayList<>(List.of(
                    HtmlTable.Column.text("Category"),
                    HtmlTable.Column.number("Images"),
                    HtmlTable.Column.number(data.base().name())));
            for (EvaluatedModel model : data.others()) {
                columns.add(HtmlTable.Column.number(model.name() + ": difference"));
                columns.add(HtmlTable.Column.number("win rate, %"));
            }
            List<List<String>> rows = new ArrayList<>();
            for (String category : data.results().categories()) {
                rows.add(category(metric, category));
            }
            section.table(new HtmlTable(
                    data.format(metric).heading() + ", with " + data.level()
                            + " intervals. Among many rows, some intervals exclude zero by chance.",
                    columns,
                    rows));
        }
    }

    private List<String> category(Metric.Source metric, String category) {
        MetricFormat format = data.format(metric);
        MetricSummary summary = data.result().summaries().stream()
                .filter(found -> category.equals(found.category())
                        && found.metric().equals(metric.name())
                        && found.model().equals(data.base().name()))
                .findFirst()
                .orElseThrow();
        List<String> row =
                new ArrayList<>(List.of(category, Integer.toString(summary.images()), format.value(summary.mean())));
        data.result().comparisons().stream()
                .filter(found ->
                        category.equals(found.category()) && found.metric().equals(metric.name()))
                .forEach(found -> {
                    row.add(format.difference(found.meanDifference()));
                    row.add(MetricFormat.percent(found.winRate()));
                });
        return row;
    }

    private void agreements(HtmlPage.Section section) {
        section.text(
                "A reward is a useful training signal to the extent that it prefers images that are right. Here each"
                        + " reward is compared with a metric that judges right or wrong and that nothing was trained on;"
                        + " 50 % is what guessing reaches.");
        List<List<String>> rows = new ArrayList<>();
        for (Agreement found : data.result().agreements()) {
            rows.add(List.of(
                    found.metric() + " with " + found.judge(),
                    found.model() == null ? "all" : found.model(),
                    Integer.toString(found.images()),
                    Interval.number(100.0 * found.right() / found.images(), 1),
                    found.areaUnderCurve().text(3),
                    MetricFormat.percent(found.samePrompt()),
                    Long.toString(found.samePromptPairs()),
                    MetricFormat.percent(found.accuracy())));
        }
        section.table(new HtmlTable(
                "Agreement, with " + data.level() + " intervals.",
                List.of(
                        HtmlTable.Column.text("Reward"),
                        HtmlTable.Column.text("Model"),
                        HtmlTable.Column.number("Images"),
                        HtmlTable.Column.number("Right, %"),
                        HtmlTable.Column.number("Area under the ROC curve"),
                        HtmlTable.Column.number("Same prompt, %"),
                        HtmlTable.Column.number("Pairs"),
                        HtmlTable.Column.number("Accuracy, %")),
                rows));
        section.text(
                "Area under the ROC curve: how often a right image scores above a wrong one, whatever their prompts."
                        + " Same prompt: the same among images of one prompt. Accuracy: with a threshold fitted on the"
                        + " other half of the prompts; compare it with the share of right images, which always answering"
                        + " \"right\" reaches.");
    }

    private void training(HtmlPage page) throws IOException {
        TrainingCurves curves = new TrainingCurves();
        boolean any = false;
        for (int i = 0; i < data.models().size(); i++) {
            EvaluatedModel model = data.models().get(i);
            if (model.run().isPresent() && Files.exists(model.run().get().log())) {
                curves.add(model, i);
                any = true;
            }
        }
        if (any) {
            page.section("Training", section -> {
                section.charts(curves.charts());
                section.table(new HtmlTable(
                        "The end of each run.",
                        List.of(
                                HtmlTable.Column.text("Model"),
                                HtmlTable.Column.number("Steps"),
                                HtmlTable.Column.number("Implicit accuracy over the last third")),
                        curves.rows()));
            });
        }
    }

    private String recipes() throws IOException {
        StringBuilder all = new StringBuilder();
        for (EvaluatedModel model : data.models()) {
            if (model.run().isPresent() && Files.exists(model.run().get().recipe())) {
                all.append("# ").append(model.name()).append('\n');
                all.append(Files.readString(model.run().get().recipe())).append('\n');
            }
        }
        return all.toString();
    }

    private void reproduction(HtmlPage.Section section, String recipes) {
        section.code("The command", request.provenance().command());
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("smpo", madeBy.get("version") + ", commit " + madeBy.get("commit")));
        rows.add(List.of("Native library", String.valueOf(madeBy.get("library"))));
        request.generation().identity().forEach((key, value) -> rows.add(List.of(words(key), String.valueOf(value))));
        rows.add(List.of(
                "Seeds",
                data.results().images().getFirst().seed() + " to "
                        + data.results().images().getLast().seed()
                        + ", one per image; results.parquet lists them"));
        rows.add(List.of(
                "Bootstrap",
                request.bootstrap().resamples() + " resamples of the prompts, seed "
                        + request.bootstrap().seed() + ", percentile intervals"));
        rows.add(List.of("Evaluation", evaluation));
        rows.add(List.of("Prompts", request.promptsDigest()));
        for (int i = 0; i < data.models().size(); i++) {
            EvaluatedModel model = data.models().get(i);
            String digest = data.results().modelDigests().get(i);
            rows.add(List.of(
                    "Model " + model.name(),
                    digest
                            + model.negative()
                                    .map(network -> "; negative network: " + network.name() + ", condition: "
                                            + network.condition().id())
                                    .orElse("")));
        }
        for (Map<String, Object> metric : metrics) {
            rows.add(List.of("Metric " + metric.get("name"), metric.get("sha256") + ": " + metric.get("what")));
        }
        section.table(new HtmlTable(
                "Equal digests (SHA-256) and settings give equal images and numbers.",
                List.of(HtmlTable.Column.text("Item"), HtmlTable.Column.text("Value")),
                rows));
        if (!recipes.isEmpty()) {
            section.folded("Recipes of the training runs", folded -> folded.code("Recipes", recipes));
        }
        section.text(
                "Files beside this page: results.parquet (one row per model and image); report.json (every number);"
                        + " summary.md, gains.svg and strip.png (for a README or a model card); pictures/ (the images,"
                        + " each with its settings as metadata).");
    }

    private static String words(String key) {
        String text = key.replace('_', ' ');
        return key.equals("vae_tile") ? "VAE tile" : Character.toUpperCase(text.charAt(0)) + text.substring(1);
    }
}
