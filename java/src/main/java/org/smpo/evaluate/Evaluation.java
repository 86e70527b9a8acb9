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
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.data.GoldPairs;
import org.smpo.generate.GenerationConfig;
import org.smpo.io.AtomicFiles;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.parallel.Peers;
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
    private final EvaluationRequest request;
    private final List<EvaluationRequest.ImageSpec> images;
    private final Path root;
    private final SharedImages shared;
    private final Progress.Display display;

    private Evaluation(EvaluationRequest request, Path root, Peers peers, Progress.Display display) {
        this.request = request;
        this.images = request.images();
        this.root = root;
        this.shared = new SharedImages(request, root, peers, display);
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
        return run(request, folder, Peers.alone(), display).orElseThrow();
    }

    /// Runs an evaluation, or resumes it, in several processes. They take the batches of images in turn;
    /// rank 0 writes all files, with the same bytes as one process, and the others read the images.
    ///
    /// @param request its device and threads are those of this process
    /// @param folder folder of this evaluation, the same for all processes
    /// @param peers the processes; stay the caller's
    /// @param display display of the progress, on rank 0
    /// @return empty on the other ranks
    /// @throws org.smpo.parallel.PeerException when another process fails or has another request
    public static Optional<EvaluationResult> run(
            EvaluationRequest request, Path folder, Peers peers, Progress.Display display) throws IOException {
        return peers.together(() -> {
            boolean first = peers.world().isFirst();
            EvaluationRequest sized = sized(request, first ? display.out()::println : notice -> {});
            for (Metric.Source metric : sized.metrics()) {
                metric.requireFits(
                        sized.prompts(),
                        sized.generation().config().width(),
                        sized.generation().config().height());
            }
            sized.generation().request(List.of(sized.images().getFirst().prompt()));
            List<Map<String, Object>> models = new ArrayList<>();
            for (EvaluatedModel model : sized.models()) {
                models.add(model.identity());
            }
            List<Map<String, Object>> metrics = metrics(sized);
            Map<String, Object> identity = identity(sized, models, metrics);
            Map<String, String> shared = new LinkedHashMap<>();
            identity.forEach((name, value) -> shared.put(name, Json.canonical(value)));
            peers.requireSame(shared);
            Evaluation evaluation = new Evaluation(sized, folder, peers, display);
            if (!first) {
                evaluation.shared.help();
                return Optional.empty();
            }
            try (EvaluationFolder opened = EvaluationFolder.open(folder, display.out()::println)) {
                Map<String, Object> madeBy = opened.begin(identity, madeBy(sized));
                try (Journal journal = Journal.open(opened.journal())) {
                    return Optional.of(evaluation.run(opened, journal, models, metrics, identity, madeBy));
                }
            }
        });
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
            EvaluationFolder folder,
            Journal journal,
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
                if (digest != null && digest.equals(digestOf(root.resolve(file)))) {
                    digests[model][spec.index()] = digest;
                    there++;
                }
            }
        }
        int missing = models * images.size() - there;
        generate(journal, files, digests, there, madeBy);
        double[][][] values = new double[metrics.size()][models][images.size()];
        for (int metric = 0; metric < values.length; metric++) {
            score(journal, metric, digests, values[metric], madeBy);
        }
        List<String> modelDigests = modelIdentities.stream()
                .map(model -> (String) model.get("sha256"))
                .toList();
        Results results = new Results(request, images, modelDigests, files, digests, values);
        return write(folder, results, metrics, identity, madeBy, missing);
    }

    private static String digestOf(Path file) throws IOException {
        return Files.exists(file) ? Digest.sha256(file) : null;
    }

    /// Refuses to resume what another version of the program began, since its images or scores may differ.
    private void requireSameProgram(Map<String, Object> madeBy) throws IOException {
        String difference = EvaluationFolder.difference("", madeBy, madeBy(request));
        if (difference != null) {
            throw new IOException(root + ": unfinished, and begun by " + difference
                    + " of smpo: resume it with that version, or choose another folder");
        }
    }

    private void generate(Journal journal, String[][] files, String[][] digests, int there, Map<String, Object> madeBy)
            throws IOException {
        List<SharedImages.Group> missing = new ArrayList<>();
        for (int model = 0; model < digests.length; model++) {
            String[] own = digests[model];
            // A batch is generated whole even if some of its images exist, since sums depend on the batch.
            missing.addAll(groups(model, request.generation().batch(), at -> own[at] == null));
        }
        if (!missing.isEmpty()) {
            requireSameProgram(madeBy);
        }
        AtomicInteger done = new AtomicInteger(there);
        try (Progress progress =
                new Progress(display, "generate", "image", there, (long) digests.length * images.size())) {
            shared.generate(missing, (group, generated) -> {
                String name = request.models().get(group.model()).name();
                for (int i = 0; i < generated.size(); i++) {
                    int at = group.from() + i;
                    if (digests[group.model()][at] == null) {
                        // The image, then the line of the journal that records it.
                        Path path = root.resolve(files[group.model()][at]);
                        Files.createDirectories(path.getParent());
                        AtomicFiles.write(path, generated.get(i));
                        String digest = Digest.sha256(generated.get(i));
                        journal.addImage(name, at, digest);
                        digests[group.model()][at] = digest;
                        progress.to(done.incrementAndGet(), name);
                    }
                }
            });
        }
    }

    /// The groups of a model's images in which one is missing.
    private List<SharedImages.Group> groups(int model, int size, IntPredicate missing) {
        List<SharedImages.Group> groups = new ArrayList<>();
        for (int from = 0; from < images.size(); from += size) {
            if (IntStream.range(from, Math.min(from + size, images.size())).anyMatch(missing)) {
                groups.add(new SharedImages.Group(model, from));
            }
        }
        return groups;
    }

    private void score(Journal journal, int which, String[][] digests, double[][] values, Map<String, Object> madeBy)
            throws IOException {
        Metric.Source source = request.metrics().get(which);
        int there = 0;
        boolean[][] known = new boolean[values.length][images.size()];
        List<SharedImages.Group> missing = new ArrayList<>();
        for (int model = 0; model < values.length; model++) {
            String name = request.models().get(model).name();
            boolean[] own = known[model];
            for (int at = 0; at < images.size(); at++) {
                OptionalDouble value = journal.score(source.name(), name, at, digests[model][at]);
                if (value.isPresent()) {
                    values[model][at] = value.getAsDouble();
                    own[at] = true;
                    there++;
                }
            }
            missing.addAll(groups(model, SharedImages.METRIC_BATCH, at -> !own[at]));
        }
        if (!missing.isEmpty()) {
            requireSameProgram(madeBy);
        }
        AtomicInteger done = new AtomicInteger(there);
        try (Progress progress =
                new Progress(display, "score " + source.name(), "image", there, (long) values.length * images.size())) {
            shared.score(source, missing, (group, found) -> {
                String name = request.models().get(group.model()).name();
                for (int i = 0; i < found.length; i++) {
                    int at = group.from() + i;
                    values[group.model()][at] = found[i];
                    if (!known[group.model()][at]) {
                        journal.addScore(source.name(), name, at, digests[group.model()][at], found[i]);
                        progress.to(done.incrementAndGet(), name);
                    }
                }
            });
        }
    }

    private EvaluationResult write(
            EvaluationFolder folder,
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
        ReportData data = new ReportData(results, result, root);
        new EvaluationExcerpt(data).write(root);
        AtomicFiles.write(folder.html(), new EvaluationReport(data, metrics, madeBy, evaluation).html());
        // Written last: the numbers show that the evaluation is finished, and by which metrics.
        Json.write(folder.json(), json);
        return result;
    }
}
