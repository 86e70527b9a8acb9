package org.smpo.evaluate;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// What an evaluation found.
///
/// @param report the page
/// @param json every figure
/// @param results a row for each model and picture
/// @param drawn pictures that this run drew; the others were there
/// @param figures of each model by each measure, all prompts first, then by category
/// @param comparisons of each model with each before it, all prompts first, then by category
/// @param agreements of each measure with each verdict, all models first
public record EvaluationResult(
        Path report,
        Path json,
        Path results,
        int drawn,
        List<Figures> figures,
        List<Comparison> comparisons,
        List<Agreement> agreements) {
    public EvaluationResult {
        figures = List.copyOf(figures);
        comparisons = List.copyOf(comparisons);
        agreements = List.copyOf(agreements);
    }

    /// A model by a measure, over all prompts.
    public Optional<Figures> figures(String measure, String model) {
        return figures.stream()
                .filter(found -> found.category() == null
                        && found.measure().equals(measure)
                        && found.model().equals(model))
                .findFirst();
    }

    /// A model beside one before it, over all prompts.
    public Optional<Comparison> comparison(String measure, String model, String against) {
        return comparisons.stream()
                .filter(found -> found.category() == null
                        && found.measure().equals(measure)
                        && found.model().equals(model)
                        && found.against().equals(against))
                .findFirst();
    }
}
