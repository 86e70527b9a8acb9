package org.smpo.data;

import java.util.Locale;

/// What can be wrong with a pair.
public enum Problem {
    /// A line or a member that cannot be parsed.
    MALFORMED_RECORD(Severity.BAD, "no valid record"),
    /// Text with bytes that are not UTF-8, or half a surrogate pair.
    BAD_TEXT(Severity.BAD, "text that is not UTF-8"),
    /// A caption, an image or a score that has to be there is not.
    MISSING_FIELD(Severity.BAD, "a field is missing"),
    WRONG_TYPE(Severity.BAD, "a field of a wrong type"),
    /// Labels outside 0, ½, 1, or that contradict each other.
    BAD_LABEL(Severity.BAD, "a label that cannot be"),
    SCORE_NOT_FINITE(Severity.BAD, "a score that is not finite"),
    /// A path that leads out of the data's folder.
    PATH_OUTSIDE(Severity.BAD, "a path out of the folder"),
    MISSING_FILE(Severity.BAD, "a missing file"),
    /// A file that exists and cannot be read.
    UNREADABLE_FILE(Severity.BAD, "an unreadable file"),
    EMPTY_IMAGE(Severity.BAD, "an image without bytes"),
    UNKNOWN_FORMAT(Severity.BAD, "an image of an unknown format"),
    TRUNCATED_IMAGE(Severity.BAD, "a truncated image"),
    CORRUPT_IMAGE(Severity.BAD, "a corrupt image"),
    /// Of more pixels or bytes than are read.
    IMAGE_TOO_LARGE(Severity.BAD, "an image that is too large"),

    TIE(Severity.NOT_TRAINED, "a tie"),
    MISSING_LABEL(Severity.NOT_TRAINED, "neither a label nor scores"),

    EMPTY_CAPTION(Severity.SUSPICIOUS, "an empty caption"),
    /// One that no text encoder can read whole: far above 77 tokens.
    LONG_CAPTION(Severity.SUSPICIOUS, "a very long caption"),
    /// Both images of the pair are the same.
    IDENTICAL_IMAGES(Severity.SUSPICIOUS, "two identical images"),
    /// Shorter side below 64 pixels.
    TINY_IMAGE(Severity.SUSPICIOUS, "a tiny image"),
    /// One side more than four times the other: most of it is cropped away.
    EXTREME_ASPECT(Severity.SUSPICIOUS, "an extreme aspect ratio"),
    DUPLICATE_ID(Severity.SUSPICIOUS, "an id seen before"),
    /// Same caption and images as an earlier pair.
    DUPLICATE_PAIR(Severity.SUSPICIOUS, "a pair seen before"),
    /// Same caption and images as an earlier pair, and another winner.
    CONTRADICTING_PAIR(Severity.SUSPICIOUS, "a pair seen before with another winner"),
    /// An image that another pair has too; usual where a winner meets the next image.
    DUPLICATE_IMAGE(Severity.SUSPICIOUS, "an image seen before");

    /// What follows.
    public enum Severity {
        /// The pair is skipped, and counts against the run's `data.max_bad_fraction`.
        BAD,
        /// A good pair that has no winner; the policy for ties and unlabelled pairs leaves it out.
        NOT_TRAINED,
        /// The pair is used.
        SUSPICIOUS
    }

    private final Severity severity;
    private final String title;

    Problem(Severity severity, String title) {
        this.severity = severity;
        this.title = title;
    }

    public Severity severity() {
        return severity;
    }

    /// In words, such as "a missing file".
    public String title() {
        return title;
    }

    /// The name in reports, such as `missing_file`.
    public String id() {
        return name().toLowerCase(Locale.ROOT);
    }
}
