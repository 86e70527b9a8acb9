package org.smpo.network;

import java.io.IOException;

/// A tokenizer whose files are broken or not supported, or whose native library does not load. The message names the
/// place, what was expected and what was found.
public final class TokenizerException extends IOException {
    private static final long serialVersionUID = 1L;

    TokenizerException(String message) {
        super(message);
    }

    TokenizerException(String message, Throwable cause) {
        super(message, cause);
    }
}
