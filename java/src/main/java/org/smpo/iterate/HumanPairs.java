package org.smpo.iterate;

import java.io.IOException;
import java.util.List;
import java.util.stream.IntStream;
import org.smpo.data.GoldPairs;
import org.smpo.data.PairSource;
import org.smpo.recipe.RewardTrainingRecipe;
import org.smpo.reward.HeadFit;
import org.smpo.reward.RewardSource;

/// What rounds need to know of the pairs that a reward is trained on.
///
/// @param captions captions with a gold image, in the order of their pairs
/// @param fingerprint digest of the pairs
record HumanPairs(List<String> captions, String fingerprint) {
    /// Reads the pairs.
    ///
    /// @param reward reward whose head is fitted to them
    /// @throws IllegalArgumentException when they are too few, naming the key
    /// @throws IOException when they cannot be read
    static HumanPairs read(RewardTrainingRecipe training, RewardSource reward) throws IOException {
        try (PairSource human = PairSource.open(training.human())) {
            long decided = IntStream.range(0, human.size())
                    .filter(row -> human.labels().people(row).isDecided())
                    .count();
            if (decided < HeadFit.FEWEST_PAIRS) {
                throw new IllegalArgumentException("rounds.reward_training.human: expected at least "
                        + HeadFit.FEWEST_PAIRS + " pairs with a better image, to fit the "
                        + HeadFit.weights(reward, training.features())
                        + " weights of a head and hold a fifth of the pairs out, found " + decided + " in "
                        + human.describe() + "; give more pairs, or set rounds.reward_training to none");
            }
            return new HumanPairs(GoldPairs.captions(human), human.fingerprint());
        }
    }
}
