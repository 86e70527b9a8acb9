package org.smpo.reward;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.stream.Collectors;

/// The kinds of reward model. The kind decides how files are read and what a score means.
///
/// To add a kind, write one class that reads its files and scores, and name it here. Kinds that recognise
/// fewer files come first, since the first kind that recognises a path is taken where a user names none.
public enum RewardKind {
    /// PickScore v1 (arXiv 2305.01569).
    PICKSCORE("pickscore", "PickScore: cosine of the CLIP embeddings of caption and image"),
    /// The LAION aesthetic predictor.
    AESTHETIC("aesthetic", "score of the LAION aesthetic predictor, whatever the caption"),
    /// Any CLIP model in the transformers format.
    CLIP("clip", "cosine of the CLIP embeddings of caption and image");

    /// The files of a kind.
    interface Format {
        /// Returns whether the files at a path are certainly of this kind.
        boolean recognises(Path path) throws IOException;

        /// Reads the files at a path.
        ///
        /// @param path file or folder that the user named
        /// @param processor folder with `preprocessor_config.json` and the tokenizer; often `path` itself
        RewardFiles files(Path path, Path processor) throws IOException;
    }

    private final String id;
    private final String title;

    RewardKind(String id, String title) {
        this.id = id;
        this.title = title;
    }

    /// Returns the name of this kind on command lines and in score files.
    public String id() {
        return id;
    }

    /// Returns what a score of this kind is, as a phrase.
    public String title() {
        return title;
    }

    Format format() {
        return switch (this) {
            case PICKSCORE -> PickScore.FORMAT;
            case AESTHETIC -> Aesthetic.FORMAT;
            case CLIP -> ClipScore.FORMAT;
        };
    }

    /// Returns the kind with an id.
    static Optional<RewardKind> of(String id) {
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
