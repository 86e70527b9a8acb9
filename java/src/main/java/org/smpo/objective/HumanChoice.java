package org.smpo.objective;

/// Human choice between the images of a pair.
public enum HumanChoice {
    /// Image 0 is better.
    IMAGE_0,
    /// Image 1 is better.
    IMAGE_1,
    /// Neither is.
    TIE,
    /// No human choice.
    UNKNOWN;

    /// Whether one of the images is better.
    public boolean isDecided() {
        return this == IMAGE_0 || this == IMAGE_1;
    }

    /// Index of the better image of a decided choice.
    public int winner() {
        return this == IMAGE_0 ? 0 : 1;
    }

    /// The choice of a probability that image 0 is better: image 0 above ½, image 1 below, a tie at ½.
    ///
    /// @throws IllegalArgumentException when it is not within 0 to 1
    public static HumanChoice ofProbability0(double probability0) {
        Require.unit("human choice", "probability_0", probability0);
        return probability0 == 0.5 ? TIE : probability0 > 0.5 ? IMAGE_0 : IMAGE_1;
    }

    /// The choice of Pick-a-Pic's `label_0`: 1 is image 0, 0 is image 1, ½ is a tie.
    ///
    /// @throws IllegalArgumentException for any other number
    public static HumanChoice ofLabel0(double label0) {
        if (label0 == 1) {
            return IMAGE_0;
        }
        if (label0 == 0) {
            return IMAGE_1;
        }
        if (label0 == 0.5) {
            return TIE;
        }
        throw Require.outside("human choice", "label_0", "0, 0.5 or 1", label0);
    }
}
