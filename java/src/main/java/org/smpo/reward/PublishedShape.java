package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Set;
import org.smpo.checkpoint.ClipFile;
import org.smpo.checkpoint.ClipModelConfig;

/// What tells a published reward from other CLIP models of its architecture: the name of its repository
/// together with the shape.
final class PublishedShape {
    private static final int VISION_WIDTH = 1280;
    private static final int VISION_LAYERS = 32;
    private static final int PROJECTION = 1024;

    private PublishedShape() {}

    /// Returns whether a path lies in a repository of one of these names, as it is or in the Hugging
    /// Face cache.
    static boolean isUnder(Path path, Set<String> names) {
        for (Path part : path.toAbsolutePath().normalize()) {
            if (names.contains(part.toString())) {
                return true;
            }
        }
        return false;
    }

    /// Returns whether the files hold a CLIP ViT-H/14 with both towers.
    static boolean isVitH(Path path) throws IOException {
        return ClipFile.config(path) instanceof ClipModelConfig config
                && config.vision().hiddenSize() == VISION_WIDTH
                && config.vision().layers() == VISION_LAYERS
                && config.vision().projectionDim() == PROJECTION;
    }
}
