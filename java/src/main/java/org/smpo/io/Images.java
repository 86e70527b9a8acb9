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

/// Decodes PNG, JPEG and WebP to 8-bit RGB, as Pillow's `Image.open(file).convert("RGB")` does or as a
/// viewer shows them ([Rendering]).
///
/// Colour profiles and gamma are not applied. 16-bit samples become 8-bit by their upper byte, except those
/// of one channel in Pillow's rendering. YCbCr of JPEG becomes RGB by the integer rule of libjpeg, CMYK by
/// Pillow's.
///
/// PNG, lossless WebP and JPEG give the same bytes as Pillow, except JPEG with colour halved along columns
/// only (4:4:0, which cameras write when they rotate an image): there, and in lossy WebP, colour is
/// interpolated differently. A file is parsed before it is decoded: everything besides the image is left
/// out, its size is checked before memory is allocated, and a truncated file is refused, as Pillow refuses
/// it, instead of being filled with grey.
///
/// Safe for use from any thread; nothing is written to disk.
public final class Images {
    /// Default limit on the number of pixels: 8192 x 8192.
    public static final long MAX_PIXELS = 1L << 26;

    /// Version of the decoder. A change that can alter a decoded pixel increases it.
    public static final int VERSION = 2;

    private static final int OPAQUE = 0xff;

    private static final byte[] NO_TRANSPARENCY = {};

    /// Positions of the last letter of the chunk's kind and of its content in a WebP file of one chunk.
    private static final int WEBP_KIND_AT = 15;

    private static final int WEBP_DATA_AT = 20;

    static {
        // Most machines that train have no window system.
        if (System.getProperty("java.awt.headless") == null) {
            System.setProperty("java.awt.headless", "true");
        }
    }

    private Images() {}

    /// Format of an image file, recognized by its content.
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

    /// Format and size of an image, from the header of its file.
    ///
    /// @param format format of the file
    /// @param width width in pixels
    /// @param height height in pixels
    public record Header(Format format, int width, int height) {}

    /// Reads a file's structure without decoding it.
    ///
    /// @param source name of the file, for messages
    /// @return format, and size of the decoded image
    /// @throws ImageException when it is not an image, is truncated or contradicts itself
    public static Header header(String source, byte[] file, Rendering rendering) throws ImageException {
        ImageFile parsed = ImageFile.parse(source, file);
        Header header = parsed.header();
        boolean turned = rendering == Rendering.VIEWER && parsed.orientation() > 4;
        return turned ? new Header(header.format, /* width= */ header.height, /* height= */ header.width) : header;
    }

    /// Features that a viewer shows and Pillow ignores by default.
    ///
    /// @param turned whether the EXIF orientation turns or mirrors the image
    /// @param transparent whether a pixel is transparent
    /// @param wideGrey whether the image is grey with 16 bits
    public record Traits(boolean turned, boolean transparent, boolean wideGrey) {}

    /// Decodes a file of at most [#MAX_PIXELS] to find its traits.
    ///
    /// @param source name of the file, for messages
    /// @throws ImageException when it is not an image, is truncated, contradicts itself or has more pixels
    public static Traits traits(String source, byte[] file) throws ImageException {
        ImageFile parsed = ImageFile.parse(source, file);
        Decoded decoded = decode(source, parsed, MAX_PIXELS, Rendering.PILLOW);
        return new Traits(parsed.orientation() != 1, decoded.transparent, decoded.wideGrey);
    }

    /// Decodes a file.
    ///
    /// @param source name of the file, for messages
    /// @param maxPixels number of pixels above which the image is refused
    /// @throws ImageException when it is not an image, is truncated, contradicts itself or has more pixels
    public static RgbImage decode(String source, byte[] file, long maxPixels, Rendering rendering)
            throws ImageException {
        ImageFile parsed = ImageFile.parse(source, file);
        RgbImage image = decode(source, parsed, maxPixels, rendering).image;
        return rendering == Rendering.VIEWER ? image.oriented(parsed.orientation()) : image;
    }

    /// A decoded image and what its samples tell.
    private record Decoded(RgbImage image, boolean transparent, boolean wideGrey) {}

    private static Decoded decode(String source, ImageFile parsed, long maxPixels, Rendering rendering)
            throws ImageException {
        Header header = parsed.header();
        if ((long) header.width * header.height > Math.min(maxPixels, Integer.MAX_VALUE / 4)) {
            throw new ImageException(
                    Reason.TOO_LARGE,
                    source + ": expected an image of at most " + maxPixels + " pixels, found " + header.width + "x"
                            + header.height);
        }
        try {
            Decoded decoded = switch (header.format) {
                case PNG -> png(parsed, rendering);
                case JPEG -> new Decoded(jpeg(parsed.essence(), parsed.coding()), false, false);
                case WEBP -> webp(parsed, rendering);
            };
            RgbImage image = decoded.image;
            if (image.width() != header.width || image.height() != header.height) {
                throw new IOException("its header has " + header.width + "x" + header.height + " pixels, its data "
                        + image.width() + "x" + image.height());
            }
            return decoded;
        } catch (IOException | RuntimeException e) {
            // A sound image must not be taken for a corrupt one, depending on the size of the heap.
            Causes.exhaustedHeap(e).ifPresent(exhausted -> {
                throw exhausted;
            });
            // Decoders answer hostile data with index errors, null and worse; none of it may end a run.
            throw new ImageException(
                    e instanceof Truncated ? Reason.TRUNCATED : Reason.CORRUPT,
                    source + ": expected a whole " + header.format.title + " image, found one that cannot be decoded: "
                            + reason(e),
                    e);
        }
    }

    /// Data is missing.
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

    private static Decoded png(ImageFile file, Rendering rendering) throws IOException {
        ImageReader reader = reader(Format.PNG, "com.sun.imageio");
        boolean[] warned = new boolean[1];
        try (MemoryCacheImageInputStream in =
                new MemoryCacheImageInputStream(new ByteArrayInputStream(file.essence()))) {
            reader.addIIOReadWarningListener((from, warning) -> warned[0] = true);
            reader.setInput(in, true, true);
            BufferedImage image = reader.read(0);
            if (warned[0]) {
                throw new Truncated("its data ends early");
            }
            return ofSamples(image, file.colours(), file.transparency(), rendering);
        } finally {
            reader.dispose();
        }
    }

    /// Converts the samples themselves: `BufferedImage.getRGB` would convert grey and 16-bit samples between
    /// colour spaces.
    ///
    /// @param colours number of colours of a palette; 0: none
    /// @param transparency content of a `tRNS` chunk; empty: none
    private static Decoded ofSamples(BufferedImage image, int colours, byte[] transparency, Rendering rendering)
            throws IOException {
        Raster raster = image.getRaster();
        int width = raster.getWidth();
        int height = raster.getHeight();
        int bands = raster.getNumBands();
        int bits = raster.getSampleModel().getSampleSize(0);
        // ImageIO treats grey of less than 8 bits as indexed, but its samples are the grey values.
        IndexColorModel palette = colours > 0 && image.getColorModel() instanceof IndexColorModel index ? index : null;
        if (bands > 4 || (bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16)) {
            throw new IOException("expected 1 to 4 channels of 1 to 16 bits, found " + bands + " of " + bits);
        }
        Alpha alpha = new Alpha(transparency, bands, bits, palette != null);
        byte[] rgb = new byte[RgbImage.CHANNELS * width * height];
        int[] row = new int[width * bands];
        boolean grey = bands <= 2;
        boolean wideGrey = bits == 16 && bands == 1;
        boolean scaled = rendering == Rendering.VIEWER;
        boolean transparent = false;
        int at = 0;
        for (int y = 0; y < height; y++) {
            raster.getPixels(0, y, width, 1, row);
            for (int x = 0; x < width; x++) {
                int opacity = alpha.of(row, x * bands);
                transparent |= opacity < OPAQUE;
                for (int c = 0; c < RgbImage.CHANNELS; c++) {
                    int sample = row[x * bands + (grey ? 0 : c)];
                    int value = palette != null
                            ? colour(palette, colours, sample, c)
                            : wideGrey && !scaled ? Math.min(sample, OPAQUE) : eight(sample, bits);
                    rgb[at++] = (byte) (scaled ? onWhite(value, opacity) : value);
                }
            }
        }
        return new Decoded(RgbImage.wrap(width, height, rgb), transparent, wideGrey);
    }

    /// The opacity of pixels, from their own channel or from the `tRNS` chunk of a PNG file.
    private static final class Alpha {
        private final byte[] transparency;
        private final int bands;
        private final int bits;
        private final boolean indexed;

        Alpha(byte[] transparency, int bands, int bits, boolean indexed) {
            this.transparency = transparency;
            this.bands = bands;
            this.bits = bits;
            this.indexed = indexed;
        }

        int of(int[] row, int at) {
            if (bands == 2 || bands == 4) {
                return eight(row[at + bands - 1], bits);
            }
            if (indexed) {
                return row[at] < transparency.length ? transparency[row[at]] & OPAQUE : OPAQUE;
            }
            if (transparency.length < 2 * bands) {
                return OPAQUE;
            }
            for (int c = 0; c < bands; c++) {
                int key = (transparency[2 * c] & 0xff) << 8 | (transparency[2 * c + 1] & 0xff);
                if (row[at + c] != key) {
                    return OPAQUE;
                }
            }
            return 0;
        }
    }

    private static int onWhite(int value, int opacity) {
        return (value * opacity + OPAQUE * (OPAQUE - opacity) + OPAQUE / 2) / OPAQUE;
    }

    private static int eight(int sample, int bits) {
        return bits == 16 ? sample >> 8 : sample * OPAQUE / ((1 << bits) - 1);
    }

    /// Indices beyond the palette of the file are black; ImageIO fills its palette with other colours.
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

    /// Meaning of the components of a JPEG file.
    enum JpegCoding {
        GREY(1),
        YCBCR(3),
        RGB(3),
        CMYK(4),
        YCCK(4),
        /// Inverted as Adobe writes them: 255 means no ink.
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

        /// Converts inks to colours: white minus the key and each ink, rounded as Pillow does.
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

    private static Decoded webp(ImageFile file, Rendering rendering) throws IOException {
        byte[] essence = file.essence();
        return essence[WEBP_KIND_AT] == 'L' ? losslessWebp(file, rendering) : lossyWebp(file, rendering);
    }

    private static Decoded losslessWebp(ImageFile file, Rendering rendering) throws IOException {
        byte[] essence = file.essence();
        Header header = file.header();
        int[] pixels =
                WebpLossless.decode(essence, WEBP_DATA_AT, essence.length - WEBP_DATA_AT, header.width, header.height);
        byte[] rgb = new byte[RgbImage.CHANNELS * pixels.length];
        byte[] opacity = new byte[pixels.length];
        for (int i = 0; i < pixels.length; i++) {
            opacity[i] = (byte) (pixels[i] >>> 24);
            for (int c = 0; c < RgbImage.CHANNELS; c++) {
                rgb[RgbImage.CHANNELS * i + c] = (byte) (pixels[i] >> (16 - 8 * c));
            }
        }
        return blended(header, rgb, opacity, rendering);
    }

    /// Blends an image with opacity on white where a viewer does.
    private static Decoded blended(Header header, byte[] rgb, byte[] opacity, Rendering rendering) {
        boolean transparent = false;
        for (int i = 0; i < opacity.length; i++) {
            int of = opacity[i] & OPAQUE;
            transparent |= of < OPAQUE;
            for (int at = RgbImage.CHANNELS * i; at < RgbImage.CHANNELS * (i + 1); at++) {
                rgb[at] = rendering == Rendering.VIEWER ? (byte) onWhite(rgb[at] & 0xff, of) : rgb[at];
            }
        }
        return new Decoded(RgbImage.wrap(header.width, header.height, rgb), transparent, false);
    }

    private static Decoded lossyWebp(ImageFile file, Rendering rendering) throws IOException {
        ImageReader reader = reader(Format.WEBP, "com.twelvemonkeys");
        Header header = file.header();
        long maxReadsPastEnd = 8L * header.width * header.height + (1 << 16);
        try (EndedStream in = new EndedStream(file.essence(), maxReadsPastEnd)) {
            reader.setInput(in, true, true);
            BufferedImage image = reader.read(0);
            if (image.getRaster().getNumBands() < RgbImage.CHANNELS) {
                throw new IOException(
                        "expected 3 or 4 channels, found " + image.getRaster().getNumBands());
            }
            Decoded decoded = ofSamples(image, 0, NO_TRANSPARENCY, Rendering.PILLOW);
            if (file.transparency().length == 0) {
                return decoded;
            }
            byte[] opacity = WebpOpacity.decode(file.transparency(), header.width, header.height);
            return blended(header, decoded.image.rgb(), opacity, rendering);
        } finally {
            reader.dispose();
        }
    }

    /// A stream that stops a decoder which ignores its end: TwelveMonkeys continues with zeros, for hours in
    /// some files of a few bytes. Valid files are read a little past their end.
    private static final class EndedStream extends MemoryCacheImageInputStream {
        private long left;

        EndedStream(byte[] file, long maxReadsPastEnd) {
            super(new ByteArrayInputStream(file));
            left = maxReadsPastEnd;
        }

        @Override
        public int read() throws IOException {
            return counted(super.read());
        }

        @Override
        public int read(byte[] bytes, int from, int length) throws IOException {
            return counted(super.read(bytes, from, length));
        }

        private int counted(int read) {
            if (read < 0 && --left < 0) {
                throw new IllegalStateException("its data ends early");
            }
            return read;
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
