package org.smpo.data;

import java.util.Optional;
import org.smpo.objective.HumanChoice;

/// Two images made from one caption, and which is better.
///
/// @param index its place in the source
/// @param id its name: the data's own `id` or `ranking_id`, or made of its place
/// @param caption the prompt; may be empty
/// @param image0 encoded, not yet checked
/// @param image1 encoded, not yet checked
/// @param people what people said
/// @param scores of a reward model, where the data has them
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
