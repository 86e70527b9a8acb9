package org.smpo.evaluate;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.report.HtmlPage;

/// The report's images: random ones, and those with the largest gains and losses of each model.
final class ReportGallery {
    /// Most images in one page, so that browsers still open it.
    private static final int MOST_IMAGES = 400;

    private final ReportData data;

    ReportGallery(ReportData data) {
        this.data = data;
    }

    /// Adds the section, unless the request asks for no images.
    void write(HtmlPage page) throws IOException {
        EvaluationRequest request = data.request();
        if (request.gallery() == 0) {
            return;
        }
        int models = data.models().size();
        int kinds = 1 + 2 * (models - 1);
        int each = Math.min(request.gallery(), Math.max(1, MOST_IMAGES / (kinds * models)));
        int[] shuffled = data.randomOrder();
        List<HtmlPage.Strip> random =
                strips(Arrays.stream(shuffled).limit(each).sorted().toArray());
        List<List<HtmlPage.Strip>> gains = new ArrayList<>();
        List<List<HtmlPage.Strip>> losses = new ArrayList<>();
        for (int model = 1; model < models; model++) {
            double[] difference = differences(model);
            int[] order = descending(difference, shuffled);
            gains.add(strips(Arrays.stream(order)
                    .filter(i -> difference[i] > 0)
                    .limit(each)
                    .toArray()));
            losses.add(strips(IntStream.range(0, order.length)
                    .map(i -> order[order.length - 1 - i])
                    .filter(i -> difference[i] < 0)
                    .limit(each)
                    .toArray()));
        }
        String name = data.metrics().get(rankingMetric()).name();
        page.section("Images", section -> {
            section.text("Each strip shows one prompt from one noise, side by side for all models. Random strips were"
                    + " chosen without looking at them"
                    + (data.compares() ? "; gains and losses are the largest by " + name : "") + ".");
            section.heading("Random").gallery(random);
            for (int other = 0; other < gains.size(); other++) {
                String model = data.others().get(other).name();
                strips(section, model + ": largest gains by " + name, gains.get(other), "No image improved.");
                strips(section, model + ": largest losses by " + name, losses.get(other), "No image got worse.");
            }
        });
    }

    private static void strips(HtmlPage.Section section, String heading, List<HtmlPage.Strip> strips, String none) {
        section.heading(heading);
        if (strips.isEmpty()) {
            section.text(none);
        } else {
            section.gallery(strips);
        }
    }

    /// The metric that ranks images: a verdict, which is independent of the training, before a reward.
    private int rankingMetric() {
        return IntStream.range(0, data.metrics().size())
                .filter(m -> data.metrics().get(m).isVerdict())
                .findFirst()
                .orElse(0);
    }

    private double[] differences(int model) {
        int metric = rankingMetric();
        return IntStream.range(0, data.results().images().size())
                .mapToDouble(i ->
                        data.results().value(metric, model, i) - data.results().value(metric, 0, i))
                .toArray();
    }

    /// Sorts images from the largest gain to the largest loss. Equal ones, as most of a verdict's are, keep
    /// their random order.
    private static int[] descending(double[] difference, int[] shuffled) {
        return Arrays.stream(shuffled)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer i) -> difference[i]).reversed())
                .mapToInt(Integer::intValue)
                .toArray();
    }

    private List<HtmlPage.Strip> strips(int[] images) throws IOException {
        List<HtmlPage.Strip> strips = new ArrayList<>();
        for (int at : images) {
            EvaluationRequest.ImageSpec spec = data.results().images().get(at);
            List<HtmlPage.Image> row = new ArrayList<>();
            for (int model = 0; model < data.models().size(); model++) {
                row.add(image(model, at, spec));
            }
            strips.add(new HtmlPage.Strip(spec.prompt().text() + " (seed " + spec.seed() + ")", row));
        }
        return strips;
    }

    private HtmlPage.Image image(int model, int at, EvaluationRequest.ImageSpec spec) throws IOException {
        String name = data.models().get(model).name();
        List<String> notes = new ArrayList<>(List.of(name));
        for (int m = 0; m < data.metrics().size(); m++) {
            Metric.Source metric = data.metrics().get(m);
            double value = data.results().value(m, model, at);
            notes.add(
                    metric.isVerdict()
                            ? value == 1 ? "✓ right" : "✗ wrong"
                            : metric.name() + " " + data.format(metric).value(value));
        }
        RgbImage image = data.thumbnail(model, at);
        int factor = ReportData.enlargement(image);
        return HtmlPage.Image.of(
                new Png(image, Map.of()).bytes(),
                name + ": " + spec.prompt().text(),
                factor * image.width(),
                factor * image.height(),
                notes);
    }
}
