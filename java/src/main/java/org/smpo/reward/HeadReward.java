package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.ffi.Engine;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipModel;

/// A linear head on the embeddings of a CLIP model, as `smpo reward fit` writes it: a reward that was
/// adapted to human pairs, or a classifier of two sets of images.
final class HeadReward implements Reward {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) {
            return Files.isDirectory(path) && FittedHead.isIn(path);
        }

        @Override
        public RewardFiles files(Path path, Path processor) throws IOException {
            Optional<Path> own = processor.equals(path) ? Optional.empty() : Optional.of(processor);
            FittedHead head = FittedHead.read(path, own);
            try {
                return new HeadRewardFiles(path, head, head.base().clip());
            } catch (IllegalArgumentException e) {
                throw new IOException(path.resolve(FittedHead.FILE) + ": base: " + e.getMessage(), e);
            }
        }
    };

    private final ClipModel clip;
    private final FittedHead head;
    private final Precision precision;

    private HeadReward(ClipModel clip, FittedHead head, Precision precision) {
        this.clip = clip;
        this.head = head;
        this.precision = precision;
    }

    /// A head and its CLIP model.
    private record HeadRewardFiles(Path path, FittedHead head, ClipScore.ClipFiles clip) implements RewardFiles {
        @Override
        public String digest() throws IOException {
            requireBase(clip.digest());
            return head.digest();
        }

        @Override
        public String preprocessing(Precision precision) throws IOException {
            return clip.preprocessing(precision);
        }

        @Override
        public Reward open(Engine engine, Precision precision) throws IOException {
            ClipModel model = clip.openModel(engine, precision);
            try {
                requireBase(model.digest());
                int width = head.features().width(model.config().vision().projectionDim());
                if (width != head.weight().values().length) {
                    throw new IOException(path + ": expected a head for " + width + " features, found one for "
                            + head.weight().values().length + "; fit the head again");
                }
                return new HeadReward(model, head, precision);
            } catch (IOException | RuntimeException e) {
                model.close();
                throw e;
            }
        }

        private void requireBase(String digest) throws IOException {
            if (!digest.equals(head.baseDigest())) {
                throw new IOException(path.resolve(FittedHead.FILE) + ": base: expected the CLIP model of digest "
                        + head.baseDigest() + ", to which the head was fitted, found " + digest + " at "
                        + clip.model() + "; restore that model, or fit the head again");
            }
        }
    }

    @Override
    public String kind() {
        return RewardKind.HEAD.id();
    }

    @Override
    public String digest() {
        return head.digest();
    }

    @Override
    public String preprocessing() {
        return clip.imageProcessor().describe() + "; " + precision.id();
    }

    @Override
    public Map<String, String> metadata() {
        return Map.of("temperature", Double.toString(RewardKind.HEAD.published().temperature()));
    }

    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        ClipEmbeddings embeddings = ClipEmbeddings.of(clip, captions, images);
        double[] scores = new double[images.size()];
        Arrays.setAll(scores, row -> head.score(embeddings, row));
        return scores;
    }

    @Override
    public void close() {
        clip.close();
    }
}
