package org.smpo.io;

import java.io.IOException;
import java.nio.file.Path;

/// A safetensors file that violates the format. The message names the file, the place in it, what was
/// expected and what was found.
public final class SafetensorsException extends IOException {
    private static final long serialVersionUID = 1L;

    private final String file;
    private final String key;

    SafetensorsException(Path file, String key, String expected, String found) {
        super(file + ": " + key + ": expected " + expected + ", found " + found);
        this.file = file.toString();
        this.key = key;
    }

    /// Path of the file, as it was opened.
    public String file() {
        return file;
    }

    /// The tensor and field, such as `unet.conv_in.weight.shape`, or the part of the file, such as `header`.
    public String key() {
        return key;
    }
}
