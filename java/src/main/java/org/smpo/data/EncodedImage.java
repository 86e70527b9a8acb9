package org.smpo.data;

import java.util.Arrays;
import org.smpo.io.Digest;
import org.smpo.io.ImageException;
import org.smpo.io.Images;
import org.smpo.io.RgbImage;

/// An image as it is stored: the bytes of a PNG, JPEG or WebP file. Nothing is checked before it is decoded.
public final class EncodedImage {
    private final String source;
    private final byte[] bytes;

    private EncodedImage(String source, byte[] bytes) {
        this.source = source;
        this.bytes = bytes;
    }

    /// An image that keeps the array, which nobody may write to afterwards.
    ///
    /// @param source named in messages
    public static EncodedImage of(String source, byte[] bytes) {
        return new EncodedImage(source, bytes);
    }

    /// Where it comes from.
    public String source() {
        return source;
    }

    /// How many bytes it has.
    public int size() {
        return bytes.length;
    }

    /// A copy of its bytes.
    public byte[] bytes() {
        return bytes.clone();
    }

    /// SHA-256 of its bytes, in hexadecimal.
    public String sha256() {
        return Digest.sha256(bytes);
    }

    /// Its format and size.
    ///
    /// @throws ImageException when it is no picture, is truncated or contradicts itself
    public Images.Header header() throws ImageException {
        return Images.header(source, bytes);
    }

    /// Its pixels, as Pillow decodes them.
    ///
    /// @throws ImageException when it is no picture, is truncated, contradicts itself or is too large
    public RgbImage decode() throws ImageException {
        return Images.decode(source, bytes);
    }

    /// Whether the bytes are the same; where they come from does not matter.
    @Override
    public boolean equals(Object other) {
        return other instanceof EncodedImage image && Arrays.equals(image.bytes, bytes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(bytes);
    }

    @Override
    public String toString() {
        return source + " (" + bytes.length + " bytes)";
    }
}
