package org.smpo.reward;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.smpo.checkpoint.ClipFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.io.Digest;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.ClipProcessor;
import org.smpo.network.ClipVision;

/// The LAION aesthetic predictor (github.com/christophschuhmann/improved-aesthetic-predictor, commit
/// 6934dd8): a head on the normalised image embedding of CLIP ViT-L/14. Scores range from about 1 to 10
/// and do not depend on the caption.
///
/// Two heads are published: `sac+logos+ava1-l14-linearMSE.pth` has five linear layers without
/// activations in between, `ava+logos-l14-reluMSE.pth` has a ReLU after each layer but the last.
final class Aesthetic implements DifferentiableReward {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) throws IOException {
            return Files.isDirectory(path)
                    ? ClipFile.isFolder(path) && heads(path).size() == 1
                    : Head.isIn(path);
        }

        @Override
        public RewardFiles files(Path path, Path processor) throws IOException {
            return AestheticFiles.of(path, processor);
        }
    };

    private final ClipVision clip;
    private final Head head;
    private final String digest;
    private final Precision precision;

    private Aesthetic(ClipVision clip, Head head, String digest, Precision precision) {
        this.clip = clip;
        this.head = head;
        this.digest = digest;
        this.precision = precision;
    }

    /// Returns the files in a folder that may be heads: torch files, and safetensors files that are not
    /// the CLIP model's.
    private static List<Path> heads(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.getFileName().toString().matches(".*\\.pth|(?!model).*\\.safetensors"))
                    .sorted()
                    .toList();
        }
    }

    /// A CLIP model and a head.
    ///
    /// @param clip folder or file of the CLIP model, of which the vision tower is used
    /// @param processor folder with `preprocessor_config.json`
    /// @param head file of the head; the same as `clip` where one file holds both
    record AestheticFiles(Path clip, ClipProcessor processor, Path head) implements RewardFiles {
        /// Finds the files: a folder with a CLIP model and a head, a file with both, or a head with the
        /// CLIP model in the processor's folder.
        static AestheticFiles of(Path path, Path processor) throws IOException {
            if (!Files.isDirectory(path)) {
                boolean own = processor.equals(path);
                if (ClipFile.hasVision(path)) {
                    return new AestheticFiles(path, ClipProcessor.of(processor), path);
                }
                Path clip = own ? path.toAbsolutePath().getParent() : processor;
                return new AestheticFiles(clip, ClipProcessor.of(clip), path);
            }
            List<Path> heads = heads(path);
            if (heads.size() != 1) {
                throw new IOException(path + ": expected one head (.pth or .safetensors) beside the CLIP model, found "
                        + (heads.isEmpty() ? "none" : heads) + ": name the head's file instead of the folder");
            }
            return new AestheticFiles(path, ClipProcessor.of(processor), heads.getFirst());
        }

        @Override
        public String digest() throws IOException {
            try (ModelFiles files = ClipFile.open(clip)) {
                return digest(ClipVision.digest(files), Head.read(head));
            }
        }

        private static String digest(String clip, Head head) {
            return Digest.sha256((clip + "\n" + head.digest()).getBytes(StandardCharsets.UTF_8));
        }

        @Override
        public String preprocessing(Precision precision) throws IOException {
            return processor.images(ClipFile.vision(ClipFile.config(clip))).describe() + "; " + precision.id();
        }

        @Override
        public Reward open(Engine engine, Precision precision) throws IOException {
            Head head = Head.read(this.head);
            try (ModelFiles files = ClipFile.open(clip)) {
                String digest = digest(ClipVision.digest(files), head);
                ClipVision model = ClipVision.open(engine, files, processor, precision);
                int width = model.config().projectionDim();
                if (width != head.width()) {
                    model.close();
                    throw new IOException(this.head + ": expected a head for embeddings of width " + width
                            + ", as the CLIP model has, found one for " + head.width());
                }
                return new Aesthetic(model, head, digest, precision);
            }
        }
    }

    @Override
    public String kind() {
        return RewardKind.AESTHETIC.id();
    }

    @Override
    public String digest() {
        return digest;
    }

    @Override
    public String preprocessing() {
        return clip.imageProcessor().describe() + "; " + precision.id();
    }

    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        if (captions.size() != images.size()) {
            throw new IllegalArgumentException(
                    "score: expected as many captions as images, got " + captions.size() + " and " + images.size());
        }
        return Arrays.stream(clip.embed(images)).mapToDouble(head::score).toArray();
    }

    @Override
    public PixelGradient scorePixels(List<String> captions, DeviceTensor pixels) {
        DifferentiableReward.check(captions, pixels);
        double[] scores = new double[captions.size()];
        DeviceTensor gradient = clip.gradient(pixels, embedded -> {
            double[][] gradients = new double[embedded.length][];
            for (int i = 0; i < embedded.length; i++) {
                scores[i] = head.score(embedded[i]);
                gradients[i] = head.gradient(embedded[i]);
            }
            return gradients;
        });
        return new PixelGradient(scores, gradient);
    }

    @Override
    public void close() {
        clip.close();
    }
}
