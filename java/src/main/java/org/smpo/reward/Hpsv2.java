package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import org.smpo.network.ClipProcessor;

/// HPS v2 and v2.1 (arXiv 2306.09341): CLIP ViT-H/14 tuned on human preferences. The score is the
/// cosine. Images are resized by their longer side and padded, unlike those of every other CLIP model.
///
/// Published as `HPS_v2.1_compressed.pt`, a torch file with OpenCLIP's names, and as safetensors with
/// the prefix `model.`. The shape is that of PickScore, so files show their kind only by the published
/// names.
final class Hpsv2 {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) throws IOException {
            boolean file = Files.isRegularFile(path)
                    && path.getFileName().toString().matches("HPS_v2(\\.1)?_compressed\\.(pt|safetensors)");
            boolean folder = Files.isDirectory(path)
                    && (Files.exists(path.resolve("HPS_v2.1_compressed.pt"))
                            || PublishedShape.isUnder(path, REPOSITORIES));
            return (file || folder) && PublishedShape.isVitH(path);
        }

        @Override
        public RewardFiles files(Path path, Path processor) throws IOException {
            return new ClipScore.ClipFiles(
                    "hpsv2", path, new ClipProcessor(processor, Optional.of(ClipProcessor.Resizing.LONGEST_SIDE)));
        }
    };

    private static final Set<String> REPOSITORIES = Set.of("models--xswu--HPSv2", "models--RE-N-Y--hpsv21", "hpsv21");

    private Hpsv2() {}
}
