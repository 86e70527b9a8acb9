package org.smpo.evaluate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.smpo.io.Digest;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.reward.Reward;
import org.smpo.reward.RewardKind;
import org.smpo.reward.RewardSource;

/// A reward model as a metric, in fp32 as `smpo score` computes it by default.
///
/// @param reward loaded reward
record RewardMetric(Reward reward) implements Metric {
    private static final Precision PRECISION = Precision.FP32;

    /// A reward model that is not loaded.
    ///
    /// @param name name of the metric
    /// @param source the reward model
    record RewardMetricSource(String name, RewardSource source) implements Source {
        RewardMetricSource {
            Objects.requireNonNull(name);
            Objects.requireNonNull(source);
        }

        @Override
        public boolean isVerdict() {
            return false;
        }

        @Override
        public Optional<RewardKind> rewardKind() {
            return Optional.of(source.kind());
        }

        @Override
        public void requireFits(List<Prompt> prompts, int width, int height) {}

        @Override
        public String digest() throws IOException {
            return Digest.sha256(
                    (source.digest() + "\n" + source.preprocessing(PRECISION)).getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public String describe() throws IOException {
            return source.kind().title() + ", from " + source.path().getFileName() + "; "
                    + source.preprocessing(PRECISION);
        }

        @Override
        public Metric open(String device, int threads) throws IOException {
            return new RewardMetric(source.open(device, PRECISION, threads));
        }
    }

    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        return reward.score(captions, images);
    }

    @Override
    public void close() {
        reward.close();
    }
}
