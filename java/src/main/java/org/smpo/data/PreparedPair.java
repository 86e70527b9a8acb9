package org.smpo.data;

import java.util.Optional;
import org.smpo.objective.HumanChoice;

/// A pair ready for training.
///
/// @param use which pair, in which epoch
/// @param id name of the pair
/// @param caption the prompt; empty when it was dropped
/// @param captionDropped whether the caption was replaced by the empty one
/// @param image0 image 0
/// @param image1 image 1
/// @param people which image people preferred
/// @param scores the data's own scores, if it has them
public record PreparedPair(
        PairUse use,
        String id,
        String caption,
        boolean captionDropped,
        PreparedImage image0,
        PreparedImage image1,
        HumanChoice people,
        Optional<PairScores> scores) {
    /// Image 0 or 1.
    public PreparedImage image(int which) {
        return which == 0 ? image0 : image1;
    }
}
