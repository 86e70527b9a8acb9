package org.smpo.reward;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipModel;

/// Unit embeddings of images and of the caption at the same position.
@SuppressWarnings("ArrayRecordComponent") // a result of one call, never compared
record ClipEmbeddings(double[][] captions, double[][] images) {
    /// Embeds images and captions. Each caption is embedded once, however often it occurs.
    ///
    /// @throws IllegalArgumentException when the lists differ in length
    /// @throws ArithmeticException when an embedding has no direction
    static ClipEmbeddings of(ClipModel clip, List<String> captions, List<RgbImage> images) {
        if (captions.size() != images.size()) {
            throw new IllegalArgumentException(
                    "score: expected as many captions as images, got " + captions.size() + " and " + images.size());
        }
        Map<String, Integer> rows = new LinkedHashMap<>();
        captions.forEach(caption -> rows.putIfAbsent(caption, rows.size()));
        double[][] texts = clip.embedTexts(new ArrayList<>(rows.keySet()));
        double[][] embedded = clip.embedImages(images);
        return new ClipEmbeddings(
                captions.stream().map(caption -> texts[rows.get(caption)]).toArray(double[][]::new), embedded);
    }

    /// Returns the cosine of an image and its caption.
    double cosine(int row) {
        return ClipModel.cosine(captions[row], images[row]);
    }
}
