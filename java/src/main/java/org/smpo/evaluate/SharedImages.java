package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.generate.GeneratedImage;
import org.smpo.generate.TextToImage;
import org.smpo.io.ImageSettings;
import org.smpo.io.Png;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.parallel.Frames;
import org.smpo.parallel.Peers;
import org.smpo.report.Progress;

/// The images of an evaluation as several processes generate and score them: a group each in turn. The
/// results come to rank 0, which knows what is missing and tells the others.
final class SharedImages {
    /// Number of images that a metric scores together. It is fixed, since sums round differently in another
    /// batch.
    static final int METRIC_BATCH = 8;

    private final EvaluationRequest request;
    private final List<EvaluationRequest.ImageSpec> images;
    private final Path root;
    private final Peers peers;
    private final Progress.Display display;

    /// @param root folder of the evaluation, where rank 0 writes the images
    SharedImages(EvaluationRequest request, Path root, Peers peers, Progress.Display display) {
        this.request = request;
        this.images = request.images();
        this.root = root;
        this.peers = peers;
        this.display = display;
    }

    /// Images of a model that are generated or scored together.
    ///
    /// @param model number of the model
    /// @param from index of the first image
    record Group(int model, int from) {}

    /// Generates and scores the part of a process other than rank 0.
    void help() throws IOException {
        generate(List.of(), (group, files) -> {});
        for (Metric.Source metric : request.metrics()) {
            score(metric, List.of(), (group, values) -> {});
        }
    }

    /// The groups that rank 0 misses, on all processes.
    private List<Group> told(List<Group> missing) {
        byte[] told = peers.tell(() -> Frames.write(out -> {
            out.writeInt(missing.size());
            for (Group group : missing) {
                out.writeInt(group.model());
                out.writeInt(group.from());
            }
        }));
        return Frames.read(told, in -> {
            List<Group> groups = new ArrayList<>();
            for (int left = in.readInt(); left > 0; left--) {
                groups.add(new Group(in.readInt(), in.readInt()));
            }
            return groups;
        });
    }

    /// Receives the results of a group, on rank 0.
    @FunctionalInterface
    interface Sink<T> {
        void take(Group group, T results) throws IOException;
    }

    /// Shares the images that rank 0 misses, whose files it receives.
    void generate(List<Group> missing, Sink<List<byte[]>> sink) throws IOException {
        List<Group> groups = told(missing);
        try (Generators generators = new Generators(groups)) {
            peers.share(
                    groups.size(),
                    item -> Frames.list(generate(generators, groups.get(item))),
                    (item, files) -> sink.take(groups.get(item), Frames.list(files)));
        }
    }

    /// Returns the image files of a group.
    private List<byte[]> generate(Generators generators, Group group) throws IOException {
        EvaluatedModel model = request.models().get(group.model());
        List<EvaluationRequest.ImageSpec> specs = images.subList(
                group.from(), Math.min(group.from() + request.generation().batch(), images.size()));
        List<GeneratedImage> generated = generators
                .of(group)
                .generate(
                        request.generation()
                                .request(specs.stream()
                                        .map(EvaluationRequest.ImageSpec::prompt)
                                        .toList()),
                        (step, of) -> {});
        List<byte[]> files = new ArrayList<>();
        for (int i = 0; i < specs.size(); i++) {
            files.add(new Png(
                            generated.get(i).image(),
                            settings(model, specs.get(i)).text())
                    .bytes());
        }
        return files;
    }

    private ImageSettings settings(EvaluatedModel model, EvaluationRequest.ImageSpec spec) {
        Map<String, Object> more = new LinkedHashMap<>();
        more.put("model", model.name());
        model.negative().ifPresent(network -> more.putAll(network.metadata()));
        return request.generation().config().metadata(spec.prompt(), spec.seed(), more);
    }

    /// The model that generates, one at a time.
    private final class Generators implements AutoCloseable {
        private final List<Group> groups;
        private int model = -1;
        private TextToImage open;

        Generators(List<Group> groups) {
            this.groups = groups;
        }

        /// Returns the model of a group, which stays this object's.
        TextToImage of(Group group) throws IOException {
            if (group.model() != model) {
                close();
                EvaluatedModel its = request.models().get(group.model());
                open = its.open(
                        request.generation().device(),
                        request.generation().precision(),
                        request.generation().threads());
                model = group.model();
            }
            if (groups.stream()
                    .filter(each -> each.model() == group.model())
                    .findFirst()
                    .orElseThrow()
                    .equals(group)) {
                warnOfCuts(request.models().get(model).name());
            }
            return open;
        }

        /// Called by the process that has the model's first group.
        private void warnOfCuts(String name) {
            long cut = request.prompts().stream()
                    .map(Prompt::text)
                    .distinct()
                    .filter(text -> !open.cut(text).isEmpty())
                    .count();
            if (cut > 0) {
                display.out()
                        .println("smpo: " + name + ": " + cut + (cut == 1 ? " prompt is" : " prompts are")
                                + " too long for its text encoder and truncated");
            }
        }

        @Override
        public void close() {
            if (open != null) {
                open.close();
                open = null;
            }
        }
    }

    /// Shares the scores that rank 0 misses.
    void score(Metric.Source source, List<Group> missing, Sink<double[]> sink) throws IOException {
        List<Group> groups = told(missing);
        if (groups.isEmpty()) {
            return;
        }
        try (Metric metric =
                source.open(request.generation().device(), request.generation().threads())) {
            peers.share(
                    groups.size(),
                    item -> {
                        double[] values = score(metric, groups.get(item));
                        return Frames.write(out -> Frames.doubles(out, values));
                    },
                    (item, scored) -> sink.take(groups.get(item), Frames.read(scored, Frames::doubles)));
        }
    }

    private double[] score(Metric metric, Group group) throws IOException {
        String name = request.models().get(group.model()).name();
        List<String> captions = new ArrayList<>();
        List<RgbImage> pixels = new ArrayList<>();
        List<String> files = new ArrayList<>();
        for (EvaluationRequest.ImageSpec spec :
                images.subList(group.from(), Math.min(group.from() + METRIC_BATCH, images.size()))) {
            String file = EvaluationFolder.image(group.model(), name, spec);
            captions.add(spec.prompt().text());
            pixels.add(Png.read(root.resolve(file)).image());
            files.add(file);
        }
        double[] values;
        try {
            values = metric.score(captions, pixels);
        } catch (ArithmeticException e) {
            throw new IOException(files.getFirst() + " to " + files.getLast() + ": " + e.getMessage(), e);
        }
        for (int i = 0; i < values.length; i++) {
            if (!Double.isFinite(values[i])) {
                throw new IOException(files.get(i) + ": expected a finite number, got " + values[i]);
            }
        }
        return values;
    }
}
