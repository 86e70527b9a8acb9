package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.smpo.checkpoint.ClipFile;
import org.smpo.checkpoint.ClipModelConfig;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipModel;
import org.smpo.network.ClipProcessor;

/// Cosine between the CLIP embeddings of a caption and an image. Published CLIP scores are 100 times the
/// cosine, and 0 where it is negative (arXiv 2104.08718).
final class ClipScore implements DifferentiableReward {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) throws IOException {
            return Files.isDirectory(path) && ClipFile.isFolder(path);
        }

        @Override
        public RewardFiles files(Path path, Path processor) {
            return new ClipFiles("clip", path, ClipProcessor.of(processor));
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

    /// A CLIP model whose cosines are the scores.
    ///
    /// @param kind id of the reward's kind
    /// @param model folder or file of the model
    /// @param processor preprocessing of images and captions
    record ClipFiles(String kind, Path model, ClipProcessor processor) implements RewardFiles {
        @Override
        public String digest() throws IOException {
            return ClipModel.digest(model, processor);
        }

        @Override
        public String preprocessing(Precision precision) throws IOException {
            return processor.images(config().vision()).describe() + "; " + precision.id();
        }

        /// Returns the width of an embedding.
        int width() throws IOException {
            return config().vision().projectionDim();
        }

        private ClipModelConfig config() throws IOException {
            if (ClipFile.config(model) instanceof ClipModelConfig config) {
                return config;
            }
            throw new IOException(model + ": expected a CLIP model with a text tower, found a vision tower alone");
        }

        @Override
        public Reward open(Engine engine, Precision precision) throws IOException {
            return new ClipScore(this, openModel(engine, precision), precision);
        }

        /// Loads the model alone, for its embeddings.
        ClipModel openModel(Engine engine, Precision precision) throws IOException {
            return ClipModel.open(engine, model, processor, precision);
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
        double temperature =
                RewardKind.of(files.kind()).orElseThrow().published().temperature();
        return Map.of("logit_scale", Double.toString(clip.logitScale()), "temperature", Double.toString(temperature));
    }

    /// Scores images. Each caption is embedded once, however often it occurs.
    ///
    /// @return cosines, computed in double from the float32 embeddings
    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        ClipEmbeddings embeddings = ClipEmbeddings.of(clip, captions, images);
        double[] scores = new double[images.size()];
        Arrays.setAll(scores, embeddings::cosine);
        return scores;
    }

    @Override
    public PixelGradient scorePixels(List<String> captions, DeviceTensor pixels) {
        DifferentiableReward.check(captions, pixels);
        double[][] texts = clip.embedTexts(captions);
        double[] scores = new double[texts.length];
        DeviceTensor gradient = clip.gradient(pixels, embedded -> {
            for (int i = 0; i < scores.length; i++) {
                scores[i] = ClipModel.cosine(texts[i], embedded[i]);
            }
            return texts;
        });
        return new PixelGradient(scores, gradient);
    }

    @Override
    public void close() {
        clip.close();
    }
}
