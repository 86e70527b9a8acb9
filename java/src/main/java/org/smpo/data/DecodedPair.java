package org.smpo.data;

import java.util.Optional;
import org.smpo.objective.HumanChoice;

/// A pair ready for training.
///
/// @param draw which pair, in which epoch
/// @param id its name
/// @param caption the prompt, or the empty one when it was dropped
/// @param captionDropped whether it was
/// @param image0 pixels
/// @param image1 pixels
/// @param people what people said
/// @param scores the data's own, if it has them
public record DecodedPair(
        Draw draw,
        String id,
        String caption,
        boolean captionDropped,
        DecodedImage image0,
        DecodedImage image1,
        HumanChoice people,
        Optional<PairScores> scores) {
    /// Image 0 or 1.
    public DecodedImage image(int which) {
        return which == 0 ? image0 : image1;
    }
}
