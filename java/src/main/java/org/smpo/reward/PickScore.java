package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipModel;

/// The cosine between a caption's and a picture's CLIP embeddings.
///
/// With the checkpoint PickScore_v1 (CLIP ViT-H/14, tuned on Pick-a-Pic) and the processor of
/// CLIP-ViT-H-14-laion2B-s32B-b79K this is PickScore (arXiv 2305.01569) before its temperature: published scores
/// are these times `exp(logitScale)`. With any other CLIP checkpoint it is that model's CLIP score.
public final class PickScore implements Reward {
    private final ClipModel clip;
    private final Precision precision;

    private PickScore(ClipModel clip, Precision precision) {
        this.clip = clip;
        this.precision = precision;
    }

    /// Opens a checkpoint.
    ///
    /// @param model folder of a CLIP model in transformers' layout
    /// @param processor folder with its `preprocessor_config.json` and tokenizer; often the same
    /// @param device `cpu`, `cuda` or `cuda:N`
    /// @param precision of both towers
    /// @param threads CPU threads; 0: one per physical core
    /// @throws IOException when a file is missing, cannot be read, or is not what we support
    /// @throws IllegalArgumentException for an unknown device
    public static PickScore open(Path model, Path processor, String device, Precision precision, int threads)
            throws IOException {
        return new PickScore(ClipModel.open(model, processor, device, precision, threads), precision);
    }

    @Override
    public String name() {
        return "pickscore";
    }

    @Override
    public String digest() {
        return clip.digest();
    }

    @Override
    public String preprocessing() {
        return clip.imageProcessor().describe() + "; " + precision.name().toLowerCase(Locale.ROOT);
    }

    /// The model's logarithmic temperature.
    public double logitScale() {
        return clip.logitScale();
    }

    /// Each caption is embedded once, however often it occurs.
    ///
    /// @return cosines, computed in double from the towers' float32 outputs
    @Override
    public double[] score(List<String> captions, List<RgbImage> pictures) {
        if (captions.size() != pictures.size()) {
            throw new IllegalArgumentException(
                    "score: expected as many captions as pictures, got " + captions.size() + " and " + pictures.size());
        }
        Map<String, Integer> rows = new LinkedHashMap<>();
        captions.forEach(caption -> rows.putIfAbsent(caption, rows.size()));
        double[][] texts = clip.embedTexts(new ArrayList<>(rows.keySet()));
        double[][] images = clip.embedImages(pictures);
        double[] scores = new double[images.length];
        for (int i = 0; i < scores.length; i++) {
            scores[i] = ClipModel.cosine(texts[rows.get(captions.get(i))], images[i]);
        }
        return scores;
    }

    @Override
    public void close() {
        clip.close();
    }
}
