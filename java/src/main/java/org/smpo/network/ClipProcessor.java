package org.smpo.network;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.smpo.checkpoint.ClipTextConfig;
import org.smpo.checkpoint.ClipVisionConfig;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.TokenizerFiles;

/// Where the preprocessing of a CLIP model's images and texts comes from: a folder with
/// `preprocessor_config.json` and a tokenizer. What the folder lacks is OpenAI's for a model that takes
/// images of 224 pixels and CLIP's vocabulary, as the models of OpenAI, OpenCLIP and the published
/// rewards do.
///
/// @param folder folder, or a file in it
/// @param resize first step of the image preprocessing, in place of the one in the folder's config;
///     empty: that one
public record ClipProcessor(Path folder, Optional<Resizing> resize) {
    private static final String FILE = "preprocessor_config.json";

    /// The preprocessing of images by a kind of reward.
    public enum Resizing {
        /// The longer side resized to the model's, and the rest filled with black: HPSv2.
        LONGEST_SIDE
    }

    /// The files in a folder as they are.
    public static ClipProcessor of(Path folder) {
        return new ClipProcessor(folder, Optional.empty());
    }

    private Path directory() {
        return Files.isDirectory(folder) ? folder : folder.toAbsolutePath().getParent();
    }

    /// Returns the image processor for a vision tower.
    ///
    /// @throws ModelException when it makes images of another size than the tower takes
    /// @throws IOException when a file cannot be read, or is missing for a model of another size than
    ///     OpenAI's
    public ClipImageProcessor images(ClipVisionConfig vision) throws IOException {
        ClipImageProcessor images;
        if (resize.isPresent()) {
            images = ClipImageProcessor.longestSide(vision.imageSize());
        } else if (!Files.exists(directory().resolve(FILE))
                && vision.imageSize() == ClipImageProcessor.openAi().height()) {
            images = ClipImageProcessor.openAi();
        } else {
            images = ClipImageProcessor.open(directory());
        }
        if (vision.channels() != 3) {
            throw new ModelException(
                    vision.json().source(), "vision_config.num_channels", "3 (red, green, blue)", vision.channels());
        }
        if (images.height() != vision.imageSize() || images.width() != vision.imageSize()) {
            throw new ModelException(
                    directory(),
                    FILE,
                    "images of " + vision.imageSize() + "x" + vision.imageSize() + ", as the model takes them",
                    images.describe());
        }
        return images;
    }

    /// Returns the tokenizer's files for a text tower.
    public TokenizerFiles tokenizer(ClipTextConfig text) {
        Path directory = directory();
        boolean own = Files.exists(directory.resolve("tokenizer.json"))
                || Files.exists(directory.resolve("vocab.json"))
                || Files.exists(directory.resolve("merges.txt"));
        return !own && text.vocabSize() == TokenizerFiles.Clip.TOKENS
                ? new TokenizerFiles.Clip(TokenizerFiles.Clip.END)
                : new TokenizerFiles.InFolder(directory);
    }
}
