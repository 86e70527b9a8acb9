package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.smpo.checkpoint.ClipFile;
import org.smpo.network.ClipProcessor;

/// PickScore v1 (arXiv 2305.01569): CLIP ViT-H/14 tuned on Pick-a-Pic. The score is the cosine, and
/// published scores are the cosine times `exp(logit_scale)`, which is 100.
///
/// A folder shows its kind only when it is named as the published repository and has the published
/// shape: the files hold nothing else that tells PickScore from another CLIP ViT-H/14.
final class PickScore {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) throws IOException {
            return Files.isDirectory(path)
                    && (path.toAbsolutePath().normalize().endsWith(REPOSITORY)
                            || PublishedShape.isUnder(path, HUB_CACHE))
                    && ClipFile.isFolder(path)
                    && PublishedShape.isVitH(path);
        }

        @Override
        public RewardFiles files(Path path, Path processor) {
            return new ClipScore.ClipFiles("pickscore", path, ClipProcessor.of(processor));
        }
    };

    private static final String REPOSITORY = "PickScore_v1";
    private static final Set<String> HUB_CACHE = Set.of("models--yuvalkirstain--PickScore_v1");

    private PickScore() {}
}
