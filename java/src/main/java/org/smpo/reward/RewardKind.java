package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.stream.Collectors;

/// The kinds of reward model. The kind decides how files are read and what a score means.
///
/// To add a kind, write one class that reads its files and scores, and name it here. Kinds that
/// recognise fewer files come first, since the first kind that recognises a path is taken where a user
/// names none.
public enum RewardKind {
    /// PickScore v1 (arXiv 2305.01569).
    PICKSCORE("pickscore", "PickScore: cosine of the CLIP embeddings of caption and image", 0.01, 0.115, 0.282),
    /// HPS v2 and v2.1 (arXiv 2306.09341).
    HPSV2("hpsv2", "HPSv2: cosine of the CLIP embeddings of caption and image", 0.01, 0.2, 0.35),
    /// ImageReward v1.0 (arXiv 2304.05977).
    IMAGE_REWARD(
            "imagereward",
            "ImageReward: standardized score of a caption with an image",
            1 / ImageReward.STANDARD_DEVIATION,
            -2.3,
            2),
    /// The LAION aesthetic predictor.
    AESTHETIC("aesthetic", "score of the LAION aesthetic predictor, whatever the caption", Double.NaN, 4, 7),
    /// A head on the embeddings of a CLIP model.
    HEAD(
            "head",
            "logit of a head on the embeddings of a CLIP model",
            1,
            Double.NEGATIVE_INFINITY,
            Double.POSITIVE_INFINITY),
    /// Any other CLIP model.
    CLIP("clip", "cosine of the CLIP embeddings of caption and image", 0.01, 0.1, 0.4);

    /// What is known of a kind's published scores.
    ///
    /// @param temperature what scores are divided by to have logits; NaN: unknown
    /// @param low lower end of the range in which scores of generated images usually lie
    /// @param high upper end of that range
    public record Published(double temperature, double low, double high) {
        /// Returns a remark about scores that all lie outside the usual range; empty for others.
        ///
        /// @param lowest lowest score
        /// @param highest highest score
        public Optional<String> remark(double lowest, double highest) {
            return highest >= low && lowest <= high
                    ? Optional.empty()
                    : Optional.of("no score is in the usual range of this kind of reward, " + low + " to " + high
                            + "; check that the model and its image processor are the published ones");
        }
    }

    /// The files of a kind.
    interface Format {
        /// Returns whether the files at a path are certainly of this kind.
        boolean recognises(Path path) throws IOException;

        /// Reads the files at a path.
        ///
        /// @param path file or folder that the user named
        /// @param processor folder with `preprocessor_config.json` and the tokenizer, or a file in it;
        ///     often `path` itself
        RewardFiles files(Path path, Path processor) throws IOException;
    }

    private final String id;
    private final String title;
    private final double temperature;
    private final double low;
    private final double high;

    RewardKind(String id, String title, double temperature, double low, double high) {
        this.id = id;
        this.title = title;
        this.temperature = temperature;
        this.low = low;
        this.high = high;
    }

    /// Returns the name of this kind on command lines and in score files.
    public String id() {
        return id;
    }

    /// Returns what a score of this kind is, as a phrase.
    public String title() {
        return title;
    }

    /// Returns what is known of this kind's published scores.
    public Published published() {
        return new Published(temperature, low, high);
    }

    /// Returns whether a reward of this kind is a CLIP model whose cosines are the scores.
    boolean isClip() {
        return switch (this) {
            case PICKSCORE, HPSV2, CLIP -> true;
            case IMAGE_REWARD, AESTHETIC, HEAD -> false;
        };
    }

    Format format() {
        return switch (this) {
            case PICKSCORE -> PickScore.FORMAT;
            case HPSV2 -> Hpsv2.FORMAT;
            case IMAGE_REWARD -> ImageReward.FORMAT;
            case AESTHETIC -> Aesthetic.FORMAT;
            case HEAD -> HeadReward.FORMAT;
            case CLIP -> ClipScore.FORMAT;
        };
    }

    /// Returns the kind with an id.
    public static Optional<RewardKind> of(String id) {
        return Arrays.stream(values()).filter(kind -> kind.id.equals(id)).findFirst();
    }

    /// Returns the kind whose files are at a path, where that is certain.
    static Optional<RewardKind> recognise(Path path) throws IOException {
        for (RewardKind kind : values()) {
            if (kind.format().recognises(path)) {
                return Optional.of(kind);
            }
        }
        return Optional.empty();
    }

    /// Returns the ids of all kinds, separated by commas.
    public static String ids() {
        return Arrays.stream(values()).map(RewardKind::id).collect(Collectors.joining(", "));
    }
}
