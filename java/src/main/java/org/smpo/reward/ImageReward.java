package org.smpo.reward;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.smpo.checkpoint.BlipFile;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.ffi.Engine;
import org.smpo.io.Digest;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.Blip;

/// ImageReward (arXiv 2304.05977; github.com/THUDM/ImageReward, commit c1392c6): a head on BLIP's vector
/// of a caption with an image, standardized by the mean and standard deviation that the authors publish.
///
/// Published as `ImageReward.pt` with the prefixes `blip.` and `mlp.`, and as safetensors with the same.
/// The vocabulary is that of bert-base-uncased, whose `vocab.txt` lies beside the model or in the
/// processor's folder.
final class ImageReward implements Reward {
    /// Mean of the head's outputs over the authors' data.
    private static final double MEAN = 0.16717362830052426;

    /// Standard deviation of the head's outputs; its inverse is the temperature of the scores.
    static final double STANDARD_DEVIATION = 1.0333394966054072;

    private static final String VOCABULARY = "vocab.txt";

    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) {
            try {
                Path weights = BlipFile.weights(path);
                return Files.isRegularFile(weights) && BlipFile.isIn(weights) && Head.isIn(weights);
            } catch (IOException e) {
                // Another kind of file; what is wrong with it is said by whoever reads it.
                return false;
            }
        }

        @Override
        public RewardFiles files(Path path, Path processor) throws IOException {
            return new BlipFiles(path, new TokenizerFiles.InFolder(vocabulary(path, processor)));
        }
    };

    private final Blip blip;
    private final Head head;
    private final String digest;
    private final Precision precision;

    private ImageReward(Blip blip, Head head, String digest, Precision precision) {
        this.blip = blip;
        this.head = head;
        this.digest = digest;
        this.precision = precision;
    }

    /// The processor's folder where it has a vocabulary, otherwise the model's.
    private static Path vocabulary(Path path, Path processor) {
        Path own = folder(processor);
        return Files.exists(own.resolve(VOCABULARY)) ? own : folder(path);
    }

    private static Path folder(Path path) {
        return Files.isDirectory(path) ? path : path.toAbsolutePath().getParent();
    }

    /// BLIP with a head.
    ///
    /// @param model folder or file of both
    /// @param vocabulary folder with BERT's vocabulary
    record BlipFiles(Path model, TokenizerFiles vocabulary) implements RewardFiles {
        @Override
        public String digest() throws IOException {
            return digest(Blip.digest(model, vocabulary), head());
        }

        private static String digest(String blip, Head head) {
            return Digest.sha256((blip + "\n" + head.digest()).getBytes(StandardCharsets.UTF_8));
        }

        private Head head() throws IOException {
            Path weights = BlipFile.weights(model);
            Head head = Head.read(weights);
            if (head.relu()) {
                throw new IOException(weights + ": expected a head without activations, found one with ReLU");
            }
            return head;
        }

        @Override
        public String preprocessing(Precision precision) throws IOException {
            return Blip.images(BlipFile.vision(model)).describe() + "; " + precision.id();
        }

        @Override
        public Reward open(Engine engine, Precision precision) throws IOException {
            Head head = head();
            Blip blip = Blip.open(engine, model, vocabulary, precision);
            if (blip.width() != head.width()) {
                blip.close();
                throw new IOException(BlipFile.weights(model) + ": expected a head for vectors of width " + blip.width()
                        + ", found one for " + head.width());
            }
            return new ImageReward(blip, head, digest(blip.digest(), head), precision);
        }
    }

    /// Returns the score of an output of the head.
    static double standardized(double output) {
        return (output - MEAN) / STANDARD_DEVIATION;
    }

    @Override
    public String kind() {
        return RewardKind.IMAGE_REWARD.id();
    }

    @Override
    public String digest() {
        return digest;
    }

    @Override
    public String preprocessing() {
        return blip.imageProcessor().describe() + "; " + precision.id();
    }

    @Override
    public Map<String, String> metadata() {
        return Map.of(
                "temperature",
                Double.toString(RewardKind.IMAGE_REWARD.published().temperature()));
    }

    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        if (captions.size() != images.size()) {
            throw new IllegalArgumentException(
                    "score: expected as many captions as images, got " + captions.size() + " and " + images.size());
        }
        double[] scores = Arrays.stream(blip.encode(captions, images))
                .mapToDouble(vector -> standardized(head.score(vector)))
                .toArray();
        for (int i = 0; i < scores.length; i++) {
            if (!Double.isFinite(scores[i])) {
                throw new ArithmeticException("image " + i + ": expected a finite score, got " + scores[i]);
            }
        }
        return scores;
    }

    @Override
    public void close() {
        blip.close();
    }
}
