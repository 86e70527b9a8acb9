package org.smpo.cache;

import java.nio.ByteBuffer;
import org.smpo.io.Digest;
import org.smpo.io.RgbImage;

/// The identity of a picture: its size and pixels, whatever file they came from.
final class Pictures {
    private Pictures() {}

    static String digest(RgbImage picture) {
        return new Digest()
                .update(ByteBuffer.allocate(2 * Integer.BYTES)
                        .putInt(picture.width())
                        .putInt(picture.height())
                        .flip())
                .update(ByteBuffer.wrap(picture.rgb()))
                .hex();
    }
}
