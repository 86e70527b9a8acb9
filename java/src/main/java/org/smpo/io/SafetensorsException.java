package org.smpo.io;

import java.io.IOException;
import java.nio.file.Path;

/// A safetensors file that is not what the format demands: which file, where in it, what was expected and what
/// is there.
public final class SafetensorsException extends IOException {
    private static final long serialVersionUID = 1L;

    private final String file;
    private final String key;

    SafetensorsException(Path file, String key, String expected, String found) {
        super(file + ": " + key + ": expected " + expected + ", found " + found);
        this.file = file.toString();
        this.key = key;
    }

    /// The file, as it was opened.
    public String file() {
        return file;
    }

    /// The tensor and field, such as `unet.conv_in.weight.shape`, or the part of the file, such as `header`.
    public String key() {
        return key;
    }
}
