package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.ffi.Engine;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipImageProcessor;
import org.smpo.network.ClipModel;

/// Cosine between the CLIP embeddings of a caption and an image. Published CLIP scores are 100 times the
/// cosine, and 0 where it is negative (arXiv 2104.08718).
final class ClipScore implements Reward {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) throws IOException {
            return isClipModel(path);
        }

        @Override
        public RewardFiles files(Path path, Path processor) {
            return new ClipFiles("clip", path, processor);
        }
    };

    private final ClipFiles files;
    private final ClipModel clip;
    private final Precision precision;

    private ClipScore(ClipFiles files, ClipModel clip, Precision precision) {
        this.files = files;
        this.clip = clip;
        this.precision = precision;
    }

    /// Returns whether a folder holds a whole CLIP model in the transformers format.
    static boolean isClipModel(Path folder) throws IOException {
        Path config = folder.resolve("config.json");
        if (!Files.isRegularFile(config)) {
            return false;
        }
        JsonObject json = Json.readObject(config);
        boolean byClass = json.asMap().get("architectures") instanceof List<?> classes && classes.contains("CLIPModel");
        return byClass || "clip".equals(json.asMap().get("model_type"));
    }

    /// A CLIP model in the transformers format whose cosines are the scores.
    ///
    /// @param kind id of the reward's kind
    /// @param model folder of the model
    /// @param processor folder with `preprocessor_config.json` and the tokenizer
    record ClipFiles(String kind, Path model, Path processor) implements RewardFiles {
        @Override
        public String digest() throws IOException {
            return ClipModel.digest(model, processor);
        }

        @Override
        public String preprocessing(Precision precision) throws IOException {
            return ClipImageProcessor.open(processor).describe() + "; " + precision.id();
        }

        @Override
        public Reward open(Engine engine, Precision precision) throws IOException {
            return new ClipScore(this, ClipModel.open(engine, model, processor, precision), precision);
        }
    }

    @Override
    public String kind() {
        return files.kind();
    }

    @Override
    public String digest() {
        return clip.digest();
    }

    @Override
    public String preprocessing() {
        return clip.imageProcessor().describe() + "; " + precision.id();
    }

    @Override
    public Map<String, String> metadata() {
        return Map.of("logit_scale", Double.toString(clip.logitScale()));
    }

    /// Scores images. Each caption is embedded once, however often it occurs.
    ///
    /// @return cosines, computed in double from the float32 embeddings
    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        if (captions.size() != images.size()) {
            throw new IllegalArgumentException(
                    "score: expected as many captions as images, got " + captions.size() + " and " + images.size());
        }
        Map<String, Integer> rows = new LinkedHashMap<>();
        captions.forEach(caption -> rows.putIfAbsent(caption, rows.size()));
        double[][] texts = clip.embedTexts(new ArrayList<>(rows.keySet()));
        double[][] embedded = clip.embedImages(images);
        double[] scores = new double[embedded.length];
        for (int i = 0; i < scores.length; i++) {
            scores[i] = ClipModel.cosine(texts[rows.get(captions.get(i))], embedded[i]);
        }
        return scores;
    }

    @Override
    public void close() {
        clip.close();
    }
}
