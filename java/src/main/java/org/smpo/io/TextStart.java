package org.smpo.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/// The beginning of a file of UTF-8 text.
public enum TextStart {
    /// Text without a byte order mark.
    TEXT(0),
    /// The byte order mark of UTF-8, which Windows programs write.
    UTF8_MARK(3);

    /// Number of bytes to look at.
    public static final int LENGTH = 4;

    private final int length;

    TextStart(int length) {
        this.length = length;
    }

    /// Number of bytes before the text.
    public int length() {
        return length;
    }

    /// Tells which it is.
    ///
    /// @param source name of the file, for messages
    /// @throws IOException when the text is UTF-16 or UTF-32, with a mark or without
    public static TextStart of(Object source, byte[] start) throws IOException {
        int first = at(start, 0) << 8 | at(start, 1);
        int second = at(start, 2) << 8 | at(start, 3);
        if ((first == 0 && second == 0xfeff) || (first == 0xfffe && second == 0 && start.length >= LENGTH)) {
            throw other(source, "UTF-32");
        }
        if (first == 0xfffe || first == 0xfeff || isLatinUtf16(start)) {
            throw other(source, "UTF-16");
        }
        return first == 0xefbb && at(start, 2) == 0xbf ? UTF8_MARK : TEXT;
    }

    /// Decodes a whole file without its mark.
    ///
    /// @param source name of the file, for messages
    /// @throws IOException when it is not UTF-8
    public static String decode(Object source, byte[] bytes) throws IOException {
        int start = of(source, bytes).length();
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes, start, bytes.length - start))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new IOException(source + ": expected UTF-8, found bytes that are not", e);
        }
    }

    /// Whether the first two characters are Latin ones of UTF-16 without a mark. UTF-8 text has no zero bytes.
    private static boolean isLatinUtf16(byte[] start) {
        boolean[] zero = {at(start, 0) == 0, at(start, 1) == 0, at(start, 2) == 0, at(start, 3) == 0};
        return start.length >= LENGTH && zero[0] != zero[1] && zero[0] == zero[2] && zero[1] == zero[3];
    }

    private static int at(byte[] start, int index) {
        return index < start.length ? start[index] & 0xff : 0;
    }

    private static IOException other(Object source, String encoding) {
        return new IOException(source + ": expected UTF-8, found " + encoding + "; save the file as UTF-8");
    }
}
