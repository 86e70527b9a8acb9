package org.smpo.io;

import java.io.IOException;

/// Decodes the opacity of a lossy WebP image, which its ALPH chunk has: samples as they are or losslessly
/// compressed, each the difference from a prediction. Source: RFC 9649, section 2.7.1.2.
final class WebpOpacity {
    private static final int COMPRESSIONS = 2;

    /// What a sample is predicted from, in the order of the chunk's numbers.
    private enum Filter {
        NONE,
        LEFT,
        ABOVE,
        GRADIENT
    }

    private WebpOpacity() {}

    /// Decodes the content of the chunk.
    ///
    /// @return `width * height` bytes, 0 for a transparent pixel to 255 for an opaque one
    /// @throws IOException when the data ends early or contradicts itself
    static byte[] decode(byte[] chunk, int width, int height) throws IOException {
        if (chunk.length == 0) {
            throw new IOException("its opacity is empty");
        }
        int compression = chunk[0] & 3;
        if (compression >= COMPRESSIONS) {
            throw new IOException("the compression of its opacity is unknown");
        }
        byte[] samples = compression == 0 ? plain(chunk, width * height) : compressed(chunk, width, height);
        addPredictions(samples, width, Filter.values()[chunk[0] >> 2 & 3]);
        return samples;
    }

    private static byte[] plain(byte[] chunk, int count) throws IOException {
        if (chunk.length - 1 < count) {
            throw new IOException("its opacity ends early");
        }
        byte[] samples = new byte[count];
        System.arraycopy(chunk, 1, samples, 0, count);
        return samples;
    }

    /// The samples are the green channel of a lossless image without a header.
    private static byte[] compressed(byte[] chunk, int width, int height) throws IOException {
        int[] pixels = WebpLossless.decodeWithoutHeader(chunk, 1, chunk.length - 1, width, height);
        byte[] samples = new byte[pixels.length];
        for (int i = 0; i < pixels.length; i++) {
            samples[i] = (byte) (pixels[i] >> 8);
        }
        return samples;
    }

    private static void addPredictions(byte[] samples, int width, Filter filter) {
        if (filter == Filter.NONE) {
            return;
        }
        for (int i = 1; i < samples.length; i++) {
            int column = i % width;
            int prediction;
            if (i < width) {
                prediction = samples[i - 1];
            } else if (column == 0) {
                prediction = samples[i - width];
            } else {
                int left = samples[i - 1] & 0xff;
                int above = samples[i - width] & 0xff;
                prediction = switch (filter) {
                    case NONE -> 0;
                    case LEFT -> left;
                    case ABOVE -> above;
                    case GRADIENT -> Math.clamp(left + above - (samples[i - width - 1] & 0xff), 0, 255);
                };
            }
            samples[i] += (byte) prediction;
        }
    }
}
