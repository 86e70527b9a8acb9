package org.smpo.train;

import java.util.ArrayList;
import java.util.List;
import org.smpo.data.PairUse;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Chooses single images with a fixed share of desirable ones: for each place of a global batch first the kind, then an
/// image of the kind, all equally probable. A pure function of the seed, the step and the place. Immutable.
final class KindSampler {
    private final Philox philox;
    private final double share;
    private final int[] desirable;
    private final int[] undesirable;

    /// @param share probability of a desirable image, above 0 and below 1
    /// @param desirable indices of the desirable images
    /// @param undesirable indices of the others
    /// @throws IllegalArgumentException when there are none of a kind
    KindSampler(long seed, double share, int[] desirable, int[] undesirable) {
        if (desirable.length == 0 || undesirable.length == 0) {
            throw new IllegalArgumentException(
                    "data.desirable_share: expected desirable and undesirable images to train"
                            + " on, found " + desirable.length + " and " + undesirable.length
                            + " that are not held out; hold out fewer, or add images");
        }
        this.philox = new Philox(seed);
        this.share = share;
        this.desirable = desirable.clone();
        this.undesirable = undesirable.clone();
    }

    /// The images of a step. Their augmentation is numbered by the step, in place of an epoch.
    List<PairUse> batch(long step, int images) {
        List<PairUse> uses = new ArrayList<>(images);
        for (int place = 0; place < images; place++) {
            PhiloxStream choices = philox.stream(Purpose.IMAGE_KIND, step, place);
            int[] kind = choices.nextDouble() < share ? desirable : undesirable;
            uses.add(new PairUse(kind[choices.nextInt(kind.length)], step));
        }
        return uses;
    }
}
