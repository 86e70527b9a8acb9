package org.smpo.io;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.Locale;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.MemoryCacheImageInputStream;
import org.smpo.io.ImageException.Reason;

/// Decodes PNG, JPEG and WebP to 8-bit RGB as Pillow's `Image.open(file).convert("RGB")` does.
///
/// Transparency is dropped, not blended. Colour profiles, gamma and the EXIF orientation are not applied. 16 bits
/// become 8 by their upper byte, except those of one channel, which Pillow clips at 255. JPEG's YCbCr becomes RGB
/// by the integer rule of libjpeg, CMYK by Pillow's.
///
/// PNG and lossless WebP give the same bytes as Pillow, and so does JPEG, except with colour halved along columns
/// only (4:4:0, which cameras make by turning a picture): there, and in lossy WebP, colour is interpolated
/// differently. A file is parsed here first: what it holds besides the picture is left out, its size is checked
/// before memory is taken, and a truncated one is refused, as Pillow refuses it, instead of being filled up with
/// grey.
///
/// Safe for use from any thread; nothing is written to disk.
public final class Images {
    /// The most pixels that are decoded unless more are asked for: 8192 x 8192.
    public static final long MAX_PIXELS = 1L << 26;

    private static final int OPAQUE = 0xff;

    static {
        // No window system is needed, and none is there on most machines that train.
        if (System.getProperty("java.awt.headless") == null) {
            System.setProperty("java.awt.headless", "true");
        }
    }

    private Images() {}

    /// A picture's format, by what the file holds.
    public enum Format {
        PNG("png"),
        JPEG("jpeg"),
        WEBP("webp");

        private final String title;

        Format(String title) {
            this.title = title;
        }

        /// The name of ImageIO's readers, and in reports.
        public String title() {
            return title;
        }
    }

    /// What a file's header says.
    ///
    /// @param width in pixels
    /// @param height in pixels
    public record Header(Format format, int width, int height) {}

    /// Reads a file's structure without decoding it.
    ///
    /// @param source named in messages
    /// @throws ImageException when it is no picture, is truncated or contradicts itself
    public static Header header(String source, byte[] file) throws ImageException {
        return ImageFile.parse(source, file).header();
    }

    /// Decodes a file of at most [#MAX_PIXELS].
    ///
    /// @see #decode(String, byte[], long)
    public static RgbImage decode(String source, byte[] file) throws ImageException {
        return decode(source, file, MAX_PIXELS);
    }

    /// Decodes a file.
    ///
    /// @param source named in messages
    /// @param maxPixels the most pixels that it may have
    /// @throws ImageException when it is no picture, is truncated, contradicts itself or has more pixels
    public static RgbImage decode(String source, byte[] file, long maxPixels) throws ImageException {
        ImageFile parsed = ImageFile.parse(source, file);
        Header header = parsed.header();
        if ((long) header.width * header.height > Math.min(maxPixels, Integer.MAX_VALUE / 4)) {
            throw new ImageException(
                    Reason.TOO_LARGE,
                    source + ": expected a picture of at most " + maxPixels + " pixels, found " + header.width + "x"
                            + header.height);
        }
        try {
            RgbImage image = switch (header.format) {
                case PNG -> png(parsed.essence(), parsed.colours());
                case JPEG -> jpeg(parsed.essence(), parsed.coding());
                case WEBP -> webp(parsed.essence());
            };
            if (image.width() != header.width || image.height() != header.height) {
                throw new IOException("its header says " + header.width + "x" + header.height + ", its data "
                        + image.width() + "x" + image.height());
            }
            return image;
        } catch (IOException | RuntimeException e) {
            // Decoders answer hostile data with index errors, null and worse; none of it may end a run.
            throw new ImageException(
                    e instanceof Truncated ? Reason.TRUNCATED : Reason.CORRUPT,
                    source + ": expected a whole " + header.format.title
                            + " picture, found one that cannot be decoded: " + reason(e),
                    e);
        }
    }

    /// What a decoder says when data is missing.
    private static final class Truncated extends IOException {
        private static final long serialVersionUID = 1L;

        Truncated(String message) {
            super(message);
        }
    }

    private static String reason(Throwable e) {
        String message = e.getMessage();
        return message == null || message.isBlank() ? e.getClass().getSimpleName() : message;
    }

    private static ImageReader reader(Format format, String packagePrefix) throws IOException {
        Iterator<ImageReader> readers = ImageIO.getImageReadersByFormatName(format.title);
        while (readers.hasNext()) {
            ImageReader reader = readers.next();
            if (reader.getClass().getName().startsWith(packagePrefix)) {
                return reader;
            }
            reader.dispose();
        }
        throw new IOException("no decoder for " + format.title + " below " + packagePrefix);
    }

    private static RgbImage png(byte[] file, int colours) throws IOException {
        ImageReader reader = reader(Format.PNG, "com.sun.imageio");
        boolean[] warned = new boolean[1];
        try (MemoryCacheImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(file))) {
            reader.addIIOReadWarningListener((from, warning) -> warned[0] = true);
            reader.setInput(in, true, true);
            BufferedImage image = reader.read(0);
            if (warned[0]) {
                throw new Truncated("its data ends early");
            }
            return ofSamples(image, colours);
        } finally {
            reader.dispose();
        }
    }

    /// The samples themselves: `BufferedImage.getRGB` would convert grey and wide ones between colour spaces.
    private static RgbImage ofSamples(BufferedImage image, int colours) throws IOException {
        Raster raster = image.getRaster();
        int width = raster.getWidth();
        int height = raster.getHeight();
        int bands = raster.getNumBands();
        int bits = raster.getSampleModel().getSampleSize(0);
        // Grey of less than 8 bits is an indexed picture to ImageIO, but its samples are the grey values.
        IndexColorModel palette = colours > 0 && image.getColorModel() instanceof IndexColorModel index ? index : null;
        if (bands > 4 || (bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16)) {
            throw new IOException("expected 1 to 4 channels of 1 to 16 bits, found " + bands + " of " + bits);
        }
        byte[] rgb = new byte[RgbImage.CHANNELS * width * height];
        int[] row = new int[width * bands];
        boolean grey = bands <= 2;
        int at = 0;
        for (int y = 0; y < height; y++) {
            raster.getPixels(0, y, width, 1, row);
            for (int x = 0; x < width; x++) {
                for (int c = 0; c < RgbImage.CHANNELS; c++) {
                    int sample = row[x * bands + (grey ? 0 : c)];
                    rgb[at++] =
                            (byte) (palette == null ? eight(sample, bits, bands) : colour(palette, colours, sample, c));
                }
            }
        }
        return RgbImage.wrap(width, height, rgb);
    }

    private static int eight(int sample, int bits, int bands) {
        if (bits == 16) {
            return bands == 1 ? Math.min(sample, OPAQUE) : sample >> 8;
        }
        return sample * OPAQUE / ((1 << bits) - 1);
    }

    /// Beyond the palette of the file is black; ImageIO's own is filled up with other colours.
    private static int colour(IndexColorModel palette, int colours, int index, int channel) {
        return index >= colours ? 0 : palette.getRGB(index) >> (16 - 8 * channel) & 0xff;
    }

    private static RgbImage jpeg(byte[] file, JpegCoding coding) throws IOException {
        ImageReader reader = reader(Format.JPEG, "com.sun.imageio");
        String[] warning = new String[1];
        try (MemoryCacheImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(file))) {
            reader.addIIOReadWarningListener((from, text) -> {
                if (text.toLowerCase(Locale.ROOT).contains("premature")
                        || text.contains("EOI")
                        || text.contains("Truncated")) {
                    warning[0] = text;
                }
            });
            reader.setInput(in, true, true);
            Raster raster = reader.readRaster(0, null);
            if (warning[0] != null) {
                throw new Truncated(warning[0]);
            }
            return coding.toRgb(raster);
        } finally {
            reader.dispose();
        }
    }

    /// How the components of a JPEG file are to be understood.
    enum JpegCoding {
        GREY(1),
        YCBCR(3),
        RGB(3),
        CMYK(4),
        YCCK(4),
        /// As Adobe writes them, upside down: 255 is no ink.
        INVERTED_CMYK(4),
        INVERTED_YCCK(4);

        private static final int SCALE_BITS = 16;
        private static final int HALF = 1 << (SCALE_BITS - 1);

        private final int components;

        JpegCoding(int components) {
            this.components = components;
        }

        private RgbImage toRgb(Raster raster) throws IOException {
            if (raster.getNumBands() != components) {
                throw new IOException("expected " + components + " components, found " + raster.getNumBands());
            }
            int width = raster.getWidth();
            int height = raster.getHeight();
            byte[] rgb = new byte[RgbImage.CHANNELS * width * height];
            int[] row = new int[width * components];
            int at = 0;
            for (int y = 0; y < height; y++) {
                raster.getPixels(0, y, width, 1, row);
                for (int x = 0; x < width; x++) {
                    pixel(row, x * components, rgb, at);
                    at += RgbImage.CHANNELS;
                }
            }
            return RgbImage.wrap(width, height, rgb);
        }

        private void pixel(int[] row, int from, byte[] rgb, int at) {
            switch (this) {
                case GREY -> {
                    rgb[at] = (byte) row[from];
                    rgb[at + 1] = (byte) row[from];
                    rgb[at + 2] = (byte) row[from];
                }
                case RGB -> {
                    rgb[at] = (byte) row[from];
                    rgb[at + 1] = (byte) row[from + 1];
                    rgb[at + 2] = (byte) row[from + 2];
                }
                case YCBCR -> ycc(row, from, rgb, at);
                case CMYK, INVERTED_CMYK -> inks(row, from, this == INVERTED_CMYK, rgb, at);
                case YCCK, INVERTED_YCCK -> {
                    // libjpeg makes CMY = 255 - RGB of the first three and leaves K.
                    ycc(row, from, rgb, at);
                    for (int c = 0; c < RgbImage.CHANNELS; c++) {
                        row[from + c] = 255 - (rgb[at + c] & 0xff);
                    }
                    inks(row, from, this == INVERTED_YCCK, rgb, at);
                }
            }
        }

        /// JFIF's matrix with 16 fractional bits, rounded where libjpeg rounds.
        private static void ycc(int[] row, int from, byte[] rgb, int at) {
            int y = row[from];
            int cb = row[from + 1] - 128;
            int cr = row[from + 2] - 128;
            rgb[at] = clip(y + ((fixed(1.40200) * cr + HALF) >> SCALE_BITS));
            rgb[at + 1] = clip(y + ((-fixed(0.34414) * cb - fixed(0.71414) * cr + HALF) >> SCALE_BITS));
            rgb[at + 2] = clip(y + ((fixed(1.77200) * cb + HALF) >> SCALE_BITS));
        }

        private static int fixed(double factor) {
            return (int) (factor * (1 << SCALE_BITS) + 0.5);
        }

        /// What is left of white under the key and under each ink, as Pillow rounds it.
        private static void inks(int[] row, int from, boolean inverted, byte[] rgb, int at) {
            int flip = inverted ? 0xff : 0;
            int white = 255 - (row[from + 3] ^ flip);
            for (int c = 0; c < RgbImage.CHANNELS; c++) {
                int product = (row[from + c] ^ flip) * white + 128;
                rgb[at + c] = clip(white - (((product >> 8) + product) >> 8));
            }
        }

        private static byte clip(int value) {
            return (byte) Math.clamp(value, 0, 255);
        }
    }

    private static RgbImage webp(byte[] file) throws IOException {
        ImageReader reader = reader(Format.WEBP, "com.twelvemonkeys");
        try (MemoryCacheImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(file))) {
            reader.setInput(in, true, true);
            BufferedImage image = reader.read(0);
            Raster raster = image.getRaster();
            if (raster.getNumBands() < RgbImage.CHANNELS) {
                throw new IOException("expected 3 or 4 channels, found " + raster.getNumBands());
            }
            return ofSamples(image, 0);
        } finally {
            reader.dispose();
        }
    }

    /// The first bytes as text, for messages.
    static String shown(byte[] file) {
        int length = Math.min(file.length, 16);
        String text = new String(file, 0, length, StandardCharsets.ISO_8859_1);
        StringBuilder shown = new StringBuilder();
        text.chars().forEach(c -> shown.append(c >= ' ' && c <= '~' ? (char) c : '.'));
        return shown.toString();
    }
}
