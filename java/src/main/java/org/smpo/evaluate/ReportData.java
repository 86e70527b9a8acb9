package org.smpo.evaluate;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.smpo.io.Png;
import org.smpo.io.Resample;
import org.smpo.io.RgbImage;
import org.smpo.random.Philox;
import org.smpo.random.Purpose;

/// A finished evaluation as its report and its excerpt read it.
///
/// @param results scores of every image
/// @param result statistics of the scores
/// @param root folder of the evaluation, with its images
record ReportData(Results results, EvaluationResult result, Path root) {
    /// Longest side of an image on a page, in pixels; the folder has the images in full size.
    private static final int THUMBNAIL = 256;

    /// Side up to which small images are enlarged.
    private static final int SMALLEST_SHOWN = 128;

    private static final int RANDOM_ORDER = 1;

    EvaluationRequest request() {
        return results.request();
    }

    List<EvaluatedModel> models() {
        return request().models();
    }

    List<Metric.Source> metrics() {
        return request().metrics();
    }

    /// The model that the others are compared with.
    EvaluatedModel base() {
        return models().getFirst();
    }

    /// Every model but the first.
    List<EvaluatedModel> others() {
        return models().subList(1, models().size());
    }

    boolean compares() {
        return models().size() > 1;
    }

    /// Confidence of the intervals, for instance `95 %`.
    String level() {
        return Interval.number(100 * request().bootstrap().confidence(), 0) + " %";
    }

    MetricFormat format(Metric.Source metric) {
        return MetricFormat.of(metric, result);
    }

    Metric.Source metric(String name) {
        return metrics().stream()
                .filter(metric -> metric.name().equals(name))
                .findFirst()
                .orElseThrow();
    }

    /// Mean of a metric over all images of a model.
    Interval mean(Metric.Source metric, EvaluatedModel model) {
        return result.summary(metric.name(), model.name()).orElseThrow().mean();
    }

    /// Comparison of a model with the first one; empty for the first itself.
    Optional<Comparison> againstBase(Metric.Source metric, EvaluatedModel model) {
        return result.comparison(metric.name(), model.name(), base().name());
    }

    String modelNames(List<EvaluatedModel> models) {
        return models.stream().map(EvaluatedModel::name).collect(Collectors.joining(", "));
    }

    /// Returns all images in a random order that depends on the bootstrap's seed alone.
    int[] randomOrder() {
        return new Philox(request().bootstrap().seed())
                .permutation(Purpose.BOOTSTRAP, RANDOM_ORDER, results.images().size());
    }

    /// Reads an image, reduced to the size of a thumbnail where it is larger.
    RgbImage thumbnail(int model, int at) throws java.io.IOException {
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

    /// Returns the whole factor by which a small image is enlarged on a page.
    static int enlargement(RgbImage image) {
        return Math.max(1, SMALLEST_SHOWN / Math.max(image.width(), image.height()));
    }
}
