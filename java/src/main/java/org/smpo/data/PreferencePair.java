package org.smpo.data;

import java.util.Optional;
import org.smpo.objective.HumanChoice;

/// Two images made from one caption, and which of them is better.
///
/// @param index index of the pair in its source
/// @param id name of the pair: the data's own `id` or `ranking_id`, or one made from its place
/// @param caption the prompt; may be empty
/// @param image0 image 0, encoded and not yet checked
/// @param image1 image 1, likewise
/// @param people which image people preferred
/// @param scores scores of a reward model, if the data has them
public record PreferencePair(
        int index,
        String id,
        String caption,
        EncodedImage image0,
        EncodedImage image1,
        HumanChoice people,
        Optional<PairScores> scores)
        implements PairRecord {
    /// Image 0 or 1.
    public EncodedImage image(int which) {
        return which == 0 ? image0 : image1;
    }
}
