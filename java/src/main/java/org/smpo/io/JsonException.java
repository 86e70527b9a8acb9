package org.smpo.io;

import java.io.IOException;

/// Malformed or unexpected JSON. The message names the source and the path in it, such as `unet/config.json:
/// $.block_out_channels[2]: expected an integer, found "640"`.
public final class JsonException extends IOException {
    private static final long serialVersionUID = 1L;

    JsonException(String message) {
        super(message);
    }

    JsonException(String message, Throwable cause) {
        super(message, cause);
    }
}
