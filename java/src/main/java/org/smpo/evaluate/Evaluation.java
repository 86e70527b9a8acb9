package org.smpo.evaluate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.data.GoldPairs;
import org.smpo.generate.GeneratedImage;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.TextToImage;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Digest;
import org.smpo.io.ImageSettings;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.report.Progress;

/// Runs an evaluation: every model generates every image, every metric scores it, and a report compares the
/// models.
///
/// ```
/// EvaluationResult result = Evaluation.run(request, Path.of("evaluation"), display);
/// ```
///
/// An interrupted evaluation resumes: images and scores that an earlier process finished are kept, and the
/// result has the same bytes as that of an evaluation that was not interrupted. The same evaluation with more
/// metrics, in the same folder, scores the images that are there by the further ones.
public final class Evaluation {
    /// Number of images that a metric scores together. It is fixed, since sums round differently in another
    /// batch.
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

    /// Runs an evaluation, or resumes it.
    ///
    /// @param folder folder of this evaluation, created where it does not exist
    /// @param display display of the progress
    /// @throws IllegalArgumentException when the request does not fit: a size that a model cannot generate,
    ///     a metric that cannot score the images
    /// @throws IOException when a file cannot be read or written, or the folder has another evaluation
    public static EvaluationResult run(EvaluationRequest request, Path folder, Progress.Display display)
            throws IOException {
        EvaluationRequest sized = sized(request, display.out()::println);
        for (Metric.Source metric : sized.metrics()) {
            metric.requireFits(
                    sized.prompts(),
                    sized.generation().config().width(),
                    sized.generation().config().height());
        }
        sized.generation().request(List.of(sized.images().getFirst().prompt()));
        try (EvaluationFolder opened = EvaluationFolder.open(folder, display.out()::println)) {
            List<Map<String, Object>> models = new ArrayList<>();
            for (EvaluatedModel model : sized.models()) {
                models.add(model.identity());
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

    /// Returns whether an evaluation is finished and has scores by these metrics, whatever others it has.
    ///
    /// @param metrics names of the metrics
    /// @throws IOException when its numbers cannot be read
    public static boolean isFinished(Path folder, List<String> metrics) throws IOException {
        Path numbers = EvaluationFolder.json(folder);
        if (Files.notExists(numbers)) {
            return false;
        }
        Set<String> names = new HashSet<>();
        for (JsonObject metric : Json.readObject(numbers).object("evaluation").objects(EvaluationFolder.MEASURES)) {
            names.add(metric.string("name"));
        }
        return names.containsAll(metrics);
    }

    /// Returns the images of a finished evaluation's first model, with their prompts as captions.
    ///
    /// @throws IOException when the evaluation is unfinished
    public static List<GoldPairs.Candidate> images(Path folder) throws IOException {
        return ScoredGroup.read(folder, null, List.of()).all().stream()
                .flatMap(group ->
                        group.images().stream().map(image -> new GoldPairs.Candidate(group.caption(), image.file())))
                .toList();
    }

    /// Returns the request with the resolution of the first model where none is given, checked against
    /// every model.
    ///
    /// @param say receiver of what a person should know about the models' files
    private static EvaluationRequest sized(EvaluationRequest request, Consumer<String> say) throws IOException {
        GenerationConfig config = request.generation().config();
        for (EvaluatedModel model : request.models()) {
            try (ModelFiles files = model.files()) {
                files.notices().forEach(notice -> say.accept(model.name() + ": " + notice));
                config = config.sizedFor(files);
                if (model.negative().isPresent()) {
                    model.negative().get().requireFits(files);
                }
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
            EvaluationRequest request, List<Map<String, Object>> models, List<Map<String, Object>> metrics) {
        Map<String, Object> identity = new LinkedHashMap<>();
        identity.put("format", 1L);
        identity.put("models", models);
        identity.put("prompts_sha256", request.promptsDigest());
        identity.put("pictures_per_model", request.images().size());
        identity.put("drawing", request.generation().identity());
        identity.put(EvaluationFolder.MEASURES, metrics);
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
            List<Map<String, Object>> modelIdentities,
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
                String digest = journal.image(name, spec.index());
                if (digest != null && digest.equals(digestOf(folder.root().resolve(file)))) {
                    digests[model][spec.index()] = digest;
                    there++;
                }
            }
        }
        int missing = models * images.size() - there;
        generate(files, digests, there, madeBy);
        double[][][] values = new double[metrics.size()][models][images.size()];
        for (int metric = 0; metric < values.length; metric++) {
            score(metric, files, digests, values[metric], madeBy);
        }
        List<String> modelDigests = modelIdentities.stream()
                .map(model -> (String) model.get("sha256"))
                .toList();
        Results results = new Results(request, images, modelDigests, files, digests, values);
        return write(results, metrics, identity, madeBy, missing);
    }

    private static String digestOf(Path file) throws IOException {
        return Files.exists(file) ? Digest.sha256(file) : null;
    }

    /// Refuses to resume what another version of the program began, since its images or scores may differ.
    private void requireSameProgram(Map<String, Object> madeBy) throws IOException {
        String difference = EvaluationFolder.difference("", madeBy, madeBy(request));
        if (difference != null) {
            throw new IOException(folder.root() + ": unfinished, and begun by " + difference
                    + " of smpo: resume it with that version, or choose another folder");
        }
    }

    private void generate(String[][] files, String[][] digests, int there, Map<String, Object> madeBy)
            throws IOException {
        int all = digests.length * images.size();
        if (there == all) {
            return;
        }
        requireSameProgram(madeBy);
        int done = there;
        int batch = request.generation().batch();
        try (Progress progress = new Progress(display, "generate", "image", there, all)) {
            for (int model = 0; model < digests.length; model++) {
                String name = request.models().get(model).name();
                TextToImage generator = null;
                try {
                    for (int from = 0; from < images.size(); from += batch) {
                        // A batch is generated whole even if some of its images exist, since sums depend on the batch.
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
                                request.generation()
                                        .request(group.stream()
                                                .map(EvaluationRequest.ImageSpec::prompt)
                                                .toList()),
                                (step, of) -> {});
                        for (int i = 0; i < group.size(); i++) {
                            int at = group.get(i).index();
                            if (own[at] == null) {
                                own[at] = keep(
                                        request.models().get(model), group.get(i), generated.get(i), files[model][at]);
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
                request.generation().device(),
                request.generation().precision(),
                request.generation().threads());
        long cut = request.prompts().stream()
                .map(Prompt::text)
                .distinct()
                .filter(text -> !generator.cut(text).isEmpty())
                .count();
        if (cut > 0) {
            progress.println("smpo: " + model.name() + ": " + cut + (cut == 1 ? " prompt is" : " prompts are")
                    + " too long for its text encoder and truncated");
        }
        return generator;
    }

    /// Writes an image, then the line of the journal that records it.
    private String keep(EvaluatedModel model, EvaluationRequest.ImageSpec spec, GeneratedImage image, String file)
            throws IOException {
        Map<String, Object> more = new LinkedHashMap<>();
        more.put("model", model.name());
        model.negative().ifPresent(network -> more.putAll(network.metadata()));
        ImageSettings settings = request.generation().config().metadata(spec.prompt(), spec.seed(), more);
        Path path = folder.root().resolve(file);
        Files.createDirectories(path.getParent());
        Png png = new Png(image.image(), settings.text());
        byte[] bytes = png.bytes();
        AtomicFiles.write(path, bytes);
        String digest = Digest.sha256(bytes);
        journal.addImage(model.name(), spec.index(), digest);
        return digest;
    }

    private void score(int which, String[][] files, String[][] digests, double[][] values, Map<String, Object> madeBy)
            throws IOException {
        Metric.Source source = request.metrics().get(which);
        int all = values.length * images.size();
        int there = 0;
        boolean[][] known = new boolean[values.length][images.size()];
        for (int model = 0; model < values.length; model++) {
            String name = request.models().get(model).name();
            for (int at = 0; at < images.size(); at++) {
                var value = journal.score(source.name(), name, at, digests[model][at]);
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
                        request.generation().device(), request.generation().threads());
                Progress progress = new Progress(display, "score " + source.name(), "image", there, all)) {
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
                    double[] found = score(metric, files[model], from, to);
                    for (int at = from; at < to; at++) {
                        values[model][at] = found[at - from];
                        if (!known[model][at]) {
                            journal.addScore(source.name(), name, at, digests[model][at], found[at - from]);
                            progress.to(++done, name);
                        }
                    }
                }
            }
        }
    }

    private double[] score(Metric metric, String[] files, int from, int to) throws IOException {
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
                Map.of("smpo.evaluation_sha256", evaluation, "smpo.commit", String.valueOf(madeBy.get("commit"))));
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
        ReportData data = new ReportData(results, result, folder.root());
        new EvaluationExcerpt(data).write(folder.root());
        AtomicFiles.write(folder.html(), new EvaluationReport(data, metrics, madeBy, evaluation).html());
        // Written last: the numbers show that the evaluation is finished, and by which metrics.
        Json.write(folder.json(), json);
        return result;
    }
}
