package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.PairLabel;
import org.smpo.objective.RewardEnsemble;
import org.smpo.objective.SmoothedLabel;
import org.smpo.objective.SmoothedLabel.WinnerBy;

class LabelerTest {
    private static final List<PairScores> SCORES = List.of(new PairScores(0.205, 0.215));

    private static final OptionalDouble NONE = OptionalDouble.empty();

    private static PairLabels labels(HumanChoice... choices) {
        PairLabels.Builder builder = new PairLabels.Builder();
        for (HumanChoice choice : choices) {
            builder.add(choice, NONE, Optional.of(SCORES.getFirst()));
        }
        return builder.build();
    }

    @Test
    void peopleAloneAreSure() {
        Labeler people = Labeler.ofPeople();
        assertThat(people.label(HumanChoice.IMAGE_1, NONE, SCORES).orElseThrow().winner())
                .isEqualTo(1);
        assertThat(people.label(HumanChoice.IMAGE_0, NONE, List.of())
                        .orElseThrow()
                        .probability())
                .isEqualTo(1);
        assertThat(people.label(HumanChoice.TIE, NONE, SCORES)).isEmpty();
        assertThat(people.label(HumanChoice.UNKNOWN, NONE, SCORES)).isEmpty();
    }

    /// The value of the published label: cosines 0.215 and 0.205 give p = 0.515003259.
    @Test
    void scoresGiveTheSmoothedLabel() {
        Labeler reward = Labeler.smoothed(SmoothedLabel.pickScore());
        var label = reward.label(HumanChoice.IMAGE_0, NONE, SCORES).orElseThrow();
        assertThat(label.winner()).isEqualTo(1);
        assertThat(label.flipped()).isTrue();
        assertThat(label.probability()).isCloseTo(0.515003259, org.assertj.core.data.Offset.offset(5e-10));
        assertThat(reward.label(HumanChoice.UNKNOWN, NONE, SCORES)).isPresent();
        assertThat(reward.label(HumanChoice.TIE, NONE, SCORES)).isEmpty();
        assertThat(reward.label(HumanChoice.IMAGE_0, NONE, List.of())).isEmpty();
    }

    @Test
    void peopleMayDecideOverScores() {
        Labeler human = Labeler.smoothed(new SmoothedLabel(0, 1, 1, WinnerBy.HUMAN));
        var label = human.label(HumanChoice.IMAGE_0, NONE, SCORES).orElseThrow();
        assertThat(label.winner()).isZero();
        assertThat(label.probability()).isLessThan(0.5);
        assertThat(human.label(HumanChoice.UNKNOWN, NONE, SCORES)).isEmpty();
    }

    /// Winner and loser are exchanged; probability and disagreement with people stay those of the pair.
    @Test
    void reversedLabelsExchangeWinnerAndLoser() {
        Labeler reward = Labeler.smoothed(SmoothedLabel.pickScore());
        for (HumanChoice people : HumanChoice.values()) {
            var label = reward.label(people, NONE, SCORES);
            var reversed = reward.reversedIf(true).label(people, NONE, SCORES);
            assertThat(reversed.isPresent()).isEqualTo(label.isPresent());
            if (label.isPresent()) {
                assertThat(reversed.get().winner()).isEqualTo(1 - label.get().winner());
                assertThat(reversed.get().probability()).isEqualTo(label.get().probability());
                assertThat(reversed.get().flipped()).isEqualTo(label.get().flipped());
            }
        }
        assertThat(reward.reversedIf(false)).isSameAs(reward);
    }

    @Test
    void recordsThatCannotBeTrainedOnAreCounted() {
        PairLabels labels = labels(HumanChoice.IMAGE_0, HumanChoice.TIE, HumanChoice.UNKNOWN, HumanChoice.IMAGE_1);
        LabelledPairs people = new LabelledPairs(labels, pair -> List.of(), Labeler.ofPeople(), false);
        assertThat(people.eligible()).containsExactly(0, 3);
        assertThat(people.ties()).isEqualTo(1);
        assertThat(people.unlabelled()).isEqualTo(1);
        assertThat(people.flipped()).isZero();
        LabelledPairs reward =
                new LabelledPairs(labels, pair -> SCORES, Labeler.smoothed(SmoothedLabel.pickScore()), false);
        assertThat(reward.eligible()).containsExactly(0, 2, 3);
        assertThat(reward.flipped()).isEqualTo(1);
        IntFunction<List<PairScores>> table = pair -> pair == 0 ? List.of(new PairScores(1, 0)) : List.of();
        LabelledPairs scored = new LabelledPairs(labels, table, Labeler.smoothed(SmoothedLabel.pickScore()), false);
        assertThat(scored.eligible()).containsExactly(0);
        assertThat(scored.unlabelled()).isEqualTo(2);
        assertThat(LabelledPairs.allScores(labels, table)).containsExactly(1, 0);
    }

    /// An objective that reads margins cannot train on a winner without scores.
    @Test
    void pairsWithoutAMarginAreCounted() {
        PairLabels labels = labels(HumanChoice.IMAGE_0, HumanChoice.TIE, HumanChoice.IMAGE_1);
        IntFunction<List<PairScores>> table = pair -> pair == 2 ? SCORES : List.of();
        LabelledPairs pairs = new LabelledPairs(labels, table, Labeler.ofPeople(), true);
        assertThat(pairs.eligible()).containsExactly(2);
        assertThat(pairs.withoutMargin()).isEqualTo(1);
        assertThat(pairs.ties()).isEqualTo(1);
        assertThat(pairs.unlabelled()).isZero();
        assertThat(pairs.label(2).orElseThrow().margin()).isEqualTo(0.215 - 0.205);
        assertThat(pairs.label(0).orElseThrow().margin()).isNaN();
        // Scores may prefer the loser.
        PairLabel against =
                Labeler.ofPeople().label(HumanChoice.IMAGE_0, NONE, SCORES).orElseThrow();
        assertThat(against.margin()).isEqualTo(0.205 - 0.215);
        PairLabel byReward = Labeler.smoothed(SmoothedLabel.pickScore())
                .label(HumanChoice.IMAGE_0, NONE, SCORES)
                .orElseThrow();
        assertThat(byReward.margin()).isEqualTo(0.215 - 0.205);
        assertThat(byReward.reversed().margin()).isEqualTo(byReward.margin());
    }

    /// Image 0 wins above ½, image 1 below, none at ½.
    @Test
    void theDataMayHaveProbabilities() {
        Labeler data = Labeler.ofData(false);
        PairLabel first =
                data.label(HumanChoice.IMAGE_0, OptionalDouble.of(0.8), SCORES).orElseThrow();
        assertThat(first).isEqualTo(new PairLabel(0, 0.8, false, 0.205 - 0.215));
        PairLabel second = data.label(HumanChoice.IMAGE_1, OptionalDouble.of(0.25), List.of())
                .orElseThrow();
        assertThat(second.winner()).isEqualTo(1);
        assertThat(second.probability()).isEqualTo(0.75);
        assertThat(data.label(HumanChoice.TIE, OptionalDouble.of(0.5), SCORES)).isEmpty();
        assertThat(data.label(HumanChoice.IMAGE_0, NONE, SCORES)).isEmpty();
        Labeler orLabel = Labeler.ofData(true);
        assertThat(orLabel.label(HumanChoice.IMAGE_1, NONE, List.of()).orElseThrow())
                .isEqualTo(new PairLabel(1, 1, false, Double.NaN));
        assertThat(orLabel.label(HumanChoice.IMAGE_1, OptionalDouble.of(0.25), List.of())
                        .orElseThrow()
                        .probability())
                .isEqualTo(0.75);
        assertThat(orLabel.label(HumanChoice.TIE, NONE, SCORES)).isEmpty();
        assertThat(orLabel.label(HumanChoice.UNKNOWN, NONE, SCORES)).isEmpty();
    }

    /// Two rewards that disagree: p = ¾ σ(10) + ¼ σ(−0.5).
    @Test
    void severalRewardsGiveOneLabel() {
        List<PairScores> both = List.of(new PairScores(0.3, 0.2), new PairScores(1, 1.5));
        RewardEnsemble ensemble = new RewardEnsemble(List.of(0.01, 1.0), List.of(0.75, 0.25));
        double p = 0.75 / (1 + Math.exp(-10)) + 0.25 / (1 + Math.exp(0.5));
        PairLabel reward = Labeler.combined(ensemble, WinnerBy.REWARD)
                .label(HumanChoice.IMAGE_1, NONE, both)
                .orElseThrow();
        assertThat(reward.winner()).isZero();
        assertThat(reward.flipped()).isTrue();
        assertThat(reward.probability()).isCloseTo(p, org.assertj.core.data.Offset.offset(1e-12));
        assertThat(reward.margin()).isCloseTo(2 * p - 1, org.assertj.core.data.Offset.offset(1e-12));
        Labeler human = Labeler.combined(ensemble, WinnerBy.HUMAN);
        PairLabel people = human.label(HumanChoice.IMAGE_1, NONE, both).orElseThrow();
        assertThat(people.winner()).isEqualTo(1);
        assertThat(people.probability()).isCloseTo(1 - p, org.assertj.core.data.Offset.offset(1e-12));
        assertThat(people.margin()).isCloseTo(1 - 2 * p, org.assertj.core.data.Offset.offset(1e-12));
        assertThat(human.label(HumanChoice.UNKNOWN, NONE, both)).isEmpty();
        assertThat(human.label(HumanChoice.TIE, NONE, both)).isEmpty();
        assertThat(human.label(HumanChoice.IMAGE_0, NONE, List.of())).isEmpty();
        List<PairScores> same = List.of(new PairScores(2, 2), new PairScores(1, 1));
        assertThat(Labeler.combined(ensemble, WinnerBy.REWARD).label(HumanChoice.UNKNOWN, NONE, same))
                .isEmpty();
    }

    /// Every way to record the winner, and every contradiction.
    @Test
    void fieldsTellWhoWon() throws BadPairException {
        assertThat(people(Map.of("label", 0L))).isEqualTo(HumanChoice.IMAGE_0);
        assertThat(people(Map.of("label", 1.0))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(Map.of("label", "1\n"))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(Map.of("label", 0.5))).isEqualTo(HumanChoice.TIE);
        assertThat(people(Map.of("label", "Tie"))).isEqualTo(HumanChoice.TIE);
        assertThat(people(Map.of())).isEqualTo(HumanChoice.UNKNOWN);
        assertThat(people(Map.of("label_0", 1.0))).isEqualTo(HumanChoice.IMAGE_0);
        assertThat(people(Map.of("label_0", false, "label_1", true))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(Map.of("label_1", 1L))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(Map.of("label_0", 0.5, "label_1", 0.5))).isEqualTo(HumanChoice.TIE);
        assertThat(people(Map.of("label_0", 1.0, "has_label", false))).isEqualTo(HumanChoice.UNKNOWN);
        Map<String, Object> uids = Map.of("image_0_uid", "a", "image_1_uid", "b");
        assertThat(people(with(uids, "best_image_uid", "a"))).isEqualTo(HumanChoice.IMAGE_0);
        assertThat(people(with(uids, "best_image_uid", "b"))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(with(uids, "best_image_uid", "tie"))).isEqualTo(HumanChoice.TIE);
        assertThat(people(with(uids, "are_different", false))).isEqualTo(HumanChoice.TIE);
        assertThat(people(Map.of("probability_0", 0.75))).isEqualTo(HumanChoice.IMAGE_0);
        assertThat(people(Map.of("probability_0", 0.5))).isEqualTo(HumanChoice.TIE);
        assertThat(people(Map.of("probability_0", 0L, "label", 1L))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(Map.of("probability_0", 1.0, "chosen", "a.png"))).isEqualTo(HumanChoice.IMAGE_0);
        assertThat(people(Map.of("has_label", false, "probability_0", 0.25))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(Map.of("has_label", false, "chosen", "a.png"))).isEqualTo(HumanChoice.UNKNOWN);
        for (Object wrong : List.of(1.5, -1L, Double.NaN, Double.POSITIVE_INFINITY)) {
            assertThat(problem(Map.of("probability_0", wrong))).isEqualTo(Problem.BAD_LABEL);
        }
        assertThat(problem(Map.of("probability_0", "0.5"))).isEqualTo(Problem.WRONG_TYPE);
        assertThat(problem(Map.of("probability_0", 0.25, "chosen", "a.png"))).isEqualTo(Problem.BAD_LABEL);
        assertThat(problem(Map.of("probability_0", 0.5, "label", 0L))).isEqualTo(Problem.BAD_LABEL);
        assertThatThrownBy(() -> people(Map.of("probability_0", 0.8, "label", 1L)))
                .hasMessage("row: label: expected image 0, which probability_0 (0.8) prefers, found 1");
        assertThat(problem(with(uids, "best_image_uid", "c"))).isEqualTo(Problem.BAD_LABEL);
        assertThat(problem(Map.of("label", 2L))).isEqualTo(Problem.BAD_LABEL);
        assertThat(problem(Map.of("label", true))).isEqualTo(Problem.BAD_LABEL);
        assertThat(problem(Map.of("label_0", 1.0, "label_1", 1.0))).isEqualTo(Problem.BAD_LABEL);
        assertThat(problem(Map.of("label_0", Double.NaN))).isEqualTo(Problem.BAD_LABEL);
        assertThat(problem(Map.of("label_0", "1"))).isEqualTo(Problem.WRONG_TYPE);
        assertThat(problem(Map.of("label", 1L, "label_0", 1.0))).isEqualTo(Problem.BAD_LABEL);
    }

    private static Map<String, Object> with(Map<String, Object> map, String key, Object value) {
        Map<String, Object> more = new java.util.HashMap<>(map);
        more.put(key, value);
        return more;
    }

    private static HumanChoice people(Map<String, Object> values) throws BadPairException {
        return new PairFields("row", values).people();
    }

    private static Problem problem(Map<String, Object> values) {
        try {
            people(values);
            return null;
        } catch (BadPairException e) {
            assertThat(e).hasMessageStartingWith("row: ").hasMessageContaining("expected");
            return e.of(0, "").problem();
        }
    }
}
