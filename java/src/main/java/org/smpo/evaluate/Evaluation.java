package org.smpo.evaluate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.generate.GeneratedImage;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.TextToImage;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Digest;
import org.smpo.io.ImageSettings;
import org.smpo.io.Json;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.report.Progress;

/// Runs an evaluation: every model draws every image, every metric looks at each, and a report says what differs.
///
/// ```
/// EvaluationResult result = Evaluation.run(request, Path.of("evaluation"), display);
/// ```
///
/// What a killed process had drawn and measured is not done again; the files are the same as if it had not been killed.
public final class Evaluation {
    /// Images that a metric sees at once. Sums are rounded otherwise in another batch, so it is fixed.
    private static final int METRIC_BATCH = 8;

    private final EvaluationRequest request;
    private final List<EvaluationRequest.ImageSpec> images;
    private final EvaluationFolder folder;
    private final Journal journal;
    private final Progress.Display display;

    private Evaluation(EvaluationRequest request, EvaluationFolder folder, Journal journal, Progress.Display display) {
        this.request = request;
        this.images = request.images();
        this.folder = folder;
        this.journal = journal;
        this.display = display;
    }

    /// Runs one, or goes on with it.
    ///
    /// @param folder of this evaluation; made where it is not there
    /// @param display of its progress
    /// @throws IllegalArgumentException when the request cannot be fulfilled: a size that a model does not take, a
    ///     metric that does not fit
    /// @throws IOException when a file cannot be read or written, or another evaluation was begun in the folder
    public static EvaluationResult run(EvaluationRequest request, Path folder, Progress.Display display)
            throws IOException {
        EvaluationRequest sized = sized(request);
        for (Metric.Source metric : sized.metrics()) {
            metric.requireFits(
                    sized.prompts(),
                    sized.drawing().config().width(),
                    sized.drawing().config().height());
        }
        sized.drawing().request(List.of(sized.images().getFirst().prompt()));
        try (EvaluationFolder opened = EvaluationFolder.open(folder, display.out()::println)) {
            List<String> models = new ArrayList<>();
            for (EvaluatedModel model : sized.models()) {
                models.add(model.digest());
            }
            List<Map<String, Object>> metrics = metrics(sized);
            Map<String, Object> identity = identity(sized, models, metrics);
            Map<String, Object> madeBy = opened.begin(identity, madeBy(sized));
            try (Journal journal = Journal.open(opened.journal())) {
                Evaluation evaluation = new Evaluation(sized, opened, journal, display);
                return evaluation.run(models, metrics, identity, madeBy);
            }
        }
    }

    /// Sides are the first model's own where none are given, and multiples of what every model takes.
    private static EvaluationRequest sized(EvaluationRequest request) throws IOException {
        GenerationConfig config = request.drawing().config();
        for (EvaluatedModel model : request.models()) {
            try (ModelFiles files = model.files()) {
                config = config.sizedFor(files);
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(model.name() + ": " + e.getMessage(), e);
            }
        }
        return request.withSides(config.width(), config.height());
    }

    private static List<Map<String, Object>> metrics(EvaluationRequest request) throws IOException {
        List<Map<String, Object>> all = new ArrayList<>();
        for (Metric.Source source : request.metrics()) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("name", source.name());
            one.put("sha256", source.digest());
            one.put("what", source.describe());
            all.add(one);
        }
        return all;
    }

    private static Map<String, Object> identity(
            EvaluationRequest request, List<String> digests, List<Map<String, Object>> metrics) {
        List<Object> models = new ArrayList<>();
        for (int i = 0; i < digests.size(); i++) {
            models.add(Map.of("name", request.models().get(i).name(), "sha256", digests.get(i)));
        }
        Map<String, Object> identity = new LinkedHashMap<>();
        identity.put("format", 1L);
        identity.put("models", models);
        identity.put("prompts_sha256", request.promptsDigest());
        identity.put("pictures_per_model", request.images().size());
        identity.put("drawing", request.drawing().identity());
        identity.put("measures", metrics);
        return identity;
    }

    private static Map<String, Object> madeBy(EvaluationRequest request) {
        Map<String, Object> by = new LinkedHashMap<>();
        by.put("version", request.provenance().version());
        by.put("commit", request.provenance().commit());
        by.put("library", request.provenance().library());
        return by;
    }

    private EvaluationResult run(
            List<String> modelDigests,
            List<Map<String, Object>> metrics,
            Map<String, Object> identity,
            Map<String, Object> madeBy)
            throws IOException {
        int models = request.models().size();
        String[][] files = new String[models][images.size()];
        String[][] digests = new String[models][images.size()];
        int there = 0;
        for (int model = 0; model < models; model++) {
            String name = request.models().get(model).name();
            for (EvaluationRequest.ImageSpec spec : images) {
                String file = EvaluationFolder.image(model, name, spec);
                files[model][spec.index()] = file;
                String digest = journal.generated(name, spec.index());
                if (digest != null && digest.equals(digestOf(folder.root().resolve(file)))) {
                    digests[model][spec.index()] = digest;
                    there++;
                }
            }
        }
        int missing = models * images.size() - there;
        draw(files, digests, there, madeBy);
        double[][][] values = new double[metrics.size()][models][images.size()];
        for (int metric = 0; metric < values.length; metric++) {
            metric(metric, files, digests, values[metric], madeBy);
        }
        Results results = new Results(request, images, modelDigests, files, digests, values);
        return write(results, metrics, identity, madeBy, missing);
    }

    private static String digestOf(Path file) throws IOException {
        return Files.exists(file) ? Digest.sha256(file) : null;
    }

    /// What one program began another does not go on with: it may draw or metric otherwise.
    private void requireSameProgram(Map<String, Object> madeBy) throws IOException {
        String difference = EvaluationFolder.difference("", madeBy, madeBy(request));
        if (difference != null) {
            throw new IOException(folder.root() + ": it is unfinished and was begun by " + difference
                    + " of smpo: go on with that, or choose another folder");
        }
    }

    private void draw(String[][] files, String[][] digests, int there, Map<String, Object> madeBy) throws IOException {
        int all = digests.length * images.size();
        if (there == all) {
            return;
        }
        requireSameProgram(madeBy);
        int done = there;
        int batch = request.drawing().batch();
        try (Progress progress = new Progress(display, "draw", "picture", there, all)) {
            for (int model = 0; model < digests.length; model++) {
                String name = request.models().get(model).name();
                TextToImage generator = null;
                try {
                    for (int from = 0; from < images.size(); from += batch) {
                        // A batch is drawn whole, whatever is there of it, so that each image has its fixed company.
                        List<EvaluationRequest.ImageSpec> group =
                                images.subList(from, Math.min(from + batch, images.size()));
                        String[] own = digests[model];
                        if (group.stream().allMatch(spec -> own[spec.index()] != null)) {
                            continue;
                        }
                        if (generator == null) {
                            generator = open(model, progress);
                        }
                        List<GeneratedImage> generated = generator.generate(
                                request.drawing()
                                        .request(group.stream()
                                                .map(EvaluationRequest.ImageSpec::prompt)
                                                .toList()),
                                (step, of) -> {});
                        for (int i = 0; i < group.size(); i++) {
                            int at = group.get(i).index();
                            if (own[at] == null) {
                                own[at] = keep(name, group.get(i), generated.get(i), files[model][at]);
                                progress.to(++done, name);
                            }
                        }
                    }
                } finally {
                    if (generator != null) {
                        generator.close();
                    }
                }
            }
        }
    }

    private TextToImage open(int index, Progress progress) throws IOException {
        EvaluatedModel model = request.models().get(index);
        TextToImage generator = model.open(
                request.drawing().device(),
                request.drawing().precision(),
                request.drawing().threads());
        long cut = request.prompts().stream()
                .map(Prompt::text)
                .distinct()
                .filter(text -> !generator.cut(text).isEmpty())
                .count();
        if (cut > 0) {
            progress.println("smpo: " + model.name() + ": " + cut + (cut == 1 ? " prompt is" : " prompts are")
                    + " too long for its text encoder; the end is cut off");
        }
        return generator;
    }

    /// Writes a image and then the line that it is there.
    private String keep(String model, EvaluationRequest.ImageSpec spec, GeneratedImage image, String file)
            throws IOException {
        ImageSettings settings =
                request.drawing().config().metadata(spec.prompt(), spec.seed(), Map.of("model", model));
        Path path = folder.root().resolve(file);
        Files.createDirectories(path.getParent());
        Png png = new Png(image.image(), settings.text());
        byte[] bytes = png.bytes();
        AtomicFiles.write(path, bytes);
        String digest = Digest.sha256(bytes);
        journal.draw(model, spec.index(), digest);
        return digest;
    }

    private void metric(int which, String[][] files, String[][] digests, double[][] values, Map<String, Object> madeBy)
            throws IOException {
        Metric.Source source = request.metrics().get(which);
        int all = values.length * images.size();
        int there = 0;
        boolean[][] known = new boolean[values.length][images.size()];
        for (int model = 0; model < values.length; model++) {
            String name = request.models().get(model).name();
            for (int at = 0; at < images.size(); at++) {
                var value = journal.value(source.name(), name, at, digests[model][at]);
                if (value.isPresent()) {
                    values[model][at] = value.getAsDouble();
                    known[model][at] = true;
                    there++;
                }
            }
        }
        if (there == all) {
            return;
        }
        requireSameProgram(madeBy);
        int done = there;
        try (Metric metric = source.open(
                        request.drawing().device(), request.drawing().threads());
                Progress progress = new Progress(display, "measure " + source.name(), "picture", there, all)) {
            for (int model = 0; model < values.length; model++) {
                String name = request.models().get(model).name();
                for (int from = 0; from < images.size(); from += METRIC_BATCH) {
                    int to = Math.min(from + METRIC_BATCH, images.size());
                    boolean whole = true;
                    for (int at = from; at < to; at++) {
                        whole &= known[model][at];
                    }
                    if (whole) {
                        continue;
                    }
                    double[] found = metric(metric, files[model], from, to);
                    for (int at = from; at < to; at++) {
                        values[model][at] = found[at - from];
                        if (!known[model][at]) {
                            journal.metric(source.name(), name, at, digests[model][at], found[at - from]);
                            progress.to(++done, name);
                        }
                    }
                }
            }
        }
    }

    private double[] metric(Metric metric, String[] files, int from, int to) throws IOException {
        List<String> captions = new ArrayList<>();
        List<RgbImage> images = new ArrayList<>();
        for (int at = from; at < to; at++) {
            captions.add(this.images.get(at).prompt().text());
            images.add(Png.read(folder.root().resolve(files[at])).image());
        }
        double[] values;
        try {
            values = metric.score(captions, images);
        } catch (ArithmeticException e) {
            throw new IOException(files[from] + " to " + files[to - 1] + ": " + e.getMessage(), e);
        }
        for (int i = 0; i < values.length; i++) {
            if (!Double.isFinite(values[i])) {
                throw new IOException(files[from + i] + ": expected a finite number, got " + values[i]);
            }
        }
        return values;
    }

    private EvaluationResult write(
            Results results,
            List<Map<String, Object>> metrics,
            Map<String, Object> identity,
            Map<String, Object> madeBy,
            int generated)
            throws IOException {
        String evaluation = Digest.sha256(Json.canonical(identity).getBytes(StandardCharsets.UTF_8));
        EvaluationResult result = new EvaluationResult(
                folder.html(),
                folder.json(),
                folder.results(),
                generated,
                results.summaries(),
                results.comparisons(),
                results.agreements());
        ResultsFile.write(
                folder.results(),
                results,
                new TreeMap<>(Map.of(
                        "smpo.evaluation_sha256", evaluation, "smpo.commit", String.valueOf(madeBy.get("commit")))));
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("evaluation", identity);
        json.put("evaluation_sha256", evaluation);
        json.put("made_by", madeBy);
        json.put("command", request.provenance().command());
        json.put(
                "bootstrap",
                Map.of(
                        "seed",
                        request.bootstrap().seed(),
                        "resamples",
                        request.bootstrap().resamples(),
                        "confidence",
                        request.bootstrap().confidence()));
        json.put("figures", result.summaries().stream().map(MetricSummary::json).toList());
        json.put(
                "comparisons",
                result.comparisons().stream().map(Comparison::json).toList());
        json.put("agreements", result.agreements().stream().map(Agreement::json).toList());
        Json.write(folder.json(), json);
        ReportData data = new ReportData(results, result, folder.root());
        new EvaluationExcerpt(data).write(folder.root());
        AtomicFiles.write(folder.html(), new EvaluationReport(data, metrics, madeBy, evaluation).html());
        return result;
    }
}
