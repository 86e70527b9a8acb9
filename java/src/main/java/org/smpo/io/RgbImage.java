package org.smpo.io;

import java.awt.image.BufferedImage;
import java.util.Arrays;

/// An image with 8 bits per channel: red, green, blue, row by row from the top.
public final class RgbImage {
    static final int CHANNELS = 3;

    private static final float MAX = 255f;

    private final int width;
    private final int height;
    private final byte[] rgb;

    private RgbImage(int width, int height, byte[] rgb) {
        this.width = width;
        this.height = height;
        this.rgb = rgb;
    }

    /// An image with a copy of these bytes, [height, width, 3].
    ///
    /// @throws IllegalArgumentException when their number is not 3 height width, or a side is not positive
    public static RgbImage of(int width, int height, byte[] rgb) {
        requireLength(width, height, rgb.length);
        return new RgbImage(width, height, rgb.clone());
    }

    /// An image that wraps the array, which nobody may write to afterwards.
    static RgbImage wrap(int width, int height, byte[] rgb) {
        requireLength(width, height, rgb.length);
        return new RgbImage(width, height, rgb);
    }

    /// Converts the output of the VAE's decoder to an image as diffusers' `VaeImageProcessor` does: x / 2 +
    /// 0.5, clamped to
    /// 0..1, times 255, rounded half to even, every step in float32.
    ///
    /// @param chw pixels, about -1 to 1, [3, height, width]
    /// @throws IllegalArgumentException when their number is not 3 height width, or one of them is NaN, which
    ///     diffusers turns into a black pixel
    public static RgbImage ofDecoded(float[] chw, int height, int width) {
        requireLength(width, height, chw.length);
        int plane = height * width;
        byte[] rgb = new byte[CHANNELS * plane];
        for (int channel = 0; channel < CHANNELS; channel++) {
            for (int pixel = 0; pixel < plane; pixel++) {
                float x = chw[channel * plane + pixel];
                if (Float.isNaN(x)) {
                    throw new IllegalArgumentException("expected pixels, found NaN in channel " + channel + ", row "
                            + pixel / width + ", column " + pixel % width
                            + ": the VAE overflowed; decode in float32 or with a VAE made for half precision");
                }
                float unit = Math.clamp(x * 0.5f + 0.5f, 0f, 1f);
                rgb[CHANNELS * pixel + channel] = (byte) (int) Math.rint(unit * MAX);
            }
        }
        return new RgbImage(width, height, rgb);
    }

    /// Converts an AWT image; transparency is dropped.
    static RgbImage of(BufferedImage image) {
        int width = image.getWidth();
        int height = image.getHeight();
        byte[] rgb = new byte[CHANNELS * width * height];
        int[] row = new int[width];
        for (int y = 0; y < height; y++) {
            image.getRGB(0, y, width, 1, row, 0, width);
            for (int x = 0; x < width; x++) {
                int at = CHANNELS * (y * width + x);
                rgb[at] = (byte) (row[x] >> 16);
                rgb[at + 1] = (byte) (row[x] >> 8);
                rgb[at + 2] = (byte) row[x];
            }
        }
        return new RgbImage(width, height, rgb);
    }

    BufferedImage toBufferedImage() {
        BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
        int[] row = new int[width];
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int at = CHANNELS * (y * width + x);
                row[x] = (rgb[at] & 0xff) << 16 | (rgb[at + 1] & 0xff) << 8 | (rgb[at + 2] & 0xff);
            }
            image.setRGB(0, y, width, 1, row, 0, width);
        }
        return image;
    }

    public int width() {
        return width;
    }

    public int height() {
        return height;
    }

    /// A copy of the bytes, [height, width, 3].
    public byte[] rgb() {
        return rgb.clone();
    }

    /// The bytes themselves, [height, width, 3], which nobody may write to.
    byte[] bytes() {
        return rgb;
    }

    /// The part of this image that begins at (left, top).
    ///
    /// @throws IllegalArgumentException when the part is empty or not entirely inside
    public RgbImage crop(int left, int top, int cropWidth, int cropHeight) {
        if (left < 0
                || top < 0
                || cropWidth < 1
                || cropHeight < 1
                || cropWidth > width - left
                || cropHeight > height - top) {
            throw new IllegalArgumentException("crop: expected a part of " + this + ", got " + cropWidth + "x"
                    + cropHeight + " at (" + left + ", " + top + ")");
        }
        byte[] part = new byte[CHANNELS * cropWidth * cropHeight];
        int stride = CHANNELS * cropWidth;
        for (int y = 0; y < cropHeight; y++) {
            System.arraycopy(rgb, CHANNELS * ((top + y) * width + left), part, y * stride, stride);
        }
        return new RgbImage(cropWidth, cropHeight, part);
    }

    /// Start of the middle `cropLength` of `length` pixels: half the rest, rounded half to even as
    /// torchvision's `CenterCrop`
    /// does (CLIP's processor rounds down).
    ///
    /// @throws IllegalArgumentException when the part is not 1 to `length` pixels long
    public static int centreCropStart(int length, int cropLength) {
        if (cropLength < 1 || cropLength > length) {
            throw new IllegalArgumentException("crop: expected 1 to " + length + " pixels, got " + cropLength);
        }
        return (int) Math.rint((length - cropLength) / 2.0);
    }

    /// This image with left and right exchanged.
    public RgbImage mirrored() {
        byte[] mirror = new byte[rgb.length];
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int from = CHANNELS * (y * width + x);
                int to = CHANNELS * (y * width + width - 1 - x);
                mirror[to] = rgb[from];
                mirror[to + 1] = rgb[from + 1];
                mirror[to + 2] = rgb[from + 2];
            }
        }
        return new RgbImage(width, height, mirror);
    }

    /// This image turned and mirrored by an EXIF orientation.
    ///
    /// @param orientation 1 to 8; 1 leaves the image as it is
    RgbImage oriented(int orientation) {
        if (orientation == 1) {
            return this;
        }
        boolean swapped = orientation > 4;
        int newWidth = swapped ? height : width;
        int newHeight = swapped ? width : height;
        byte[] turned = new byte[rgb.length];
        for (int y = 0; y < newHeight; y++) {
            for (int x = 0; x < newWidth; x++) {
                int fromX = switch (orientation) {
                    case 2, 3 -> width - 1 - x;
                    case 4 -> x;
                    case 5, 6 -> y;
                    default -> width - 1 - y;
                };
                int fromY = switch (orientation) {
                    case 2 -> y;
                    case 3, 4 -> height - 1 - y;
                    case 5, 8 -> x;
                    default -> height - 1 - x;
                };
                System.arraycopy(
                        rgb, CHANNELS * (fromY * width + fromX), turned, CHANNELS * (y * newWidth + x), CHANNELS);
            }
        }
        return new RgbImage(newWidth, newHeight, turned);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof RgbImage image
                && image.width == width
                && image.height == height
                && Arrays.equals(image.rgb, rgb);
    }

    @Override
    public int hashCode() {
        return 31 * (31 * width + height) + Arrays.hashCode(rgb);
    }

    @Override
    public String toString() {
        return "RgbImage " + width + "x" + height;
    }

    private static void requireLength(int width, int height, int length) {
        if (width < 1 || height < 1 || length != (long) CHANNELS * width * height) {
            throw new IllegalArgumentException("expected " + CHANNELS + " x " + height + " x " + width
                    + " values of an image with positive sides, got " + length);
        }
    }
}
