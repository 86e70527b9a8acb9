package org.smpo.evaluate;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.smpo.demo.Scene;
import org.smpo.demo.SceneChecker;
import org.smpo.demo.ScenePainter;
import org.smpo.io.Digest;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.reward.RewardKind;

/// The demo's checker as a metric: 1 when an image matches its caption in every respect, else 0. It applies
/// rules to pixels; it was not trained, and nothing was trained on it.
final class SceneMetric implements Metric {
    /// Changes whenever the checker's verdicts change.
    private static final String VERSION = "scene checker 1";

    private SceneMetric() {}

    /// The checker as a request names it.
    record Checker() implements Source {
        @Override
        public String name() {
            return "checker";
        }

        @Override
        public boolean isVerdict() {
            return true;
        }

        @Override
        public Optional<RewardKind> rewardKind() {
            return Optional.empty();
        }

        @Override
        public void requireFits(List<Prompt> prompts, int width, int height) {
            int side = ScenePainter.SIDE;
            if (width != side || height != side) {
                throw new IllegalArgumentException("checker: expected the demo's images of " + side + "x" + side
                        + ", got images of " + width + "x" + height + ": leave the checker out");
            }
            for (int i = 0; i < prompts.size(); i++) {
                try {
                    Scene.parse(prompts.get(i).text());
                } catch (IllegalArgumentException e) {
                    throw new IllegalArgumentException(
                            "checker: prompt " + (i + 1) + ": expected one of the demo's captions: " + e.getMessage()
                                    + ": leave the checker out",
                            e);
                }
            }
        }

        @Override
        public String digest() {
            return Digest.sha256(VERSION.getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public String describe() {
            return "1 when color, shape, count, size and relation match the caption, else 0; computed by rules from the"
                    + " pixels, independently of every model";
        }

        @Override
        public Metric open(String device, int threads) {
            return new SceneMetric();
        }
    }

    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        return IntStream.range(0, captions.size())
                .mapToDouble(i -> SceneChecker.check(images.get(i), Scene.parse(captions.get(i)))
                                .right()
                        ? 1
                        : 0)
                .toArray();
    }

    @Override
    public void close() {}
}
