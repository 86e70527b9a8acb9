package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.smpo.io.Png;
import org.smpo.io.Resample;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;
import org.smpo.report.Chart;
import org.smpo.report.HtmlPage;
import org.smpo.report.HtmlTable;

/// The page of an evaluation. It says what differs and how sure that is, shows losses beside gains, and ends with what
/// it takes to do it again.
final class EvaluationReport {
    private static final double[] NONE = {};
    private static final int BINS = 24;
    private static final List<String> COMPARED =
            List.of("Win rate, %", "Mean difference", "Median difference", "Won / tied / lost");

    /// Pictures are shown no larger than this; the folder has them whole.
    private static final int THUMBNAIL = 256;

    /// Small pictures are enlarged to this.
    private static final int SHOWN = 128;

    /// Pictures in one page, so that it stays a page.
    private static final int MOST_PICTURES = 400;

    /// Of the pictures that are drawn by lot.
    static final int LOT = 1;

    private final Results results;
    private final EvaluationRequest request;
    private final EvaluationResult result;
    private final List<Map<String, Object>> measures;
    private final Map<String, Object> madeBy;
    private final String evaluation;
    private final Path root;
    private final String level;

    EvaluationReport(
            Results results,
            EvaluationResult result,
            List<Map<String, Object>> measures,
            Map<String, Object> madeBy,
            String evaluation,
            Path root) {
        this.results = results;
        this.request = results.request();
        this.result = result;
        this.measures = measures;
        this.madeBy = madeBy;
        this.evaluation = evaluation;
        this.root = root;
        this.level = Interval.number(100 * request.bootstrap().confidence(), 0) + " %";
    }

    String html() throws IOException {
        String names = request.models().stream().map(EvaluatedModel::name).collect(Collectors.joining(", "));
        HtmlPage page = new HtmlPage(
                request.models().size() == 1 ? names : names(request.models()),
                String.format(
                        Locale.ROOT,
                        "%,d prompts, %,d pictures of each model at %d × %d, all from the same noise. Intervals are %s"
                                + " and come from resampling prompts.",
                        request.prompts().size(),
                        results.pictures().size(),
                        request.drawing().width(),
                        request.drawing().height(),
                        level));
        page.section("Summary", this::summary);
        for (EvaluationRequest.Note note : request.notes()) {
            page.section(note.title(), section -> note(section, note));
        }
        page.section("Distributions", this::distributions);
        if (!results.categories().isEmpty()) {
            page.section("Categories", this::categories);
        }
        if (!result.agreements().isEmpty()) {
            page.section("How good the rewards are", this::agreements);
        }
        training(page);
        gallery(page);
        String recipes = recipes();
        page.section("How to repeat it", section -> repeat(section, recipes));
        return page.html();
    }

    private static String names(List<EvaluatedModel> models) {
        String others = models.stream().skip(1).map(EvaluatedModel::name).collect(Collectors.joining(", "));
        return others + " against " + models.getFirst().name();
    }

    private EvaluatedModel base() {
        return request.models().getFirst();
    }

    private boolean compares() {
        return request.models().size() > 1;
    }

    // ---- numbers -----------------------------------------------------------------------------------------------

    /// Verdicts are shares of pictures and are shown in percent.
    private static double scale(Measure.Source measure) {
        return measure.isVerdict() ? 100 : 1;
    }

    private static String unit(Measure.Source measure) {
        return measure.isVerdict() ? " (% right)" : "";
    }

    /// Enough digits to see a hundredth of the spread between pictures.
    private int digits(Measure.Source measure) {
        if (measure.isVerdict()) {
            return 1;
        }
        double spread = result.figures().stream()
                .filter(found -> found.measure().equals(measure.name()) && found.category() == null)
                .mapToDouble(Figures::standardDeviation)
                .max()
                .orElse(0);
        return spread > 0 ? Math.clamp((int) (2 - Math.floor(Math.log10(spread))), 0, 8) : 4;
    }

    private String value(Measure.Source measure, Interval interval) {
        return interval.times(scale(measure)).text(digits(measure));
    }

    /// With its interval.
    String mean(Measure.Source measure, EvaluatedModel model) {
        return value(
                measure,
                result.figures(measure.name(), model.name()).orElseThrow().mean());
    }

    /// A model beside the first one; none of the first itself.
    Optional<Comparison> againstBase(Measure.Source measure, EvaluatedModel model) {
        return result.comparison(measure.name(), model.name(), base().name());
    }

    String difference(Measure.Source measure, Interval interval) {
        return interval.times(scale(measure)).signed(digits(measure));
    }

    static String percent(Interval share) {
        return share.times(100).text(1);
    }

    // ---- sections ----------------------------------------------------------------------------------------------

    private void summary(HtmlPage.Section section) {
        for (EvaluatedModel model : request.models().subList(1, request.models().size())) {
            for (Measure.Source measure : request.measures()) {
                result.comparison(measure.name(), model.name(), base().name())
                        .ifPresent(found -> section.finding(finding(measure, found)));
            }
        }
        for (Measure.Source measure : request.measures()) {
            section.table(overview(measure));
        }
        if (compares()) {
            List<Chart> charts = new ArrayList<>();
            for (Measure.Source measure : request.measures()) {
                charts.add(winRates(measure));
            }
            section.charts(charts);
        }
        if (request.models().size() > 2) {
            section.table(others());
        }
    }

    private String finding(Measure.Source measure, Comparison found) {
        Figures own = result.figures(measure.name(), found.model()).orElseThrow();
        Figures base = result.figures(measure.name(), found.against()).orElseThrow();
        int digits = digits(measure);
        double scale = scale(measure);
        String unit = measure.isVerdict() ? " % right" : "";
        String verdict;
        if (found.wins() + found.losses() == 0) {
            verdict = "They are equal in every picture.";
        } else if (found.meanDifference().excludes(0)) {
            verdict = "The interval excludes zero: " + (found.meanDifference().estimate() > 0 ? "better" : "worse")
                    + " by this measure.";
        } else {
            verdict = "The interval includes zero: no difference is shown.";
        }
        return measure.name() + ": " + found.model() + " "
                + Interval.number(scale * own.mean().estimate(), digits) + unit + ", " + found.against() + " "
                + Interval.number(scale * base.mean().estimate(), digits) + unit + ": "
                + difference(measure, found.meanDifference())
                + (measure.isVerdict() ? " points. " : ". ") + verdict;
    }

    private HtmlTable overview(Measure.Source measure) {
        List<HtmlTable.Column> columns = columns("Model");
        columns.add(1, HtmlTable.Column.number("Mean"));
        List<List<String>> rows = new ArrayList<>();
        for (EvaluatedModel model : request.models()) {
            List<String> row = new ArrayList<>(List.of(model.name()));
            row.add(mean(measure, model));
            if (compares()) {
                row.addAll(againstBase(measure, model)
                        .map(one -> comparison(measure, one))
                        .orElse(Collections.nCopies(COMPARED.size(), "")));
            }
            rows.add(row);
        }
        String against = compares() ? " Differences are from " + base().name() + "; a tie counts half a win." : "";
        return new HtmlTable(
                "By " + measure.name() + unit(measure) + ", with " + level + " intervals." + against, columns, rows);
    }

    private List<HtmlTable.Column> columns(String first) {
        List<HtmlTable.Column> columns = new ArrayList<>(List.of(HtmlTable.Column.text(first)));
        if (compares()) {
            COMPARED.forEach(name -> columns.add(HtmlTable.Column.number(name)));
        }
        return columns;
    }

    private List<String> comparison(Measure.Source measure, Comparison one) {
        return List.of(
                percent(one.winRate()),
                difference(measure, one.meanDifference()),
                difference(measure, one.medianDifference()),
                one.wins() + " / " + one.ties() + " / " + one.losses());
    }

    /// The models among themselves, the first left out.
    private HtmlTable others() {
        List<List<String>> rows = new ArrayList<>();
        for (Comparison found : result.comparisons()) {
            if (found.category() == null && !found.against().equals(base().name())) {
                Measure.Source measure = measure(found.measure());
                List<String> row = new ArrayList<>();
                row.add(found.model() + " against " + found.against());
                row.add(measure.name() + unit(measure));
                row.addAll(comparison(measure, found));
                rows.add(row);
            }
        }
        List<HtmlTable.Column> columns = columns("Models");
        columns.add(1, HtmlTable.Column.text("Measure"));
        return new HtmlTable("The others among themselves.", columns, rows);
    }

    private Measure.Source measure(String name) {
        return request.measures().stream()
                .filter(measure -> measure.name().equals(name))
                .findFirst()
                .orElseThrow();
    }

    private Chart winRates(Measure.Source measure) {
        List<Comparison> all = result.comparisons().stream()
                .filter(found -> found.category() == null
                        && found.measure().equals(measure.name())
                        && found.against().equals(base().name()))
                .toList();
        double[] y = shares(all, Interval::estimate);
        return new Chart(
                Chart.Kind.SHARES,
                "Win rate by " + measure.name(),
                "Share of pictures that beat " + base().name() + "'s of the same prompt and noise, a tie counted half;"
                        + " the dashed line is one half.",
                "win rate, %",
                "",
                all.stream().map(Comparison::model).toList(),
                List.of(new Chart.Series(
                        "win rate", 1, false, NONE, y, shares(all, Interval::low), shares(all, Interval::high))),
                50);
    }

    private static double[] shares(List<Comparison> all, java.util.function.ToDoubleFunction<Interval> part) {
        return all.stream()
                .mapToDouble(found -> 100 * part.applyAsDouble(found.winRate()))
                .toArray();
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

    private void distributions(HtmlPage.Section section) {
        List<Chart> charts = new ArrayList<>();
        for (int m = 0; m < request.measures().size(); m++) {
            Measure.Source measure = request.measures().get(m);
            charts.add(measure.isVerdict() ? rightShares(measure) : histogram(measure, m));
        }
        section.charts(charts);
    }

    private Chart rightShares(Measure.Source measure) {
        List<Interval> means = request.models().stream()
                .map(model -> result.figures(measure.name(), model.name())
                        .orElseThrow()
                        .mean()
                        .times(100))
                .toList();
        return new Chart(
                Chart.Kind.SHARES,
                "Right by " + measure.name(),
                "Share of each model's pictures that are wholly right, with " + level + " intervals.",
                "% right",
                "",
                request.models().stream().map(EvaluatedModel::name).toList(),
                List.of(new Chart.Series(
                        "right",
                        3,
                        false,
                        NONE,
                        means.stream().mapToDouble(Interval::estimate).toArray(),
                        means.stream().mapToDouble(Interval::low).toArray(),
                        means.stream().mapToDouble(Interval::high).toArray())),
                Double.NaN);
    }

    private Chart histogram(Measure.Source measure, int index) {
        double[][] values = IntStream.range(0, request.models().size())
                .mapToObj(model -> results.values(index, model))
                .toArray(double[][]::new);
        double least =
                Arrays.stream(values).flatMapToDouble(Arrays::stream).min().orElseThrow();
        double most =
                Arrays.stream(values).flatMapToDouble(Arrays::stream).max().orElseThrow();
        double width = most > least ? (most - least) / BINS : 1;
        List<Chart.Series> series = new ArrayList<>();
        for (int model = 0; model < values.length; model++) {
            double[] share = new double[BINS];
            for (double value : values[model]) {
                share[Math.clamp((int) ((value - least) / width), 0, BINS - 1)] += 100.0 / values[model].length;
            }
            double[] middle = IntStream.range(0, BINS)
                    .mapToDouble(bin -> least + (bin + 0.5) * width)
                    .toArray();
            series.add(
                    new Chart.Series(request.models().get(model).name(), model, model == 0, middle, share, NONE, NONE));
        }
        return new Chart(
                Chart.Kind.OUTLINES,
                "Scores by " + measure.name(),
                "Share of each model's pictures by score" + (compares() ? "; dashed: " + base().name() + "." : "."),
                measure.name(),
                "% of pictures",
                List.of(),
                series,
                Double.NaN);
    }

    private void categories(HtmlPage.Section section) {
        for (Measure.Source measure : request.measures()) {
            List<HtmlTable.Column> columns = new ArrayList<>(List.of(
                    HtmlTable.Column.text("Category"),
                    HtmlTable.Column.number("Pictures"),
                    HtmlTable.Column.number(base().name())));
            for (EvaluatedModel model :
                    request.models().subList(1, request.models().size())) {
                columns.add(HtmlTable.Column.number(model.name() + ": difference"));
                columns.add(HtmlTable.Column.number("win rate, %"));
            }
            List<List<String>> rows = new ArrayList<>();
            for (String category : results.categories()) {
                Figures figures = result.figures().stream()
                        .filter(found -> category.equals(found.category())
                                && found.measure().equals(measure.name())
                                && found.model().equals(base().name()))
                        .findFirst()
                        .orElseThrow();
                List<String> row = new ArrayList<>(
                        List.of(category, Integer.toString(figures.pictures()), value(measure, figures.mean())));
                result.comparisons().stream()
                        .filter(found -> category.equals(found.category())
                                && found.measure().equals(measure.name()))
                        .forEach(found -> {
                            row.add(difference(measure, found.meanDifference()));
                            row.add(percent(found.winRate()));
                        });
                rows.add(row);
            }
            section.table(new HtmlTable(
                    "By " + measure.name() + unit(measure) + ", with " + level
                            + " intervals. Of many rows some exclude zero by chance.",
                    columns,
                    rows));
        }
    }

    private void agreements(HtmlPage.Section section) {
        section.text(
                "A reward is as good a signal as it agrees with what is right. Here each is compared with a measure"
                        + " that says right or wrong and that nothing was trained on; one half is a coin's agreement.");
        List<List<String>> rows = new ArrayList<>();
        for (Agreement found : result.agreements()) {
            rows.add(List.of(
                    found.measure() + " with " + found.judge(),
                    found.model() == null ? "all" : found.model(),
                    Integer.toString(found.pictures()),
                    percent(new Interval((double) found.right() / found.pictures(), 0, 0))
                            .replaceFirst(" .*", ""),
                    found.areaUnderCurve().text(3),
                    percent(found.samePrompt()),
                    Long.toString(found.samePromptPairs()),
                    percent(found.accuracy())));
        }
        section.table(new HtmlTable(
                "Agreement, with " + level + " intervals.",
                List.of(
                        HtmlTable.Column.text("Reward"),
                        HtmlTable.Column.text("Pictures of"),
                        HtmlTable.Column.number("Pictures"),
                        HtmlTable.Column.number("Right, %"),
                        HtmlTable.Column.number("Area under curve"),
                        HtmlTable.Column.number("Same prompt, %"),
                        HtmlTable.Column.number("Pairs"),
                        HtmlTable.Column.number("Accuracy, %")),
                rows));
        section.text(
                "Area under curve: how often a right picture scores above a wrong one, whatever their prompts. Same"
                        + " prompt: the same among pictures of one prompt. Accuracy: with a threshold that was found on the other"
                        + " half of the prompts; beside it stands the share that is right, which always saying \"right\" reaches.");
    }

    private void training(HtmlPage page) throws IOException {
        TrainingCurves curves = new TrainingCurves();
        boolean any = false;
        for (int i = 0; i < request.models().size(); i++) {
            EvaluatedModel model = request.models().get(i);
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
                                HtmlTable.Column.number("Implicit accuracy in the last third")),
                        curves.rows()));
            });
        }
    }

    // ---- pictures ----------------------------------------------------------------------------------------------

    /// The measure that picks pictures: a verdict, which is independent, before a reward.
    private int picking() {
        return IntStream.range(0, request.measures().size())
                .filter(m -> request.measures().get(m).isVerdict())
                .findFirst()
                .orElse(0);
    }

    private void gallery(HtmlPage page) throws IOException {
        int models = request.models().size();
        int kinds = 1 + 2 * (models - 1);
        int each = Math.min(request.gallery(), Math.max(1, MOST_PICTURES / (kinds * models)));
        if (request.gallery() == 0) {
            return;
        }
        int[] lot = new Philox(request.bootstrap().seed())
                .permutation(Purpose.BOOTSTRAP, LOT, results.pictures().size());
        List<HtmlPage.Strip> random =
                strips(Arrays.stream(lot).limit(each).sorted().toArray());
        String name = request.measures().get(picking()).name();
        List<List<HtmlPage.Strip>> picked = new ArrayList<>();
        for (int model = 1; model < models; model++) {
            int[] order = byDifference(model, lot);
            double[] difference = differences(model);
            picked.add(strips(Arrays.stream(order)
                    .filter(i -> difference[i] > 0)
                    .limit(each)
                    .toArray()));
            picked.add(strips(IntStream.range(0, order.length)
                    .map(i -> order[order.length - 1 - i])
                    .filter(i -> difference[i] < 0)
                    .limit(each)
                    .toArray()));
        }
        page.section("Pictures", section -> {
            section.text("Side by side, of one prompt and one noise. Pictures of the random strips were drawn by lot,"
                    + " whatever they show" + (compares() ? "; gains and losses are the largest by " + name : "")
                    + ".");
            section.heading("Random").gallery(random);
            for (int model = 1; model < models; model++) {
                String who = request.models().get(model).name();
                shown(section, who + ": largest gains by " + name, picked.get(2 * model - 2), "No picture gained.");
                shown(section, who + ": largest losses by " + name, picked.get(2 * model - 1), "No picture lost.");
            }
        });
    }

    private static void shown(HtmlPage.Section section, String heading, List<HtmlPage.Strip> strips, String none) {
        section.heading(heading);
        if (strips.isEmpty()) {
            section.text(none);
        } else {
            section.gallery(strips);
        }
    }

    private double[] differences(int model) {
        int measure = picking();
        return IntStream.range(0, results.pictures().size())
                .mapToDouble(i -> results.value(measure, model, i) - results.value(measure, 0, i))
                .toArray();
    }

    /// From the largest gain to the largest loss; equal ones by lot, as most of a verdict's are.
    private int[] byDifference(int model, int[] lot) {
        double[] difference = differences(model);
        return Arrays.stream(lot)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer i) -> difference[i]).reversed())
                .mapToInt(Integer::intValue)
                .toArray();
    }

    private List<HtmlPage.Strip> strips(int[] pictures) throws IOException {
        List<HtmlPage.Strip> strips = new ArrayList<>();
        for (int at : pictures) {
            EvaluationRequest.Picture picture = results.pictures().get(at);
            List<HtmlPage.Picture> row = new ArrayList<>();
            for (int model = 0; model < request.models().size(); model++) {
                row.add(picture(model, at, picture));
            }
            strips.add(new HtmlPage.Strip(picture.prompt().text() + " (seed " + picture.seed() + ")", row));
        }
        return strips;
    }

    private HtmlPage.Picture picture(int model, int at, EvaluationRequest.Picture picture) throws IOException {
        String name = request.models().get(model).name();
        List<String> notes = new ArrayList<>(List.of(name));
        for (int m = 0; m < request.measures().size(); m++) {
            Measure.Source measure = request.measures().get(m);
            double value = results.value(m, model, at);
            notes.add(
                    measure.isVerdict()
                            ? value == 1 ? "✓ right" : "✗ wrong"
                            : measure.name() + " " + Interval.number(value, digits(measure)));
        }
        RgbImage image = thumbnail(model, at);
        int larger = larger(image);
        return HtmlPage.Picture.of(
                new Png(image, Map.of()).bytes(),
                name + ": " + picture.prompt().text(),
                larger * image.width(),
                larger * image.height(),
                notes);
    }

    /// A picture, no larger than pages show.
    RgbImage thumbnail(int model, int at) throws IOException {
        RgbImage image = Png.read(root.resolve(results.file(model, at))).image();
        int longest = Math.max(image.width(), image.height());
        if (longest <= THUMBNAIL) {
            return image;
        }
        return Resample.resize(
                image,
                Math.max(1, image.width() * THUMBNAIL / longest),
                Math.max(1, image.height() * THUMBNAIL / longest),
                Resample.Filter.BICUBIC);
    }

    /// How many times a small picture is enlarged.
    static int larger(RgbImage image) {
        return Math.max(1, SHOWN / Math.max(image.width(), image.height()));
    }

    // ---- again -------------------------------------------------------------------------------------------------

    private String recipes() throws IOException {
        StringBuilder all = new StringBuilder();
        for (EvaluatedModel model : request.models()) {
            if (model.run().isPresent() && Files.exists(model.run().get().recipe())) {
                all.append("# ").append(model.name()).append('\n');
                all.append(Files.readString(model.run().get().recipe())).append('\n');
            }
        }
        return all.toString();
    }

    private void repeat(HtmlPage.Section section, String recipes) {
        section.code("The command", request.provenance().command());
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("smpo", madeBy.get("version") + ", commit " + madeBy.get("commit")));
        rows.add(List.of("Native library", String.valueOf(madeBy.get("library"))));
        request.drawing().identity().forEach((key, value) -> rows.add(List.of(words(key), String.valueOf(value))));
        rows.add(List.of(
                "Seeds",
                results.pictures().getFirst().seed() + " to "
                        + results.pictures().getLast().seed() + ", a picture each; results.parquet has each"));
        rows.add(List.of(
                "Bootstrap",
                request.bootstrap().resamples() + " resamples of prompts, seed "
                        + request.bootstrap().seed() + ", percentiles"));
        rows.add(List.of("Evaluation", evaluation));
        rows.add(List.of("Prompts", request.promptsDigest()));
        for (int i = 0; i < request.models().size(); i++) {
            rows.add(List.of(
                    "Model " + request.models().get(i).name(),
                    results.modelDigests().get(i)));
        }
        for (Map<String, Object> measure : measures) {
            rows.add(List.of("Measure " + measure.get("name"), measure.get("sha256") + ": " + measure.get("what")));
        }
        section.table(new HtmlTable(
                "Equal digests (SHA-256) and settings make equal pictures and figures.",
                List.of(HtmlTable.Column.text("What"), HtmlTable.Column.text("Which")),
                rows));
        if (!recipes.isEmpty()) {
            section.folded("Recipes of the training runs", folded -> folded.code("Recipes", recipes));
        }
        section.text(
                "Beside this page: results.parquet, a row for each model and picture; report.json, every figure;"
                        + " summary.md, gains.svg and strip.png, for a page elsewhere; pictures, each with its settings in it.");
    }

    private static String words(String key) {
        String text = key.replace('_', ' ');
        return key.equals("vae_tile") ? "VAE tile" : Character.toUpperCase(text.charAt(0)) + text.substring(1);
    }
}
