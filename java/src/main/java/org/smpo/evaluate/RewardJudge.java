package org.smpo.evaluate;

import java.util.List;
import java.util.function.ToDoubleBiFunction;
import org.smpo.objective.RewardEnsemble;
import org.smpo.objective.SmoothedLabel;

/// A judge that knows the scores of the images, whatever their order.
final class RewardJudge implements Judge {
    private final ToDoubleBiFunction<ScoredGroup.Image, ScoredGroup.Image> probability;

    private RewardJudge(ToDoubleBiFunction<ScoredGroup.Image, ScoredGroup.Image> probability) {
        this.probability = probability;
    }

    /// A judge that compares the scores of one metric: p = σ(Δ/T).
    static RewardJudge ofScore(int metric, double temperature) {
        RewardEnsemble alone = RewardEnsemble.of(List.of(temperature));
        return new RewardJudge((first, second) ->
                alone.probability(new double[] {first.score(metric)}, new double[] {second.score(metric)}));
    }

    /// A judge that counts votes: each metric votes for the image that it scores higher, or for none, and each image
    /// has one vote beforehand.
    static RewardJudge ofMajority(List<Integer> metrics) {
        return new RewardJudge((first, second) -> {
            long votes0 = metrics.stream()
                    .filter(metric -> first.score(metric) > second.score(metric))
                    .count();
            long votes1 = metrics.stream()
                    .filter(metric -> first.score(metric) < second.score(metric))
                    .count();
            if (votes0 == votes1) {
                return 0.5;
            }
            double winner =
                    SmoothedLabel.ofVotes(votes0, votes1, 1).orElseThrow().probability();
            return votes0 > votes1 ? winner : 1 - winner;
        });
    }

    @Override
    public List<Answer> ask(List<Question> questions) {
        return questions.stream()
                .map(question -> {
                    List<ScoredGroup.Image> images = question.group().images();
                    return new Answer(
                            probability.applyAsDouble(images.get(question.first()), images.get(question.second())),
                            false);
                })
                .toList();
    }

    @Override
    public boolean dependsOnOrder() {
        return false;
    }
}
