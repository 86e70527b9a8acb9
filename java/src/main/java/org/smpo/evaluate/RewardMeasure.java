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

/// A reward model as a measure.
final class RewardMeasure implements Measure {
    private final Reward reward;
    private final String words;

    private RewardMeasure(Reward reward, String words) {
        this.reward = reward;
        this.words = words;
    }

    /// PickScore or any other CLIP model, in fp32, as `smpo score` computes it.
    ///
    /// @param name of the measure
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
        public Measure open(String device, int threads) throws IOException {
            PickScore clip = PickScore.open(model, processor, device, Precision.FP32, threads);
            return new RewardMeasure(
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
    public double[] measure(List<String> captions, List<RgbImage> pictures) {
        return reward.score(captions, pictures);
    }

    @Override
    public void close() {
        reward.close();
    }
}
