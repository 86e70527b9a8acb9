package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import org.smpo.checkpoint.ClipModelConfig;
import org.smpo.io.Json;

/// PickScore v1 (arXiv 2305.01569): CLIP ViT-H/14 tuned on Pick-a-Pic. The score is the cosine, and
/// published scores are the cosine times `exp(logit_scale)`, which is 100.
///
/// A folder shows its kind only when it is named as the published repository and has the published shape:
/// the files hold nothing else that tells PickScore from another CLIP ViT-H/14.
final class PickScore {
    static final RewardKind.Format FORMAT = new RewardKind.Format() {
        @Override
        public boolean recognises(Path path) throws IOException {
            return isPublishedName(path) && ClipScore.isClipModel(path) && isPublishedShape(path);
        }

        @Override
        public RewardFiles files(Path path, Path processor) {
            return new ClipScore.ClipFiles("pickscore", path, processor);
        }
    };

    private static final String REPOSITORY = "PickScore_v1";
    private static final String HUB_CACHE = "models--yuvalkirstain--PickScore_v1";
    private static final int VISION_WIDTH = 1280;
    private static final int VISION_LAYERS = 32;
    private static final int PROJECTION = 1024;

    private PickScore() {}

    private static boolean isPublishedName(Path path) {
        Path whole = path.toAbsolutePath().normalize();
        if (whole.endsWith(REPOSITORY)) {
            return true;
        }
        for (Path part : whole) {
            if (part.toString().equals(HUB_CACHE)) {
                return true;
            }
        }
        return false;
    }

    private static boolean isPublishedShape(Path path) throws IOException {
        ClipModelConfig config = ClipModelConfig.parse(Json.readObject(path.resolve("config.json")));
        return config.vision().hiddenSize() == VISION_WIDTH
                && config.vision().layers() == VISION_LAYERS
                && config.vision().projectionDim() == PROJECTION;
    }
}
