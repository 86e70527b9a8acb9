package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.io.Visible;

/// The parts of an evaluation that a README or a model card shows: a table in Markdown, a chart of the
/// differences as SVG, and a strip of randomly chosen images with one row per model.
final class EvaluationExcerpt {
    static final String TABLE = "summary.md";
    static final String CHART = "gains.svg";
    static final String STRIP = "strip.png";

    private static final int CHANNELS = 3;
    private static final int GAP = 4;
    private static final int WHITE = 0xff;

    // The chart, in pixels.
    private static final int WIDTH = 720;
    private static final int LEFT = 170;
    private static final int RIGHT = 190;
    private static final int ROW = 30;
    private static final int TITLE = 44;
    private static final int FOOT = 26;

    /// Colours of the models on white; the report uses the same.
    private static final List<String> COLOURS =
            List.of("#6a737d", "#0072b2", "#c04e00", "#007a5a", "#a34f84", "#8a6d00");

    private final ReportData data;
    private final Results results;
    private final EvaluationRequest request;

    EvaluationExcerpt(ReportData data) {
        this.data = data;
        this.results = data.results();
        this.request = data.request();
    }

    void write(Path folder) throws IOException {
        AtomicFiles.write(folder.resolve(TABLE), table());
        if (request.models().size() > 1) {
            AtomicFiles.write(folder.resolve(CHART), chart());
        }
        if (request.gallery() > 0) {
            new Png(strip(), Map.of()).write(folder.resolve(STRIP));
        }
    }

    // ---- table -------------------------------------------------------------------------------------------------

    private String table() {
        List<String> heads = new ArrayList<>(List.of("model"));
        for (Metric.Source metric : request.metrics()) {
            heads.add(metric.name() + (metric.isVerdict() ? ", % right" : ""));
            heads.add("difference");
            heads.add("win rate, %");
        }
        StringBuilder lines = new StringBuilder(row(heads));
        lines.append(row(IntStream.range(0, heads.size())
                .mapToObj(i -> i == 0 ? "---" : "--:")
                .toList()));
        for (EvaluatedModel model : request.models()) {
            List<String> cells = new ArrayList<>(List.of(cell(model.name())));
            for (Metric.Source metric : request.metrics()) {
                MetricFormat format = data.format(metric);
                cells.add(format.value(data.mean(metric, model)));
                cells.addAll(data.againstBase(metric, model)
                        .map(found -> List.of(
                                format.difference(found.meanDifference()), MetricFormat.percent(found.winRate())))
                        .orElse(Collections.nCopies(2, "")));
            }
            lines.append(row(cells));
        }
        int rows = stripImages().length;
        lines.append(String.format(
                Locale.ROOT,
                "%n%d prompts and %d images per model, all models from the same noise; %s. Brackets hold %s bootstrap"
                        + " intervals over prompts.%n",
                request.prompts().size(),
                results.images().size(),
                request.generation().identity().entrySet().stream()
                        .filter(entry ->
                                List.of("sampler", "steps", "guidance_scale").contains(entry.getKey()))
                        .map(entry -> entry.getKey().replace('_', ' ') + " " + entry.getValue())
                        .collect(Collectors.joining(", ")),
                data.level()));
        if (rows > 0) {
            lines.append(
                    String.format("%n`%s` has one row per model, in this order, and one column per prompt:%n", STRIP));
            for (int at : stripImages()) {
                lines.append("* ")
                        .append(cell(results.images().get(at).prompt().text()))
                        .append('\n');
            }
        }
        return lines.toString();
    }

    private static String row(List<String> cells) {
        return "| " + String.join(" | ", cells) + " |\n";
    }

    /// Returns text with the characters escaped that Markdown gives a meaning.
    private static String cell(String text) {
        return Visible.of(text).replaceAll("([\\\\`*_{}\\[\\]<>|#])", "\\\\$1").replaceAll("\\s+", " ");
    }

    // ---- chart -------------------------------------------------------------------------------------------------

    private String chart() {
        List<EvaluatedModel> others =
                request.models().subList(1, request.models().size());
        int part = TITLE + ROW * others.size() + FOOT;
        StringBuilder svg = new StringBuilder();
        int height = part * request.metrics().size() + GAP;
        svg.append(String.format(
                Locale.ROOT,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\""
                        + " role=\"img\" aria-label=\"Mean differences from %s\" font-family=\"sans-serif\""
                        + " font-size=\"14\">%n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>%n",
                WIDTH,
                height,
                WIDTH,
                height,
                escaped(request.models().getFirst().name())));
        for (int m = 0; m < request.metrics().size(); m++) {
            differences(svg, request.metrics().get(m), others, part * m);
        }
        return svg.append("</svg>\n").toString();
    }

    private void differences(StringBuilder svg, Metric.Source metric, List<EvaluatedModel> others, int top) {
        List<Interval> all = others.stream()
                .map(model -> data.againstBase(metric, model).orElseThrow().meanDifference())
                .toList();
        double least = Math.min(0, all.stream().mapToDouble(Interval::low).min().orElse(0));
        double most = Math.max(0, all.stream().mapToDouble(Interval::high).max().orElse(0));
        double span = most > least ? most - least : 1;
        text(
                svg,
                GAP * 3,
                top + 24,
                "start",
                "#1c2024",
                metric.name() + ": difference from "
                        + request.models().getFirst().name() + (metric.isVerdict() ? ", points" : ""));
        double zero = LEFT + (0 - least) / span * (WIDTH - LEFT - RIGHT);
        int bottom = top + TITLE + ROW * all.size();
        svg.append(String.format(
                Locale.ROOT,
                "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#5a626b\"/>%n",
                zero,
                top + TITLE - GAP,
                zero,
                bottom));
        text(svg, zero, bottom + 18, "middle", "#5a626b", "0");
        for (int i = 0; i < all.size(); i++) {
            Interval one = all.get(i);
            int y = top + TITLE + ROW * i + ROW / 2;
            String colour = COLOURS.get((i + 1) % COLOURS.size());
            svg.append(String.format(
                    Locale.ROOT,
                    "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"%s\" stroke-width=\"3\"/>"
                            + "<circle cx=\"%.1f\" cy=\"%d\" r=\"6\" fill=\"%s\"/>%n",
                    LEFT + (one.low() - least) / span * (WIDTH - LEFT - RIGHT),
                    y,
                    LEFT + (one.high() - least) / span * (WIDTH - LEFT - RIGHT),
                    y,
                    colour,
                    LEFT + (one.estimate() - least) / span * (WIDTH - LEFT - RIGHT),
                    y,
                    colour));
            text(svg, LEFT - 16, y + 5, "end", "#1c2024", others.get(i).name());
            text(
                    svg,
                    WIDTH - RIGHT + 16,
                    y + 5,
                    "start",
                    "#1c2024",
                    data.format(metric).difference(one));
        }
    }

    private static void text(StringBuilder svg, double x, int y, String anchor, String colour, String text) {
        svg.append(String.format(
                Locale.ROOT,
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\" fill=\"%s\">%s</text>%n",
                x,
                y,
                anchor,
                colour,
                escaped(text)));
    }

    private static String escaped(String text) {
        return Visible.of(text)
                .replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;");
    }

    // ---- images ----------------------------------------------------------------------------------------------

    /// Returns the images of the strip: a random choice, in the order of the prompts.
    private int[] stripImages() {
        return Arrays.stream(data.randomOrder())
                .limit(request.gallery())
                .sorted()
                .toArray();
    }

    private RgbImage strip() throws IOException {
        int[] shown = stripImages();
        int rows = request.models().size();
        byte[] pixels = {};
        int width = 0;
        int height = 0;
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < shown.length; column++) {
                RgbImage image = data.thumbnail(row, shown[column]);
                int factor = ReportData.enlargement(image);
                int wide = factor * image.width() + GAP;
                int tall = factor * image.height() + GAP;
                if (pixels.length == 0) {
                    width = shown.length * wide - GAP;
                    height = rows * tall - GAP;
                    pixels = new byte[width * height * CHANNELS];
                    Arrays.fill(pixels, (byte) WHITE);
                }
                enlarge(image, factor, pixels, width, column * wide, row * tall);
            }
        }
        return RgbImage.of(width, height, pixels);
    }

    /// Copies an image into a larger one, with each pixel repeated as a square.
    private static void enlarge(RgbImage image, int factor, byte[] pixels, int width, int left, int top) {
        byte[] from = image.rgb();
        for (int y = 0; y < factor * image.height(); y++) {
            for (int x = 0; x < factor * image.width(); x++) {
                int source = (y / factor * image.width() + x / factor) * CHANNELS;
                int target = ((top + y) * width + left + x) * CHANNELS;
                System.arraycopy(from, source, pixels, target, CHANNELS);
            }
        }
    }
}
