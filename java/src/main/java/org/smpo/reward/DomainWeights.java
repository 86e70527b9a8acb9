package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntPredicate;
import org.smpo.data.JoinedPairs;
import org.smpo.data.PairSource;
import org.smpo.data.PairWeights;
import org.smpo.objective.DensityRatio;
import org.smpo.objective.LogisticFit;

/// Weighs training data by how much each image looks like a target domain, as DoRA does: its density
/// ratio from classifiers of the target against every other source.
///
/// The probabilities are cross-fitted: the pairs are divided into five parts by their captions, and
/// those of a part come from classifiers that were fitted to the other four.
///
/// @param fit how classifiers are fitted
/// @param targetOnly whether the target is not trained on, so that the weights are those of the sources
///     alone
/// @param largest largest weight of an image, for a target that is not trained on
public record DomainWeights(HeadFit fit, boolean targetOnly, double largest) {
    private static final double CHANCE = 0.55;
    private static final double FEW = 0.1;

    /// What was written.
    ///
    /// @param lines report for people
    /// @param warnings sentences about weights that are not to be trusted
    public record Outcome(List<String> lines, List<String> warnings) {}

    /// A data set and its embeddings.
    private record Domain(PairSource data, PairEmbeddings embeddings) {
        int readable() {
            return embeddings.size() - embeddings.problems().size();
        }
    }

    /// Weighs data and writes a weight file for the target, unless it is not trained on, and then the
    /// sources, in this order.
    ///
    /// @param targets one or more parts of the target; stay the caller's
    /// @param sources one or more sources; stay the caller's
    /// @param out Parquet file
    /// @throws IllegalArgumentException when a part has too few pairs
    /// @throws IOException when data cannot be read or the file cannot be written
    public Outcome write(List<PairSource> targets, List<PairSource> sources, Path out) throws IOException {
        PairSource target = JoinedPairs.of(targets);
        List<Domain> domains = new ArrayList<>();
        domains.add(new Domain(target, fit.model().embed(target)));
        for (PairSource source : sources) {
            domains.add(new Domain(source, fit.model().embed(source)));
        }
        // probabilities[domain][source][2 row + image]
        double[][][] probabilities = probabilities(domains);
        List<Domain> trained = targetOnly ? domains.subList(1, domains.size()) : domains;
        double all = trained.stream().mapToInt(Domain::readable).sum();
        DensityRatio ratio = new DensityRatio(
                targetOnly ? 0 : domains.getFirst().readable() / all,
                domains.subList(1, domains.size()).stream()
                        .map(domain -> domain.readable() / all)
                        .toList(),
                targetOnly ? largest : Double.POSITIVE_INFINITY);
        List<PairWeights.Row> rows = new ArrayList<>();
        List<String> lines = new ArrayList<>();
        List<String> warnings = new ArrayList<>();
        describeClassifiers(domains, probabilities, lines, warnings);
        int beyond = 0;
        for (int domain = targetOnly ? 1 : 0; domain < domains.size(); domain++) {
            int first = rows.size();
            beyond += addRows(domains.get(domain), probabilities[domain], ratio, rows);
            lines.add(String.format(
                    Locale.ROOT,
                    "%s: mean weight %.3f",
                    domains.get(domain).data().describe(),
                    mean(rows.subList(first, rows.size()))));
        }
        describeWeights(rows, beyond, all, ratio, lines, warnings);
        List<PairSource> order = new ArrayList<>(targetOnly ? List.of() : targets);
        order.addAll(sources);
        PairWeights.write(
                out,
                JoinedPairs.of(order),
                rows,
                new TreeMap<>(Map.of("smpo.model_digest", fit.model().digest())));
        return new Outcome(lines, warnings);
    }

    /// The probability that an image is of the target, by the classifier of each source, cross-fitted.
    private double[][][] probabilities(List<Domain> domains) {
        double[][][] probabilities = new double[domains.size()][domains.size() - 1][];
        for (int domain = 0; domain < domains.size(); domain++) {
            for (int source = 0; source < domains.size() - 1; source++) {
                probabilities[domain][source] =
                        new double[2 * domains.get(domain).embeddings().size()];
                Arrays.fill(probabilities[domain][source], Double.NaN);
            }
        }
        for (int fold = 0; fold < PairEmbeddings.FOLDS; fold++) {
            double[][] target = others(domains.getFirst(), fold);
            for (int source = 0; source < domains.size() - 1; source++) {
                LogisticFit classifier = LogisticFit.ofClasses(target, others(domains.get(source + 1), fold), fit.l2());
                for (int domain = 0; domain < domains.size(); domain++) {
                    judge(domains.get(domain).embeddings(), fold, classifier, probabilities[domain][source]);
                }
            }
        }
        return probabilities;
    }

    private double[][] others(Domain domain, int fold) {
        IntPredicate others = row -> domain.embeddings().fold(row) != fold;
        return fit.images(domain.data(), domain.embeddings(), others, "images outside each fifth of the captions");
    }

    private void judge(PairEmbeddings embeddings, int fold, LogisticFit classifier, double[] probabilities) {
        for (int row = 0; row < embeddings.size(); row++) {
            if (!embeddings.isBad(row) && embeddings.fold(row) == fold) {
                for (int image = 0; image < 2; image++) {
                    probabilities[2 * row + image] =
                            classifier.probability(embeddings.features(fit.features(), row, image));
                }
            }
        }
    }

    private static void describeClassifiers(
            List<Domain> domains, double[][][] probabilities, List<String> lines, List<String> warnings) {
        for (int source = 0; source < domains.size() - 1; source++) {
            double accuracy =
                    (aboveHalf(probabilities[0][source]) + 1 - aboveHalf(probabilities[source + 1][source])) / 2;
            String name = domains.get(source + 1).data().describe();
            lines.add(String.format(
                    Locale.ROOT,
                    "%s: told from the target with accuracy %.1f %% (cross-fitted)",
                    name,
                    100 * accuracy));
            if (accuracy < CHANCE) {
                warnings.add(name + ": target and source look alike, so the weights are nearly 1");
            }
        }
    }

    private static double aboveHalf(double[] probabilities) {
        double[] known =
                Arrays.stream(probabilities).filter(p -> !Double.isNaN(p)).toArray();
        return Arrays.stream(known)
                .map(p -> p > 0.5 ? 1 : p == 0.5 ? 0.5 : 0)
                .average()
                .orElse(0.5);
    }

    /// Adds the weights of a domain's pairs; a pair that cannot be read has weight 0.
    ///
    /// @return number of images with a probability that is bounded
    private static int addRows(
            Domain domain, double[][] probabilities, DensityRatio ratio, List<PairWeights.Row> rows) {
        int beyond = 0;
        for (int row = 0; row < domain.embeddings().size(); row++) {
            double[] weights = new double[2];
            for (int image = 0; image < 2 && !domain.embeddings().isBad(row); image++) {
                int at = 2 * row + image;
                double[] each =
                        Arrays.stream(probabilities).mapToDouble(of -> of[at]).toArray();
                weights[image] = ratio.of(each);
                beyond += Arrays.stream(each).anyMatch(DensityRatio::isBeyondBounds) ? 1 : 0;
            }
            rows.add(new PairWeights.Row(domain.embeddings().id(row), weights[0], weights[1]));
        }
        return beyond;
    }

    /// The mean over the pairs that can be read; those have a weight above 0.
    private static double mean(List<PairWeights.Row> rows) {
        return rows.stream()
                .mapToDouble(PairWeights.Row::mean)
                .filter(weight -> weight > 0)
                .average()
                .orElse(0);
    }

    private void describeWeights(
            List<PairWeights.Row> rows,
            int beyond,
            double readable,
            DensityRatio ratio,
            List<String> lines,
            List<String> warnings) {
        double[] weights = rows.stream().mapToDouble(PairWeights.Row::mean).toArray();
        double effective = DensityRatio.effectiveSize(weights);
        lines.add(String.format(
                Locale.ROOT,
                "effective sample size %.1f of %d pairs; %.1f %% of the images at a bound of the" + " probability",
                effective,
                (int) readable,
                100 * beyond / (2 * readable)));
        if (beyond > readable) {
            warnings.add(beyond + " of " + (int) (2 * readable) + " images are told apart so surely that their"
                    + " probability is bounded to 0.02 or 0.98; their weights say which set an image is from and little"
                    + " more");
        }
        if (effective < FEW * readable) {
            warnings.add(String.format(
                    Locale.ROOT, "few pairs carry the weights: they count as %.1f of %d", effective, (int) readable));
        }
        if (targetOnly) {
            long cut = rows.stream()
                    .filter(row -> row.weight0() >= ratio.largest() || row.weight1() >= ratio.largest())
                    .count();
            lines.add("the target is not trained on: " + cut + " pairs have an image at the largest weight, "
                    + ratio.largest());
        }
    }
}
