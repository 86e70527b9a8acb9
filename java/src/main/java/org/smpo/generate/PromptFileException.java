package org.smpo.generate;

import java.io.IOException;

/// A prompt file contains something other than a prompt: the file, the line, what was expected and what
/// was found.
public final class PromptFileException extends IOException {
    private static final long serialVersionUID = 1L;

    PromptFileException(String message) {
        super(message);
    }

    PromptFileException(String message, Throwable cause) {
        super(message, cause);
    }
}
