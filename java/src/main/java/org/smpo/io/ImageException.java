package org.smpo.io;

import java.io.IOException;

/// A picture's file that cannot be decoded: the message names its source, what was expected and what was found.
public final class ImageException extends IOException {
    private static final long serialVersionUID = 1L;

    /// What is wrong.
    public enum Reason {
        /// No bytes at all.
        EMPTY,
        /// No PNG, JPEG or WebP, or a form of them that is not supported.
        FORMAT,
        /// It ends too early.
        TRUNCATED,
        /// It contradicts itself.
        CORRUPT,
        /// More pixels than asked for.
        TOO_LARGE
    }

    private final Reason reason;

    ImageException(Reason reason, String message) {
        super(message);
        this.reason = reason;
    }

    ImageException(Reason reason, String message, Throwable cause) {
        super(message, cause);
        this.reason = reason;
    }

    public Reason reason() {
        return reason;
    }
}
