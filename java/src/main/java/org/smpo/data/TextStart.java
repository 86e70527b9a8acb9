package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;

/// The beginning of a text file.
enum TextStart {
    /// Text without a byte order mark.
    TEXT(0),
    /// The byte order mark of UTF-8, which Windows programs write.
    UTF8_MARK(3);

    /// Number of bytes to look at.
    static final int LENGTH = 3;

    private final int length;

    TextStart(int length) {
        this.length = length;
    }

    /// Number of bytes before the text.
    int length() {
        return length;
    }

    /// Tells which it is.
    ///
    /// @throws IOException when the file is UTF-16
    static TextStart of(Path file, byte[] start) throws IOException {
        int first = start.length < 2 ? 0 : (start[0] & 0xff) << 8 | (start[1] & 0xff);
        if (first == 0xfffe || first == 0xfeff) {
            throw new IOException(file + ": expected UTF-8, found UTF-16; save the file as UTF-8");
        }
        return first == 0xefbb && start.length >= 3 && (start[2] & 0xff) == 0xbf ? UTF8_MARK : TEXT;
    }
}
