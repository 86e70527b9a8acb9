package org.smpo.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/// All scores of an evaluation, and their statistics. The arrays are shared, not copied.
final class Results {
    private final EvaluationRequest request;
    private final List<EvaluationRequest.ImageSpec> images;
    private final List<String> modelDigests;
    private final String[][] files;
    private final String[][] digests;
    private final double[][][] values;

    /// @param request request of the evaluation
    /// @param images images that every model generated
    /// @param modelDigests digests of the models
    /// @param files paths of the image files, by model and image
    /// @param digests digests of the image files, by model and image
    /// @param values scores, by metric, model and image
    Results(
            EvaluationRequest request,
            List<EvaluationRequest.ImageSpec> images,
            List<String> modelDigests,
            String[][] files,
            String[][] digests,
            double[][][] values) {
        this.request = request;
        this.images = images;
        this.modelDigests = modelDigests;
        this.files = files;
        this.digests = digests;
        this.values = values;
    }

    EvaluationRequest request() {
        return request;
    }

    List<EvaluationRequest.ImageSpec> images() {
        return images;
    }

    List<String> modelDigests() {
        return modelDigests;
    }

    /// Returns the path of an image file relative to the evaluation's folder.
    String file(int model, int spec) {
        return files[model][spec];
    }

    /// Returns the SHA-256 of an image file.
    String digest(int model, int spec) {
        return digests[model][spec];
    }

    double value(int metric, int model, int spec) {
        return values[metric][model][spec];
    }

    /// Returns the scores of all images of a model.
    double[] values(int metric, int model) {
        return values[metric][model];
    }

    /// Returns the categories in the order of their first prompt.
    Set<String> categories() {
        Set<String> categories = new LinkedHashSet<>();
        for (EvaluationRequest.ImageSpec spec : images) {
            if (spec.prompt().category() != null) {
                categories.add(spec.prompt().category());
            }
        }
        return categories;
    }

    private int[] where(String category) {
        return IntStream.range(0, images.size())
                .filter(i -> category == null
                        || category.equals(images.get(i).prompt().category()))
                .toArray();
    }

    private int[] prompts(int[] where) {
        return Arrays.stream(where).map(i -> images.get(i).promptIndex()).toArray();
    }

    private static double[] pick(double[] values, int[] where) {
        return Arrays.stream(where).mapToDouble(i -> values[i]).toArray();
    }

    private List<String> parts() {
        List<String> parts = new ArrayList<>();
        parts.add(null);
        parts.addAll(categories());
        return parts;
    }

    List<MetricSummary> summaries() {
        List<MetricSummary> all = new ArrayList<>();
        for (String category : parts()) {
            int[] where = where(category);
            int[] prompts = prompts(where);
            for (int m = 0; m < request.metrics().size(); m++) {
                for (int i = 0; i < request.models().size(); i++) {
                    all.add(MetricSummary.of(
                            request.metrics().get(m).name(),
                            request.models().get(i).name(),
                            category,
                            pick(values[m][i], where),
                            prompts,
                            request.bootstrap()));
                }
            }
        }
        return all;
    }

    /// Compares each model with each model before it, and by category with the first model only.
    List<Comparison> comparisons() {
        List<Comparison> all = new ArrayList<>();
        for (String category : parts()) {
            int[] where = where(category);
            int[] prompts = prompts(where);
            for (int m = 0; m < request.metrics().size(); m++) {
                for (int against = 0;
                        against < (category == null ? request.models().size() : 1);
                        against++) {
                    for (int i = against + 1; i < request.models().size(); i++) {
                        all.add(Comparison.of(
                                request.metrics().get(m).name(),
                                request.models().get(i).name(),
                                request.models().get(against).name(),
                                category,
                                pick(values[m][i], where),
                                pick(values[m][against], where),
                                prompts,
                                request.bootstrap()));
                    }
                }
            }
        }
        return all;
    }

    List<Agreement> agreements() {
        List<Agreement> all = new ArrayList<>();
        for (int judge = 0; judge < request.metrics().size(); judge++) {
            for (int m = 0; m < request.metrics().size(); m++) {
                if (request.metrics().get(judge).isVerdict()
                        && !request.metrics().get(m).isVerdict()) {
                    all.add(agreement(
                            m,
                            judge,
                            null,
                            IntStream.range(0, request.models().size()).toArray()));
                    for (int i = 0;
                            request.models().size() > 1 && i < request.models().size();
                            i++) {
                        all.add(agreement(m, judge, request.models().get(i).name(), new int[] {i}));
                    }
                }
            }
        }
        return all;
    }

    private Agreement agreement(int metric, int judge, String name, int[] models) {
        int[] all = where(null);
        int[] prompts = prompts(all);
        return Agreement.of(
                request.metrics().get(metric).name(),
                request.metrics().get(judge).name(),
                name,
                Arrays.stream(models)
                        .mapToObj(i -> values[metric][i])
                        .flatMapToDouble(Arrays::stream)
                        .toArray(),
                Arrays.stream(models)
                        .mapToObj(i -> values[judge][i])
                        .flatMapToDouble(Arrays::stream)
                        .toArray(),
                Arrays.stream(models).flatMap(i -> Arrays.stream(prompts)).toArray(),
                request.bootstrap());
    }
}
