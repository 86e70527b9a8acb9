package org.smpo.iterate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.smpo.evaluate.Interval;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.report.Chart;
import org.smpo.report.HtmlPage;
import org.smpo.report.HtmlTable;

/// The report of an iteration: the finished rounds side by side, and the comparison of their models.
final class IterationReport {
    private static final int DIGITS = 4;
    private static final String NONE = "–";

    private final IterationPlan plan;
    private final List<RoundSummary> rounds;

    /// @param rounds finished rounds, at least one
    IterationReport(IterationPlan plan, List<RoundSummary> rounds) {
        this.plan = plan;
        this.rounds = rounds;
    }

    String html() throws IOException {
        String model = String.valueOf(
                plan.recipe().training().model().toAbsolutePath().normalize().getFileName());
        HtmlPage page = new HtmlPage(
                "Rounds of tuning " + model,
                String.format(
                        Locale.ROOT,
                        "%d of %d rounds are finished. A round generates %d images per prompt, makes preference pairs"
                                + " of them and trains on the pairs. Intervals are 95 %% bootstrap intervals over"
                                + " prompts.",
                        rounds.size(),
                        plan.recipe().rounds().count(),
                        plan.recipe().rounds().images()));
        page.section("Rounds", section -> {
            section.text("The images of different rounds have different prompts and noise, so their scores are not"
                    + " a comparison of the models.");
            section.table(images()).table(training());
            if (plan.recipe().rounds().rewardTraining().isPresent()) {
                section.text(
                        "The reward's head is fitted to the choices of people and, at the weight of the game, to gold"
                                + " images against those of the round. Accuracies are shares of pairs whose better image has the"
                                + " higher score: of held-out pairs of people, and of gold images against generated ones.");
                section.table(heads());
            }
            if (rounds.size() > 1) {
                section.charts(charts());
            }
        });
        Path compared = plan.evaluation().resolve("report.json");
        if (plan.recipe().rounds().evaluation().isPresent() && Files.exists(compared)) {
            HtmlTable table = comparison(Json.readObject(compared));
            page.section(
                    "Comparison",
                    section -> section.text("All models on the same prompts and from the same noise;" + " details: "
                                    + plan.evaluation().getFileName() + "/report.html.")
                            .table(table));
        }
        page.section("How to reproduce this", section -> {
            section.text("Each stage is a command. It reads prompts.json and train.yaml of its round:");
            section.code("commands", String.join("\n", plan.commands()));
            section.folded(
                    "rounds.yaml", recipe -> recipe.code("recipe", plan.recipe().resolved()));
        });
        return page.html();
    }

    private HtmlTable images() {
        List<HtmlTable.Column> columns = new ArrayList<>(List.of(
                HtmlTable.Column.text("Round"),
                HtmlTable.Column.text("Images by"),
                HtmlTable.Column.number("Prompts")));
        plan.rewardNames().forEach(name -> columns.add(HtmlTable.Column.number(name)));
        columns.add(HtmlTable.Column.number("Pairs"));
        columns.add(HtmlTable.Column.number("Prompts without a pair"));
        List<List<String>> rows = new ArrayList<>();
        for (RoundSummary round : rounds) {
            List<String> row = new ArrayList<>(List.of(
                    Long.toString(round.round()),
                    round.model(),
                    Long.toString(round.pairs().prompts())));
            plan.rewardNames().forEach(name -> row.add(text(round.rewards(), name)));
            row.add(Long.toString(round.pairs().pairs()));
            row.add(Long.toString(round.pairs().promptsWithoutPair()));
            rows.add(row);
        }
        return new HtmlTable("Images and pairs of each round; rewards are means over images.", columns, rows);
    }

    private HtmlTable heads() {
        List<HtmlTable.Column> columns = new ArrayList<>(List.of(HtmlTable.Column.text("Round")));
        for (String name : List.of("Human accuracy", "without the head", "Game accuracy", "Game weight", "Norm")) {
            columns.add(HtmlTable.Column.number(name));
        }
        List<List<String>> rows = new ArrayList<>();
        for (RoundSummary round : rounds) {
            round.head()
                    .ifPresent(head -> rows.add(List.of(
                            Long.toString(round.round()),
                            number(head.humanAccuracy()),
                            number(head.humanAccuracyWithout()),
                            number(head.gameAccuracy()),
                            number(head.gameWeight()),
                            number(head.norm()))));
        }
        return new HtmlTable("Head of the reward in each round.", columns, rows);
    }

    private static String number(double value) {
        return String.format(Locale.ROOT, "%.4g", value);
    }

    private static String text(Map<String, Interval> means, String metric) {
        Interval mean = means.get(metric);
        return mean == null ? NONE : mean.text(DIGITS);
    }

    private HtmlTable training() {
        List<HtmlTable.Column> columns =
                new ArrayList<>(List.of(HtmlTable.Column.text("Round"), HtmlTable.Column.number("Steps")));
        for (String name : RoundSummary.LOGGED) {
            columns.add(HtmlTable.Column.number(name));
        }
        List<List<String>> rows = new ArrayList<>();
        for (RoundSummary round : rounds) {
            List<String> row = new ArrayList<>(List.of(Long.toString(round.round()), Long.toString(round.steps())));
            for (String name : RoundSummary.LOGGED) {
                Double value = round.training().get(name);
                row.add(value == null ? NONE : number(value));
            }
            rows.add(row);
        }
        return new HtmlTable("Training of each round: means over the last tenth of its steps.", columns, rows);
    }

    private List<Chart> charts() {
        List<Chart> charts = new ArrayList<>();
        for (String name : plan.rewardNames()) {
            List<RoundSummary> with = rounds.stream()
                    .filter(round -> round.rewards().containsKey(name))
                    .toList();
            List<Interval> means =
                    with.stream().map(round -> round.rewards().get(name)).toList();
            Chart.Series series = new Chart.Series(
                    "images of the round",
                    0,
                    false,
                    with.stream().mapToDouble(RoundSummary::round).toArray(),
                    means.stream().mapToDouble(Interval::estimate).toArray(),
                    means.stream().mapToDouble(Interval::low).toArray(),
                    means.stream().mapToDouble(Interval::high).toArray());
            charts.add(new Chart(
                    Chart.Kind.LINES,
                    name,
                    "Mean of " + name + " over the images of each round.",
                    "round",
                    name,
                    List.of(),
                    List.of(series),
                    Double.NaN));
        }
        return charts;
    }

    private HtmlTable comparison(JsonObject report) throws IOException {
        List<HtmlTable.Column> columns = new ArrayList<>(List.of(HtmlTable.Column.text("Model")));
        for (RoundReward reward : plan.rewards()) {
            columns.add(HtmlTable.Column.number(reward.name()));
            columns.add(HtmlTable.Column.number("difference from " + IterationPlan.modelName(0)));
        }
        List<List<String>> rows = new ArrayList<>();
        for (int made = 0; made <= plan.recipe().rounds().count(); made++) {
            String model = IterationPlan.modelName(made);
            Map<String, Interval> means = RoundSummary.means(report, model);
            List<String> row = new ArrayList<>(List.of(model));
            for (RoundReward reward : plan.rewards()) {
                row.add(text(means, reward.name()));
                row.add(difference(report, model, reward.name()));
            }
            rows.add(row);
        }
        return new HtmlTable("Means over images, and paired differences.", columns, rows);
    }

    private static String difference(JsonObject report, String model, String metric) throws IOException {
        for (JsonObject found : report.objects("comparisons")) {
            if (!found.has("category")
                    && found.string("measure").equals(metric)
                    && found.string("model").equals(model)
                    && found.string("against").equals(IterationPlan.modelName(0))) {
                return RoundSummary.interval(found.object("mean_difference")).signed(DIGITS);
            }
        }
        return NONE;
    }
}
