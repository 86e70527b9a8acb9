package org.smpo.io;

import java.util.Arrays;

/// Resizes images with the same result as Pillow's `Image.resize`, which torchvision's `Resize` and the image
/// processors of transformers apply to a PIL image.
///
/// An image is resized along its rows and then along its columns (a very tall one in the opposite order);
/// between the two it is rounded to 8 bits. When it shrinks, the filter is widened by the ratio
/// (antialiasing). Weights are computed in double, normalized to a sum of 1 and rounded to fixed point with 22
/// fractional bits; sums are exact in 32-bit integers, so the result does not depend on the machine. Algorithm: Pillow,
/// `src/libImaging/Resample.c`.
public final class Resample {
    /// 32 bits minus 8 for the pixel, one for the sign and one for sums of weights above 1 (the lobes of the
    /// bicubic).
    private static final int FRACTION_BITS = 22;

    private static final int ROUNDING = 1 << (FRACTION_BITS - 1);
    private static final int CHANNELS = RgbImage.CHANNELS;

    private Resample() {}

    /// Resampling filters, with their names in Pillow.
    public enum Filter {
        /// A triangle of width 2, torchvision's default.
        BILINEAR(1) {
            @Override
            double weight(double x) {
                double distance = Math.abs(x);
                return distance < 1 ? 1 - distance : 0;
            }
        },
        /// Keys' cubic with a = -½ and width 4, which CLIP's processor uses.
        BICUBIC(2) {
            @Override
            double weight(double x) {
                double distance = Math.abs(x);
                if (distance < 1) {
                    return ((A + 2) * distance - (A + 3)) * distance * distance + 1;
                }
                return distance < 2 ? (((distance - 5) * distance + 8) * distance - 4) * A : 0;
            }
        };

        private static final double A = -0.5;

        /// Half the width of the filter, in source pixels when the image does not shrink.
        final double support;

        Filter(double support) {
            this.support = support;
        }

        abstract double weight(double x);
    }

    /// Resizes an image.
    ///
    /// @throws IllegalArgumentException when a side is not positive, or the result has more than 2^31 - 1
    ///     bytes
    public static RgbImage resize(RgbImage image, int width, int height, Filter filter) {
        if (width < 1
                || height < 1
                || (long) CHANNELS * width * Math.max(height, image.height()) > Integer.MAX_VALUE
                || (long) CHANNELS * Math.max(width, image.width()) * height > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("resize: expected positive sides and at most 2^31 - 1 bytes, got "
                    + image.width() + "x" + image.height() + " to " + width + "x" + height + " (width x height)");
        }
        if (columnsFirst(image, width, height)) {
            return alongRows(alongColumns(image, height, filter), width, filter);
        }
        return alongColumns(alongRows(image, width, filter), height, filter);
    }

    /// Whether Pillow 13 resizes the columns first: when the height shrinks by more than twice as much as
    /// the width, which holds for images more than twice as tall as wide that keep their proportions. Up to
    /// Pillow 12 the rows came first for these too; some of their pixels differ by one.
    private static boolean columnsFirst(RgbImage image, int width, int height) {
        return height < image.height() && image.height() - height > 2L * (image.width() - width);
    }

    /// Resizes an image to a length of its shorter side; the longer side follows from the proportions and is
    /// rounded down, as torchvision's `Resize(size)` and CLIP's processor with `shortest_edge` do.
    ///
    /// @throws IllegalArgumentException when the side is not positive, or the result has more than 2^31 - 1
    ///     bytes
    public static RgbImage shorterSide(RgbImage image, int side, Filter filter) {
        boolean upright = image.width() <= image.height();
        long shorter = upright ? image.width() : image.height();
        long longer = upright ? image.height() : image.width();
        long scaled = side * longer / shorter;
        if (scaled > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(
                    "resize: expected sides below 2^31, got " + image + " to a shorter side of " + side);
        }
        return upright ? resize(image, side, (int) scaled, filter) : resize(image, (int) scaled, side, filter);
    }

    /// The first source pixel of each target pixel, and the weights from there.
    private static final class Taps {
        private final int[] first;
        private final int[][] weights;

        Taps(int from, int to, Filter filter) {
            first = new int[to];
            weights = new int[to][];
            double scale = (double) from / to;
            double stretch = Math.max(scale, 1);
            double support = filter.support * stretch;
            double shrink = 1 / stretch;
            for (int target = 0; target < to; target++) {
                double centre = (target + 0.5) * scale;
                int begin = Math.max((int) (centre - support + 0.5), 0);
                int end = Math.min((int) (centre + support + 0.5), from);
                double[] exact = new double[end - begin];
                double sum = 0;
                for (int i = 0; i < exact.length; i++) {
                    exact[i] = filter.weight((i + begin - centre + 0.5) * shrink);
                    sum += exact[i];
                }
                first[target] = begin;
                weights[target] = new int[exact.length];
                for (int i = 0; i < exact.length; i++) {
                    double normalized = sum == 0 ? exact[i] : exact[i] / sum;
                    double scaled = normalized * (1 << FRACTION_BITS);
                    weights[target][i] = (int) (scaled < 0 ? scaled - 0.5 : scaled + 0.5);
                }
            }
        }
    }

    private static RgbImage alongRows(RgbImage image, int width, Filter filter) {
        if (width == image.width()) {
            return image;
        }
        Taps taps = new Taps(image.width(), width, filter);
        int height = image.height();
        byte[] source = image.bytes();
        byte[] target = new byte[CHANNELS * width * height];
        int at = 0;
        for (int y = 0; y < height; y++) {
            int row = CHANNELS * y * image.width();
            for (int x = 0; x < width; x++) {
                int[] weights = taps.weights[x];
                int pixel = row + CHANNELS * taps.first[x];
                int red = ROUNDING;
                int green = ROUNDING;
                int blue = ROUNDING;
                for (int weight : weights) {
                    red += (source[pixel] & 0xff) * weight;
                    green += (source[pixel + 1] & 0xff) * weight;
                    blue += (source[pixel + 2] & 0xff) * weight;
                    pixel += CHANNELS;
                }
                target[at++] = clip(red);
                target[at++] = clip(green);
                target[at++] = clip(blue);
            }
        }
        return RgbImage.wrap(width, height, target);
    }

    private static RgbImage alongColumns(RgbImage image, int height, Filter filter) {
        if (height == image.height()) {
            return image;
        }
        Taps taps = new Taps(image.height(), height, filter);
        int stride = CHANNELS * image.width();
        byte[] source = image.bytes();
        byte[] target = new byte[stride * height];
        int[] sums = new int[stride];
        for (int y = 0; y < height; y++) {
            Arrays.fill(sums, ROUNDING);
            int row = stride * taps.first[y];
            for (int weight : taps.weights[y]) {
                for (int i = 0; i < stride; i++) {
                    sums[i] += (source[row + i] & 0xff) * weight;
                }
                row += stride;
            }
            for (int i = 0; i < stride; i++) {
                target[y * stride + i] = clip(sums[i]);
            }
        }
        return RgbImage.wrap(image.width(), height, target);
    }

    private static byte clip(int sum) {
        return (byte) Math.clamp(sum >> FRACTION_BITS, 0, 255);
    }
}
