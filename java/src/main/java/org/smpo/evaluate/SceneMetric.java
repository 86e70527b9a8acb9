package org.smpo.evaluate;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.IntStream;
import org.smpo.demo.Scene;
import org.smpo.demo.SceneChecker;
import org.smpo.demo.ScenePainter;
import org.smpo.io.Digest;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;

/// The demo's checker as a metric: 1 when a image keeps everything that its caption says, 0 when it does not. It
/// reads pixels by rules and was never trained, nor was anything trained on it.
final class SceneMetric implements Metric {
    /// Changes when the checker's verdicts change.
    private static final String VERSION = "scene checker 1";

    private SceneMetric() {}

    /// Where it comes from.
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
        public void requireFits(List<Prompt> prompts, int width, int height) {
            int side = ScenePainter.SIDE;
            if (width != side || height != side) {
                throw new IllegalArgumentException("checker: it reads the demo's pictures of " + side + "x" + side
                        + " only, and these would be " + width + "x" + height + ": leave it out");
            }
            for (int i = 0; i < prompts.size(); i++) {
                try {
                    Scene.parse(prompts.get(i).text());
                } catch (IllegalArgumentException e) {
                    throw new IllegalArgumentException(
                            "checker: it knows the demo's captions only; prompt " + (i + 1) + " is none: "
                                    + e.getMessage() + ": leave it out",
                            e);
                }
            }
        }

        @Override
        public Metric open(String device, int threads) {
            return new SceneMetric();
        }
    }

    @Override
    public String digest() {
        return Digest.sha256(VERSION.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public String describe() {
        return "1 when colour, shape, count, size and relation are those of the caption, 0 when one is not; by rules on "
                + "the pixels, independent of every model";
    }

    @Override
    public double[] metric(List<String> captions, List<RgbImage> images) {
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
