package org.smpo.evaluate;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// Results of an evaluation.
///
/// @param report path of the HTML report
/// @param json path of `report.json`, which has every number
/// @param results path of `results.parquet`, with one row per model and image
/// @param generated number of images that this run generated; earlier runs generated the others
/// @param summaries each model by each metric: over all prompts first, then by category
/// @param comparisons each model with each model before it: over all prompts first, then by category
/// @param agreements each reward with each verdict: over all models first, then by model
public record EvaluationResult(
        Path report,
        Path json,
        Path results,
        int generated,
        List<MetricSummary> summaries,
        List<Comparison> comparisons,
        List<Agreement> agreements) {
    public EvaluationResult {
        summaries = List.copyOf(summaries);
        comparisons = List.copyOf(comparisons);
        agreements = List.copyOf(agreements);
    }

    /// Returns the summary of a model by a metric over all prompts.
    public Optional<MetricSummary> summary(String metric, String model) {
        return summaries.stream()
                .filter(found -> found.category() == null
                        && found.metric().equals(metric)
                        && found.model().equals(model))
                .findFirst();
    }

    /// Returns the comparison of a model with one before it, over all prompts.
    public Optional<Comparison> comparison(String metric, String model, String against) {
        return comparisons.stream()
                .filter(found -> found.category() == null
                        && found.metric().equals(metric)
                        && found.model().equals(model)
                        && found.against().equals(against))
                .findFirst();
    }
}
