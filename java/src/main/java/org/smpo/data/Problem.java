package org.smpo.data;

import java.util.Locale;
import org.smpo.io.ImageException;

/// A fault that a pair can have.
public enum Problem {
    /// A line or a tar member that cannot be parsed.
    MALFORMED_RECORD(Severity.BAD, "an invalid record"),
    /// Text with bytes that are not UTF-8, or half a surrogate pair.
    BAD_TEXT(Severity.BAD, "text that is not UTF-8"),
    /// A required caption, image or score is missing.
    MISSING_FIELD(Severity.BAD, "a field is missing"),
    WRONG_TYPE(Severity.BAD, "a field of a wrong type"),
    /// Labels outside 0, ½, 1, or that contradict each other.
    BAD_LABEL(Severity.BAD, "an invalid label"),
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
    /// More pixels or bytes than the limits allow.
    IMAGE_TOO_LARGE(Severity.BAD, "an image that is too large"),

    TIE(Severity.NOT_TRAINED, "a tie"),
    MISSING_LABEL(Severity.NOT_TRAINED, "neither a label nor scores"),

    EMPTY_CAPTION(Severity.SUSPICIOUS, "an empty caption"),
    /// Far above the 77 tokens that a text encoder reads.
    LONG_CAPTION(Severity.SUSPICIOUS, "a very long caption"),
    /// Both images of the pair are the same.
    IDENTICAL_IMAGES(Severity.SUSPICIOUS, "two identical images"),
    /// Shorter side below 64 pixels.
    TINY_IMAGE(Severity.SUSPICIOUS, "a tiny image"),
    /// One side is more than four times the other, so that most of the image is cropped away.
    EXTREME_ASPECT(Severity.SUSPICIOUS, "an extreme aspect ratio"),
    /// An EXIF orientation: the image is turned, unlike in Pillow's plain decoding.
    TURNED_IMAGE(Severity.SUSPICIOUS, "an image with an EXIF orientation"),
    /// A transparent pixel; an opaque alpha channel is not a problem.
    TRANSPARENT_IMAGE(Severity.SUSPICIOUS, "an image with transparency"),
    WIDE_GREY_IMAGE(Severity.SUSPICIOUS, "a grey image of 16 bits"),
    DUPLICATE_ID(Severity.SUSPICIOUS, "an id seen before"),
    /// Same caption and images as an earlier pair.
    DUPLICATE_PAIR(Severity.SUSPICIOUS, "a pair seen before"),
    /// Same caption and images as an earlier pair, and another winner.
    CONTRADICTING_PAIR(Severity.SUSPICIOUS, "a pair seen before with another winner"),
    /// An image that another pair has too, which is usual where a winner meets the next image.
    DUPLICATE_IMAGE(Severity.SUSPICIOUS, "an image seen before");

    /// The consequence for a pair with the problem.
    public enum Severity {
        /// The pair is skipped, and counts against the run's `data.max_bad_fraction`.
        BAD,
        /// The pair is good but has no winner, so it is not trained on.
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

    /// The problem that an exception of the image decoder stands for.
    static Problem of(ImageException e) {
        return switch (e.reason()) {
            case EMPTY -> EMPTY_IMAGE;
            case FORMAT -> UNKNOWN_FORMAT;
            case TRUNCATED -> TRUNCATED_IMAGE;
            case CORRUPT -> CORRUPT_IMAGE;
            case TOO_LARGE -> IMAGE_TOO_LARGE;
        };
    }

    public Severity severity() {
        return severity;
    }

    /// Description in words, such as "a missing file".
    public String title() {
        return title;
    }

    /// Name in reports, such as `missing_file`.
    public String id() {
        return name().toLowerCase(Locale.ROOT);
    }
}
