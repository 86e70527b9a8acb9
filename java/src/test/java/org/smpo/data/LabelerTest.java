package org.smpo.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import java.util.Optional;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.SmoothedLabel;
import org.smpo.objective.SmoothedLabel.WinnerBy;

class LabelerTest {
    private static final Optional<PairScores> SCORES = Optional.of(new PairScores(0.205, 0.215));

    private static PairLabels labels(HumanChoice... choices) {
        PairLabels.Builder builder = new PairLabels.Builder();
        for (HumanChoice choice : choices) {
            builder.add(choice, SCORES);
        }
        return builder.build();
    }

    @Test
    void peopleAloneAreSure() {
        Labeler people = Labeler.ofPeople();
        assertThat(people.label(HumanChoice.IMAGE_1, SCORES).orElseThrow().winner())
                .isEqualTo(1);
        assertThat(people.label(HumanChoice.IMAGE_0, Optional.empty())
                        .orElseThrow()
                        .probability())
                .isEqualTo(1);
        assertThat(people.label(HumanChoice.TIE, SCORES)).isEmpty();
        assertThat(people.label(HumanChoice.UNKNOWN, SCORES)).isEmpty();
    }

    /// The value of the published label: cosines 0.215 and 0.205 give p = 0.515003259.
    @Test
    void scoresGiveTheSmoothedLabel() {
        Labeler reward = Labeler.smoothed(SmoothedLabel.pickScore());
        var label = reward.label(HumanChoice.IMAGE_0, SCORES).orElseThrow();
        assertThat(label.winner()).isEqualTo(1);
        assertThat(label.flipped()).isTrue();
        assertThat(label.probability()).isCloseTo(0.515003259, org.assertj.core.data.Offset.offset(5e-10));
        assertThat(reward.label(HumanChoice.UNKNOWN, SCORES)).isPresent();
        assertThat(reward.label(HumanChoice.TIE, SCORES)).isEmpty();
        assertThat(reward.label(HumanChoice.IMAGE_0, Optional.empty())).isEmpty();
    }

    @Test
    void peopleMayDecideOverScores() {
        Labeler human = Labeler.smoothed(new SmoothedLabel(0, 1, 1, WinnerBy.HUMAN));
        var label = human.label(HumanChoice.IMAGE_0, SCORES).orElseThrow();
        assertThat(label.winner()).isZero();
        assertThat(label.probability()).isLessThan(0.5);
        assertThat(human.label(HumanChoice.UNKNOWN, SCORES)).isEmpty();
    }

    /// Winner and loser are exchanged; probability and disagreement with people stay those of the pair.
    @Test
    void reversedLabelsExchangeWinnerAndLoser() {
        Labeler reward = Labeler.smoothed(SmoothedLabel.pickScore());
        for (HumanChoice people : HumanChoice.values()) {
            var label = reward.label(people, SCORES);
            var reversed = reward.reversedIf(true).label(people, SCORES);
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
        LabelledPairs people = new LabelledPairs(labels, pair -> Optional.empty(), Labeler.ofPeople());
        assertThat(people.eligible()).containsExactly(0, 3);
        assertThat(people.ties()).isEqualTo(1);
        assertThat(people.unlabelled()).isEqualTo(1);
        assertThat(people.flipped()).isZero();
        LabelledPairs reward = new LabelledPairs(labels, labels::scores, Labeler.smoothed(SmoothedLabel.pickScore()));
        assertThat(reward.eligible()).containsExactly(0, 2, 3);
        assertThat(reward.flipped()).isEqualTo(1);
        IntFunction<Optional<PairScores>> table =
                pair -> pair == 0 ? Optional.of(new PairScores(1, 0)) : Optional.empty();
        LabelledPairs scored = new LabelledPairs(labels, table, Labeler.smoothed(SmoothedLabel.pickScore()));
        assertThat(scored.eligible()).containsExactly(0);
        assertThat(scored.unlabelled()).isEqualTo(2);
        assertThat(LabelledPairs.allScores(labels, table)).containsExactly(1, 0);
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
        assertThat(people(Map.of("label_1", 1L))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(Map.of("label_0", 0.5, "label_1", 0.5))).isEqualTo(HumanChoice.TIE);
        assertThat(people(Map.of("label_0", 1.0, "has_label", false))).isEqualTo(HumanChoice.UNKNOWN);
        Map<String, Object> uids = Map.of("image_0_uid", "a", "image_1_uid", "b");
        assertThat(people(with(uids, "best_image_uid", "a"))).isEqualTo(HumanChoice.IMAGE_0);
        assertThat(people(with(uids, "best_image_uid", "b"))).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(people(with(uids, "best_image_uid", "tie"))).isEqualTo(HumanChoice.TIE);
        assertThat(people(with(uids, "are_different", false))).isEqualTo(HumanChoice.TIE);
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
