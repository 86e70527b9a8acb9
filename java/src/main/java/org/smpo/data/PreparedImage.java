package org.smpo.data;

import java.util.Locale;
import java.util.Optional;
import org.smpo.io.ImageException;
import org.smpo.io.RgbImage;

/// An image of a batch. Its pixels are decoded ahead of time unless a cache holds what is computed from them.
///
/// @param encoded bytes of the image file
/// @param sha256 digest of these bytes in hexadecimal
/// @param placement how the square that is trained on is cut out
/// @param decoded the square's pixels, if they were decoded
public record PreparedImage(EncodedImage encoded, String sha256, ImagePlacement placement, Optional<RgbImage> decoded) {
    static PreparedImage of(EncodedImage encoded, ImagePlacement placement) {
        return new PreparedImage(encoded, encoded.sha256(), placement, Optional.empty());
    }

    PreparedImage decode() throws ImageException {
        return new PreparedImage(encoded, sha256, placement, Optional.of(pixels()));
    }

    /// Everything besides the encoded bytes that the pixels depend on. Equal text and equal bytes give equal
    /// pixels.
    public String transformation() {
        return "rendering " + encoded.rendering().name().toLowerCase(Locale.ROOT) + ", " + placement.key();
    }

    /// The square's pixels, decoded now if they were not before.
    ///
    /// @throws ImageException when it is not an image, is truncated, contradicts itself or is too large
    public RgbImage pixels() throws ImageException {
        return decoded.isPresent() ? decoded.get() : placement.pixels(encoded);
    }
}
