package org.smpo.objective;

import java.util.Arrays;
import java.util.Locale;

/// Features of an image that a head reads, made from unit embeddings of a CLIP model of width d.
///
/// They are multiplied by √d, so that one of them is about 1 and a penalty means the same for every
/// model.
public enum HeadFeatures {
    /// Products of the image's and the caption's embeddings, then the image's: 2d features.
    BOTH(2),
    /// The image's embedding alone, whatever the caption: d features.
    IMAGE(1);

    private final int parts;

    HeadFeatures(int parts) {
        this.parts = parts;
    }

    /// Returns the name on command lines and in files.
    public String id() {
        return name().toLowerCase(Locale.ROOT);
    }

    /// Returns the number of features.
    ///
    /// @param embedding width of an embedding
    public int width(int embedding) {
        return parts * embedding;
    }

    /// Returns whether the features depend on the caption.
    public boolean readCaptions() {
        return this == BOTH;
    }

    /// Returns the features of an image.
    ///
    /// @param caption embedding of the caption; not read by [#IMAGE]
    public double[] of(double[] caption, double[] image) {
        int width = image.length;
        double scale = Math.sqrt(width);
        double[] features = new double[width(width)];
        int at = 0;
        if (readCaptions()) {
            for (; at < width; at++) {
                features[at] = scale * image[at] * caption[at];
            }
        }
        for (int i = 0; i < width; i++) {
            features[at + i] = scale * image[i];
        }
        return features;
    }

    /// Returns the features of a name.
    ///
    /// @throws IllegalArgumentException when there are none, naming those that there are
    public static HeadFeatures of(String id) {
        return Arrays.stream(values())
                .filter(features -> features.id().equals(id))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("expected both or image, found " + id));
    }
}
