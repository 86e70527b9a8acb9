package org.smpo.io;

/// Resizes images in float with the values of torchvision's antialiased `resize` of a float tensor. The
/// filters are those of [Resample], but nothing is rounded to 8 bits.
///
/// Torch computes the positions and weights of a filter in float32, whose rounding shows in the fifth
/// decimal of a pixel; they are computed in the same way here. Algorithm: torch 2.11,
/// `aten/src/ATen/native/cpu/UpSampleKernel.cpp`.
public final class FloatResample {
    private static final int CHANNELS = RgbImage.CHANNELS;

    private FloatResample() {}

    /// Resizes an image along its rows and then along its columns.
    ///
    /// @return values of 0..1, with overshoot at edges, [3, height, width]
    /// @throws IllegalArgumentException when a side is not positive, or an array would have more than
    ///     2^31 - 1 values
    public static float[] resize(RgbImage image, int width, int height, Resample.Filter filter) {
        if (width < 1 || height < 1 || (long) CHANNELS * width * Math.max(height, image.height()) > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("resize: expected positive sides and at most 2^31 - 1 values, got "
                    + image.width() + "x" + image.height() + " to " + width + "x" + height + " (width x height)");
        }
        Taps across = new Taps(image.width(), width, filter);
        Taps down = new Taps(image.height(), height, filter);
        byte[] source = image.bytes();
        float[] narrow = new float[CHANNELS * image.height() * width];
        for (int channel = 0; channel < CHANNELS; channel++) {
            for (int y = 0; y < image.height(); y++) {
                for (int x = 0; x < width; x++) {
                    double sum = 0;
                    int pixel = CHANNELS * (y * image.width() + across.first[x]) + channel;
                    for (float weight : across.weights[x]) {
                        sum += (source[pixel] & 0xff) / 255f * (double) weight;
                        pixel += CHANNELS;
                    }
                    narrow[(channel * image.height() + y) * width + x] = (float) sum;
                }
            }
        }
        float[] target = new float[CHANNELS * height * width];
        for (int channel = 0; channel < CHANNELS; channel++) {
            for (int y = 0; y < height; y++) {
                for (int x = 0; x < width; x++) {
                    double sum = 0;
                    int value = (channel * image.height() + down.first[y]) * width + x;
                    for (float weight : down.weights[y]) {
                        sum += narrow[value] * (double) weight;
                        value += width;
                    }
                    target[(channel * height + y) * width + x] = (float) sum;
                }
            }
        }
        return target;
    }

    /// The first source pixel of each target pixel, and the weights from there.
    private static final class Taps {
        private final int[] first;
        private final float[][] weights;

        Taps(int from, int to, Resample.Filter filter) {
            first = new int[to];
            weights = new float[to][];
            float scale = (float) from / to;
            float support = (float) (filter.support * Math.max(scale, 1));
            float shrink = scale >= 1 ? 1 / scale : 1;
            for (int target = 0; target < to; target++) {
                float centre = (float) (scale * (target + 0.5));
                int begin = Math.max((int) (centre - support + 0.5), 0);
                int end = Math.min((int) (centre + support + 0.5), from);
                float[] own = new float[end - begin];
                float sum = 0;
                for (int i = 0; i < own.length; i++) {
                    own[i] = (float) filter.weight((float) ((i + begin - centre + 0.5) * shrink));
                    sum += own[i];
                }
                for (int i = 0; i < own.length && sum != 0; i++) {
                    own[i] /= sum;
                }
                first[target] = begin;
                weights[target] = own;
            }
        }
    }
}
