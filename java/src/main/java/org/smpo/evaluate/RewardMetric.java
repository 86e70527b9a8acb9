package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.smpo.io.Digest;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.reward.PickScore;
import org.smpo.reward.Reward;

/// A reward model as a metric.
final class RewardMetric implements Metric {
    private final Reward reward;
    private final String words;

    private RewardMetric(Reward reward, String words) {
        this.reward = reward;
        this.words = words;
    }

    /// PickScore or any other CLIP model, in fp32, as `smpo score` computes it.
    ///
    /// @param name of the metric
    /// @param model folder of a CLIP model in transformers' layout
    /// @param processor folder with its `preprocessor_config.json` and tokenizer; often the same
    record Clip(String name, Path model, Path processor) implements Source {
        Clip {
            Objects.requireNonNull(name);
            Objects.requireNonNull(processor);
            if (!Files.isDirectory(model)) {
                throw new IllegalArgumentException("reward " + name + ": " + model + ": expected a folder, found "
                        + (Files.exists(model) ? "a file" : "nothing"));
            }
        }

        @Override
        public boolean isVerdict() {
            return false;
        }

        @Override
        public void requireFits(List<Prompt> prompts, int width, int height) {}

        @Override
        public Metric open(String device, int threads) throws IOException {
            PickScore clip = PickScore.open(model, processor, device, Precision.FP32, threads);
            return new RewardMetric(
                    clip, "cosine of CLIP embeddings of caption and picture, from " + model.getFileName());
        }
    }

    @Override
    public String digest() {
        return Digest.sha256(
                (reward.digest() + "\n" + reward.preprocessing()).getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    @Override
    public String describe() {
        return words + "; " + reward.preprocessing();
    }

    @Override
    public double[] metric(List<String> captions, List<RgbImage> images) {
        return reward.score(captions, images);
    }

    @Override
    public void close() {
        reward.close();
    }
}
