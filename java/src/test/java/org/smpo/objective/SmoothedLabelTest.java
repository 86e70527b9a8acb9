package org.smpo.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.smpo.objective.SmoothedLabel.WinnerBy;

final class SmoothedLabelTest {
    private static final SmoothedLabel PICKSCORE = SmoothedLabel.pickScore();
    private static final SmoothedLabel BY_PEOPLE =
            new SmoothedLabel(SmoothedLabel.PICKSCORE_MINIMUM, SmoothedLabel.PICKSCORE_MAXIMUM, 1, WinnerBy.HUMAN);

    private static PairLabel label(double score0, double score1) {
        return PICKSCORE.ofScores(score0, score1, HumanChoice.UNKNOWN).orElseThrow();
    }

    @Test
    void reproducesThePrintedNumbers() {
        assertThat(PICKSCORE.normalized(0.215)).isCloseTo(0.597698, within(5.1e-7));
        assertThat(PICKSCORE.normalized(0.205)).isCloseTo(0.537667, within(5.1e-7));
        PairLabel near = label(0.215, 0.205);
        assertThat(near.winner()).isZero();
        assertThat(near.probability()).isCloseTo(0.515003259, within(5.1e-10));
        assertThat(near.strength(10)).isCloseTo(0.300065170, within(5.1e-10));
        PairLabel far = label(0.25, 0.18);
        assertThat(far.probability()).isCloseTo(0.603535268, within(5.1e-10));
        assertThat(far.strength(10)).isCloseTo(2.070705356, within(5.1e-10));
    }

    /// The comparison above detects a range that is wrong by 1e-5.
    @Test
    void seesAWrongRange() {
        double width = SmoothedLabel.PICKSCORE_MAXIMUM - SmoothedLabel.PICKSCORE_MINIMUM;
        SmoothedLabel wrong = new SmoothedLabel(
                SmoothedLabel.PICKSCORE_MINIMUM, SmoothedLabel.PICKSCORE_MAXIMUM + 1e-5 * width, 1, WinnerBy.REWARD);
        double p = wrong.ofScores(0.25, 0.18, HumanChoice.UNKNOWN).orElseThrow().probability();
        assertThat(Math.abs(p - 0.603535268)).isGreaterThan(5.1e-10);
    }

    @Test
    void theHigherScoreWinsAndImageOneWhenEqual() {
        assertThat(label(0.25, 0.18).winner()).isZero();
        assertThat(label(0.18, 0.25).winner()).isEqualTo(1);
        assertThat(label(0.18, 0.25).probability()).isEqualTo(label(0.25, 0.18).probability());
        assertThat(label(0.2, 0.2)).isEqualTo(new PairLabel(1, 0.5, false, 0));
    }

    @Test
    void pairsOnWhichRewardAndPeopleDisagreeAreFlipped() {
        assertThat(PICKSCORE.ofScores(0.25, 0.18, HumanChoice.IMAGE_1)).hasValueSatisfying(l -> {
            assertThat(l.winner()).isZero();
            assertThat(l.flipped()).isTrue();
            assertThat(l.probability()).isGreaterThan(0.5);
        });
        assertThat(PICKSCORE
                        .ofScores(0.25, 0.18, HumanChoice.IMAGE_0)
                        .orElseThrow()
                        .flipped())
                .isFalse();
        assertThat(PICKSCORE.ofScores(0.2, 0.2, HumanChoice.IMAGE_0).orElseThrow())
                .isEqualTo(new PairLabel(1, 0.5, true, 0));
    }

    @Test
    void peopleDecideWhenAskedTo() {
        PairLabel against = BY_PEOPLE.ofScores(0.25, 0.18, HumanChoice.IMAGE_1).orElseThrow();
        assertThat(against.winner()).isEqualTo(1);
        assertThat(against.flipped()).isFalse();
        assertThat(against.probability()).isCloseTo(1 - 0.603535268, within(5.1e-10));
        assertThat(against.strength(10)).isNegative();
        PairLabel with = BY_PEOPLE.ofScores(0.25, 0.18, HumanChoice.IMAGE_0).orElseThrow();
        assertThat(with)
                .isEqualTo(PICKSCORE.ofScores(0.25, 0.18, HumanChoice.IMAGE_0).orElseThrow());
        assertThatIllegalArgumentException()
                .isThrownBy(() -> BY_PEOPLE.ofScores(0.25, 0.18, HumanChoice.UNKNOWN))
                .withMessageContaining("expected a human choice");
    }

    @Test
    void humanTiesHaveNoLabel() {
        assertThat(PICKSCORE.ofScores(0.25, 0.18, HumanChoice.TIE)).isEmpty();
        assertThat(BY_PEOPLE.ofScores(0.25, 0.18, HumanChoice.TIE)).isEmpty();
        assertThat(HumanChoice.ofLabel0(1)).isEqualTo(HumanChoice.IMAGE_0);
        assertThat(HumanChoice.ofLabel0(0)).isEqualTo(HumanChoice.IMAGE_1);
        assertThat(HumanChoice.ofLabel0(0.5)).isEqualTo(HumanChoice.TIE);
        assertThatIllegalArgumentException().isThrownBy(() -> HumanChoice.ofLabel0(0.7));
    }

    @Test
    void rewardsAreNotClamped() {
        double e = Math.E;
        PairLabel ends = label(SmoothedLabel.PICKSCORE_MAXIMUM, SmoothedLabel.PICKSCORE_MINIMUM);
        assertThat(ends.probability()).isCloseTo(e / (1 + e), within(1e-15));
        assertThat(ends.strength(10)).isCloseTo(4.621, within(5e-4));
        assertThat(label(0.5, 0.0).probability()).isGreaterThan(e / (1 + e));
        assertThat(PICKSCORE.normalized(0.0)).isNegative();
    }

    @Test
    void rangeOfTheData() {
        double[] scores = {3, -1, 7, 2};
        SmoothedLabel own = SmoothedLabel.ofRange(scores, 0.5, WinnerBy.REWARD);
        assertThat(own).isEqualTo(new SmoothedLabel(-1, 7, 0.5, WinnerBy.REWARD));
        assertThat(own.ofScores(7, -1, HumanChoice.UNKNOWN).orElseThrow().probability())
                .isCloseTo(1 / (1 + Math.exp(-2)), within(1e-15));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> SmoothedLabel.ofRange(new double[] {2, 2}, 1, WinnerBy.REWARD))
                .withMessageContaining("at least two different");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> SmoothedLabel.ofRange(new double[] {2, Double.NaN}, 1, WinnerBy.REWARD))
                .withMessage("smoothed label: score 1: expected a finite number, got NaN");
        assertThatIllegalArgumentException().isThrownBy(() -> SmoothedLabel.ofRange(new double[0], 1, WinnerBy.REWARD));
    }

    @Test
    void fromLogits() {
        SmoothedLabel warm = new SmoothedLabel(0, 1, 2, WinnerBy.REWARD);
        PairLabel label = warm.ofLogits(-1, 3, HumanChoice.UNKNOWN).orElseThrow();
        assertThat(label.winner()).isEqualTo(1);
        assertThat(label.probability()).isCloseTo(1 / (1 + Math.exp(-2)), within(1e-15));
        assertThat(PICKSCORE
                        .ofLogits(1e5, -1e5, HumanChoice.UNKNOWN)
                        .orElseThrow()
                        .probability())
                .isEqualTo(1);
    }

    @Test
    void fromVotes() {
        assertThat(SmoothedLabel.ofVotes(3, 1, 0)).isEqualTo(Optional.of(new PairLabel(0, 0.75, false, Double.NaN)));
        assertThat(SmoothedLabel.ofVotes(1, 3, 1)).isEqualTo(Optional.of(new PairLabel(1, 4.0 / 6, false, Double.NaN)));
        assertThat(SmoothedLabel.ofVotes(5, 0, 0).orElseThrow().probability()).isEqualTo(1);
        assertThat(SmoothedLabel.ofVotes(2, 2, 0)).isEmpty();
        assertThatIllegalArgumentException().isThrownBy(() -> SmoothedLabel.ofVotes(0, 0, 1));
        assertThatIllegalArgumentException().isThrownBy(() -> SmoothedLabel.ofVotes(-1, 2, 1));
        assertThatIllegalArgumentException().isThrownBy(() -> SmoothedLabel.ofVotes(1, 2, -1));
    }

    @Test
    void badRangesAreNamed() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new SmoothedLabel(1, 1, 1, WinnerBy.REWARD))
                .withMessage("smoothed label: maximum: expected a number > minimum = 1.0, got 1.0");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new SmoothedLabel(0, 1, 0, WinnerBy.REWARD))
                .withMessage("smoothed label: temperature: expected a finite number > 0, got 0.0");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> label(Double.NaN, 1))
                .withMessage("smoothed label: score 0: expected a finite number, got NaN");
    }
}
