package org.smpo.evaluate;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.smpo.checkpoint.TinyModels;
import org.smpo.generate.GenerationConfig;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.Prompt;
import org.smpo.report.Progress;
import org.smpo.reward.RewardKind;
import org.smpo.schedule.Sampler;

/// Small models with random weights, and metrics computed from pixels.
final class TinyEvaluation {
    private TinyEvaluation() {}

    /// Writes a model that generates other images than [TinyModels#writeTrainable]: its VAE scales latents
    /// differently.
    static Path writeOther(Path folder, double scalingFactor) throws IOException {
        TinyModels.writeTrainable(folder);
        Path config = folder.resolve("vae/config.json");
        Map<String, Object> changed =
                new LinkedHashMap<>(Json.readObject(config).asMap());
        changed.put("scaling_factor", scalingFactor);
        Json.write(config, changed);
        return folder;
    }

    static final EvaluationRequest.Provenance PROVENANCE =
            new EvaluationRequest.Provenance("1", "abc", "library 1", "smpo evaluate ...");

    static EvaluationRequest request(List<EvaluatedModel> models, List<Prompt> prompts, List<Metric.Source> metrics) {
        GenerationSetup generation = new GenerationSetup(config(2), 2, "cpu", Precision.FP32, 1);
        return new EvaluationRequest(
                models,
                prompts,
                null,
                5,
                2,
                generation,
                metrics,
                new Bootstrap(0, 200, 0.95),
                3,
                PROVENANCE,
                List.of());
    }

    static Progress.Display display() {
        return Progress.Display.ofStandardError(new PrintWriter(new StringWriter()));
    }

    /// Returns the digest of every file except the journal and the lock.
    static Map<String, String> left(Path folder) throws IOException {
        Map<String, String> files = new TreeMap<>();
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                String name = folder.relativize(file).toString();
                if (!name.equals("journal.jsonl") && !name.equals(".lock")) {
                    files.put(name, Digest.sha256(file));
                }
            }
        }
        return files;
    }

    /// The mean of the red channel; as a verdict, whether it is above a level.
    ///
    /// @param level level of the verdict; NaN: no verdict
    /// @param failAfter number of images after which scoring fails; negative: never
    record Red(String name, double level, int failAfter) implements Metric.Source {
        static Red reward() {
            return new Red("red", Double.NaN, -1);
        }

        static Red verdict(double level) {
            return new Red("reddish", level, -1);
        }

        @Override
        public boolean isVerdict() {
            return !Double.isNaN(level);
        }

        @Override
        public Optional<RewardKind> rewardKind() {
            return Optional.empty();
        }

        @Override
        public void requireFits(List<Prompt> prompts, int width, int height) {}

        @Override
        public String digest() {
            return Digest.sha256(("red " + level).getBytes(java.nio.charset.StandardCharsets.UTF_8));
        }

        @Override
        public String describe() {
            return "mean of the red channel";
        }

        @Override
        public Metric open(String device, int threads) {
            return new Metric() {
                private int measured;

                @Override
                public double[] score(List<String> captions, List<RgbImage> images) {
                    measured += images.size();
                    if (failAfter >= 0 && measured > failAfter) {
                        throw new IllegalStateException("the metric failed");
                    }
                    return images.stream().mapToDouble(Red.this::value).toArray();
                }

                @Override
                public void close() {}
            };
        }

        double value(RgbImage image) {
            byte[] rgb = image.rgb();
            double sum = 0;
            for (int i = 0; i < rgb.length; i += 3) {
                sum += rgb[i] & 0xff;
            }
            double mean = 3 * sum / rgb.length / 255;
            return isVerdict() ? mean > level ? 1 : 0 : mean;
        }
    }

    /// 16x16 images by DDIM with guidance 3.
    static GenerationConfig config(int steps) {
        return GenerationConfig.standard()
                .withSize(16, 16)
                .withSampler(Sampler.Kind.DDIM, steps)
                .withGuidanceScale(3);
    }
}
