package org.smpo.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/// Everything that was measured, and the statistics of it. The arrays are shared, not copied.
final class Results {
    private final EvaluationRequest request;
    private final List<EvaluationRequest.Picture> pictures;
    private final List<String> modelDigests;
    private final String[][] files;
    private final String[][] digests;
    private final double[][][] values;

    /// @param request what was asked for
    /// @param pictures that every model drew
    /// @param modelDigests one for each model
    /// @param files by model and picture: the picture's place in the folder
    /// @param digests by model and picture
    /// @param values by measure, model and picture
    Results(
            EvaluationRequest request,
            List<EvaluationRequest.Picture> pictures,
            List<String> modelDigests,
            String[][] files,
            String[][] digests,
            double[][][] values) {
        this.request = request;
        this.pictures = pictures;
        this.modelDigests = modelDigests;
        this.files = files;
        this.digests = digests;
        this.values = values;
    }

    EvaluationRequest request() {
        return request;
    }

    List<EvaluationRequest.Picture> pictures() {
        return pictures;
    }

    List<String> modelDigests() {
        return modelDigests;
    }

    /// Where a picture stands in the folder.
    String file(int model, int picture) {
        return files[model][picture];
    }

    /// SHA-256 of a picture's file.
    String digest(int model, int picture) {
        return digests[model][picture];
    }

    double value(int measure, int model, int picture) {
        return values[measure][model][picture];
    }

    /// Of all pictures of a model.
    double[] values(int measure, int model) {
        return values[measure][model];
    }

    /// Categories in the order of their first prompt; prompts without one are in none.
    Set<String> categories() {
        Set<String> categories = new LinkedHashSet<>();
        for (EvaluationRequest.Picture picture : pictures) {
            if (picture.prompt().category() != null) {
                categories.add(picture.prompt().category());
            }
        }
        return categories;
    }

    private int[] where(String category) {
        return IntStream.range(0, pictures.size())
                .filter(i -> category == null
                        || category.equals(pictures.get(i).prompt().category()))
                .toArray();
    }

    private int[] prompts(int[] where) {
        return Arrays.stream(where).map(i -> pictures.get(i).promptIndex()).toArray();
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

    List<Figures> figures() {
        List<Figures> all = new ArrayList<>();
        for (String category : parts()) {
            int[] where = where(category);
            int[] prompts = prompts(where);
            for (int m = 0; m < request.measures().size(); m++) {
                for (int i = 0; i < request.models().size(); i++) {
                    all.add(Figures.of(
                            request.measures().get(m).name(),
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

    /// Of each model with each before it; by category with the first only.
    List<Comparison> comparisons() {
        List<Comparison> all = new ArrayList<>();
        for (String category : parts()) {
            int[] where = where(category);
            int[] prompts = prompts(where);
            for (int m = 0; m < request.measures().size(); m++) {
                for (int against = 0;
                        against < (category == null ? request.models().size() : 1);
                        against++) {
                    for (int i = against + 1; i < request.models().size(); i++) {
                        all.add(Comparison.of(
                                request.measures().get(m).name(),
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
        for (int judge = 0; judge < request.measures().size(); judge++) {
            for (int m = 0; m < request.measures().size(); m++) {
                if (request.measures().get(judge).isVerdict()
                        && !request.measures().get(m).isVerdict()) {
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

    private Agreement agreement(int measure, int judge, String name, int[] models) {
        int[] all = where(null);
        int[] prompts = prompts(all);
        return Agreement.of(
                request.measures().get(measure).name(),
                request.measures().get(judge).name(),
                name,
                Arrays.stream(models)
                        .mapToObj(i -> values[measure][i])
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
