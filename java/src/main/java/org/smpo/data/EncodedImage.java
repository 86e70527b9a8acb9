package org.smpo.data;

import java.util.Arrays;
import org.smpo.io.Digest;
import org.smpo.io.ImageException;
import org.smpo.io.Images;
import org.smpo.io.Rendering;
import org.smpo.io.RgbImage;

/// An image as it is stored: the bytes of a PNG, JPEG or WebP file, which are checked when they are decoded.
public final class EncodedImage {
    private final String source;
    private final byte[] bytes;
    private final Rendering rendering;

    private EncodedImage(String source, byte[] bytes, Rendering rendering) {
        this.source = source;
        this.bytes = bytes;
        this.rendering = rendering;
    }

    /// Wraps an array, which nobody may write to afterwards.
    ///
    /// @param source place of the image, for messages
    public static EncodedImage of(String source, byte[] bytes) {
        return new EncodedImage(source, bytes, Rendering.VIEWER);
    }

    /// The same image with another rendering.
    EncodedImage rendered(Rendering other) {
        return new EncodedImage(source, bytes, other);
    }

    /// Rendering with which the image is decoded.
    Rendering rendering() {
        return rendering;
    }

    /// Place of the image, for messages.
    public String source() {
        return source;
    }

    /// Number of bytes.
    public int size() {
        return bytes.length;
    }

    /// A copy of the bytes.
    public byte[] bytes() {
        return bytes.clone();
    }

    /// SHA-256 of the bytes in hexadecimal.
    public String sha256() {
        return Digest.sha256(bytes);
    }

    /// Format of the file and size of the decoded image.
    ///
    /// @throws ImageException when it is not an image, is truncated or contradicts itself
    public Images.Header header() throws ImageException {
        return Images.header(source, bytes, rendering);
    }

    /// Features that a viewer shows and Pillow ignores by default. Decodes the image.
    ///
    /// @throws ImageException when it is not an image, is truncated, contradicts itself or is too large
    public Images.Traits traits() throws ImageException {
        return Images.traits(source, bytes);
    }

    /// The pixels, in the rendering of the source.
    ///
    /// @throws ImageException when it is not an image, is truncated, contradicts itself or is too large
    public RgbImage decode() throws ImageException {
        return Images.decode(source, bytes, Images.MAX_PIXELS, rendering);
    }

    /// Whether the bytes are equal; the source and the rendering do not matter.
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
