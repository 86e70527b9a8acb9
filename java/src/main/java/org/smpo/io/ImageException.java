package org.smpo.io;

import java.io.IOException;

/// An image file that cannot be decoded. The message names its source, what was expected and what was found.
public final class ImageException extends IOException {
    private static final long serialVersionUID = 1L;

    /// Kind of fault.
    public enum Reason {
        /// No bytes at all.
        EMPTY,
        /// Not PNG, JPEG or WebP, or an unsupported variant of them.
        FORMAT,
        /// The file ends too early.
        TRUNCATED,
        /// The file contradicts itself.
        CORRUPT,
        /// The image has more pixels than allowed.
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
