package org.smpo.network;

import java.io.IOException;

/// A tokenizer's files are broken or ask for what we do not do, or its native library does not load: where, what
/// was expected, and what is there.
public final class TokenizerException extends IOException {
    private static final long serialVersionUID = 1L;

    TokenizerException(String message) {
        super(message);
    }

    TokenizerException(String message, Throwable cause) {
        super(message, cause);
    }
}
