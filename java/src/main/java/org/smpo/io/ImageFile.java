package org.smpo.io;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.zip.CRC32;
import org.smpo.io.ImageException.Reason;
import org.smpo.io.Images.Format;
import org.smpo.io.Images.Header;
import org.smpo.io.Images.JpegCoding;

/// The structure of an image file, parsed with every length checked, and its essence: the same file without
/// everything that does not belong to the image's own samples (profiles, text, thumbnails, transparency of a
/// colour).
///
/// Pillow ignores those parts too, and decoders are attacked through them: text that unpacks to gigabytes,
/// profiles with a false length.
final class ImageFile {
    private static final int MAX_SIDE = 1 << 20;

    private static final byte[] PNG_SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    private static final int PNG_CHUNK_OVERHEAD = 12;
    private static final int IHDR_LENGTH = 13;

    private static final int JPEG_START_OF_IMAGE = 0xd8;
    private static final int JPEG_END_OF_IMAGE = 0xd9;
    private static final int JPEG_START_OF_SCAN = 0xda;

    /// Encoders write at most about 20 scans; each one costs a pass over all coefficients.
    private static final int MAX_JPEG_SCANS = 100;

    private final Header header;
    private final byte[] essence;
    private final JpegCoding coding;
    private final int colours;
    private int orientation = 1;
    private byte[] transparency = new byte[0];

    private ImageFile(Header header, byte[] essence, JpegCoding coding, int colours) {
        this.header = header;
        this.essence = essence;
        this.coding = coding;
        this.colours = colours;
    }

    /// EXIF orientation, 1 to 8; 1 when there is none.
    int orientation() {
        return orientation;
    }

    /// The content of the `tRNS` chunk of a PNG file or the `ALPH` chunk of a WebP file; empty when there is
    /// none.
    byte[] transparency() {
        return transparency;
    }

    private ImageFile with(int exifOrientation, byte[] transparencyChunk) {
        orientation = exifOrientation;
        transparency = transparencyChunk;
        return this;
    }

    Header header() {
        return header;
    }

    /// The bytes for the decoder.
    byte[] essence() {
        return essence;
    }

    /// Coding of a JPEG file, or null.
    JpegCoding coding() {
        return coding;
    }

    /// Number of colours in the palette of an indexed PNG, or 0.
    int colours() {
        return colours;
    }

    static ImageFile parse(String source, byte[] file) throws ImageException {
        if (file.length == 0) {
            throw new ImageException(Reason.EMPTY, source + ": expected an image, found no bytes");
        }
        if (file.length >= 3 && u8(file, 0) == 0xff && u8(file, 1) == JPEG_START_OF_IMAGE && u8(file, 2) == 0xff) {
            return jpeg(source, file);
        }
        if (startsWith(file, 0, PNG_SIGNATURE)) {
            return png(source, file);
        }
        if (file.length >= 12 && word(file, 0).equals("RIFF") && word(file, 8).equals("WEBP")) {
            return webp(source, file);
        }
        String found = FileContent.describe(file)
                .orElseGet(() -> file.length + " bytes that begin with \"" + Images.shown(file) + "\"");
        throw new ImageException(Reason.FORMAT, source + ": expected PNG, JPEG or WebP, found " + found);
    }

    private static ImageFile png(String source, byte[] file) throws ImageException {
        ByteArrayOutputStream essence = new ByteArrayOutputStream(file.length);
        essence.write(file, 0, PNG_SIGNATURE.length);
        Header header = null;
        int colours = 0;
        boolean data = false;
        int colour = 0;
        int orientation = 1;
        byte[] transparency = new byte[0];
        int at = PNG_SIGNATURE.length;
        while (true) {
            if (file.length - at < PNG_CHUNK_OVERHEAD) {
                throw truncated(source, Format.PNG, file);
            }
            long length = u32(file, at);
            if (length > file.length - at - PNG_CHUNK_OVERHEAD) {
                throw truncated(source, Format.PNG, file);
            }
            String kind = word(file, at + 4);
            int content = at + 8;
            int end = content + (int) length;
            if (header == null && !kind.equals("IHDR")) {
                throw corrupt(source, Format.PNG, "expected IHDR as its first chunk, found " + printable(kind));
            }
            boolean critical = (kind.charAt(0) & 0x20) == 0;
            if (critical) {
                CRC32 crc = new CRC32();
                crc.update(file, at + 4, (int) length + 4);
                if (crc.getValue() != u32(file, end)) {
                    throw corrupt(source, Format.PNG, "the checksum of chunk " + printable(kind) + " is wrong");
                }
            }
            switch (kind) {
                case "IHDR" -> {
                    if (header != null || length != IHDR_LENGTH) {
                        throw corrupt(source, Format.PNG, "expected one IHDR of 13 bytes");
                    }
                    colour = u8(file, content + 9);
                    checkDepth(source, u8(file, content + 8), colour);
                    header = header(source, Format.PNG, u32(file, content), u32(file, content + 4));
                    essence.write(file, at, end + 4 - at);
                }
                case "PLTE" -> {
                    if (colours > 0 || data || length == 0 || length % 3 != 0 || length > 3 * 256) {
                        throw corrupt(source, Format.PNG, "expected one palette of 1 to 256 colours before the data");
                    }
                    colours = (int) length / 3;
                    // In an image that is not indexed it is only a suggestion.
                    if (colour == 3) {
                        essence.write(file, at, end + 4 - at);
                    }
                }
                case "IDAT" -> {
                    data = true;
                    essence.write(file, at, end + 4 - at);
                }
                case "IEND" -> {
                    if (!data) {
                        throw corrupt(source, Format.PNG, "it has no data");
                    }
                    if (colour == 3 && colours == 0) {
                        throw corrupt(source, Format.PNG, "it has no palette");
                    }
                    essence.write(file, at, end + 4 - at);
                    return new ImageFile(header, essence.toByteArray(), null, colour == 3 ? colours : 0)
                            .with(orientation, transparency);
                }
                case "tRNS" -> transparency = Arrays.copyOfRange(file, content, end);
                case "eXIf" -> orientation = Exif.orientation(file, content, end);
                default -> {
                    if (critical) {
                        throw corrupt(source, Format.PNG, "unknown critical chunk " + printable(kind));
                    }
                }
            }
            at = end + 4;
        }
    }

    private static void checkDepth(String source, int depth, int colour) throws ImageException {
        boolean known = switch (colour) {
            case 0 -> depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
            case 3 -> depth == 1 || depth == 2 || depth == 4 || depth == 8;
            case 2, 4, 6 -> depth == 8 || depth == 16;
            default -> false;
        };
        if (!known) {
            throw corrupt(source, Format.PNG, "colour type " + colour + " with " + depth + " bits does not exist");
        }
    }

    /// Parses the markers up to the first scan. The decoder itself detects missing data after it.
    private static ImageFile jpeg(String source, byte[] file) throws ImageException {
        ByteArrayOutputStream essence = new ByteArrayOutputStream(file.length);
        essence.write(file, 0, 2);
        Header header = null;
        int[] components = null;
        boolean jfif = false;
        int adobe = -1;
        int orientation = 1;
        int at = 2;
        while (true) {
            if (file.length - at < 4) {
                throw truncated(source, Format.JPEG, file);
            }
            if (u8(file, at) != 0xff) {
                throw corrupt(source, Format.JPEG, "expected a marker at byte " + at);
            }
            int marker = u8(file, at + 1);
            if (marker == 0xff) {
                at++;
                continue;
            }
            if (marker == JPEG_END_OF_IMAGE || marker == 0 || (marker >= 0xd0 && marker <= JPEG_START_OF_IMAGE)) {
                throw corrupt(source, Format.JPEG, "expected a segment at byte " + at);
            }
            int length = u16(file, at + 2);
            if (length < 2 || length > file.length - at - 2) {
                throw truncated(source, Format.JPEG, file);
            }
            int content = at + 4;
            int end = at + 2 + length;
            boolean frame = marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
            if (frame) {
                if (header != null || length < 8) {
                    throw corrupt(source, Format.JPEG, "expected one frame header");
                }
                if (marker > 0xc2) {
                    throw new ImageException(
                            Reason.FORMAT,
                            source + ": expected baseline or progressive JPEG, found frame type " + (marker - 0xc0)
                                    + " (arithmetic coding, lossless or hierarchical)");
                }
                if (u8(file, content) != 8) {
                    throw new ImageException(
                            Reason.FORMAT, source + ": expected JPEG of 8 bits, found " + u8(file, content));
                }
                header = header(source, Format.JPEG, u16(file, content + 3), u16(file, content + 1));
                components = new int[u8(file, content + 5)];
                if (length < 8 + 3 * components.length) {
                    throw corrupt(source, Format.JPEG, "its frame header is too short");
                }
                for (int i = 0; i < components.length; i++) {
                    components[i] = u8(file, content + 6 + 3 * i);
                }
            }
            boolean application = marker >= 0xe0 && marker <= 0xef;
            if (marker == 0xe0 && length >= 7 && word(file, content).equals("JFIF") && u8(file, content + 4) == 0) {
                jfif = true;
            }
            if (marker == 0xe1 && length >= 8 && word(file, content).equals("Exif")) {
                orientation = Exif.orientation(file, content + 6, end);
            }
            if (marker == 0xee && length >= 14 && word(file, content).equals("Adob") && u8(file, content + 4) == 'e') {
                adobe = u8(file, content + 11);
                application = false;
            }
            if (!application && marker != 0xfe) {
                essence.write(file, at, end - at);
            }
            if (marker == JPEG_START_OF_SCAN) {
                if (header == null) {
                    throw corrupt(source, Format.JPEG, "expected a frame header before the first scan");
                }
                checkScans(source, file, end);
                essence.write(file, end, file.length - end);
                return new ImageFile(header, essence.toByteArray(), coding(source, components, jfif, adobe), 0)
                        .with(orientation, new byte[0]);
            }
            at = end;
        }
    }

    /// Counts the scans after the first one: a small file with thousands of them takes minutes to decode.
    private static void checkScans(String source, byte[] file, int from) throws ImageException {
        int scans = 1;
        for (int at = from; at + 1 < file.length; at++) {
            if (u8(file, at) == 0xff && u8(file, at + 1) == JPEG_START_OF_SCAN) {
                scans++;
            }
        }
        if (scans > MAX_JPEG_SCANS) {
            throw corrupt(source, Format.JPEG, "expected at most " + MAX_JPEG_SCANS + " scans, found " + scans);
        }
    }

    /// Applies libjpeg's rule: JFIF means YCbCr; otherwise Adobe's marker decides, or else the numbers of
    /// the components.
    private static JpegCoding coding(String source, int[] components, boolean jfif, int adobe) throws ImageException {
        return switch (components.length) {
            case 1 -> JpegCoding.GREY;
            case 3 -> {
                boolean named = components[0] == 'R' && components[1] == 'G' && components[2] == 'B';
                boolean rgb = adobe >= 0 ? adobe == 0 : named;
                yield !jfif && rgb ? JpegCoding.RGB : JpegCoding.YCBCR;
            }
            case 4 -> {
                if (adobe < 0) {
                    yield JpegCoding.CMYK;
                }
                yield adobe == 2 ? JpegCoding.INVERTED_YCCK : JpegCoding.INVERTED_CMYK;
            }
            default ->
                throw new ImageException(
                        Reason.FORMAT,
                        source + ": expected a JPEG of 1, 3 or 4 components, found " + components.length);
        };
    }

    /// Keeps the image of the extended format, its opacity and its orientation, and refuses animations.
    private static ImageFile webp(String source, byte[] file) throws ImageException {
        long claimed = u32le(file, 4) + 8;
        if (claimed > file.length) {
            throw truncated(source, Format.WEBP, file);
        }
        int at = 12;
        long canvas = -1;
        byte[] opacity = new byte[0];
        while (true) {
            if (claimed - at < 8) {
                throw truncated(source, Format.WEBP, file);
            }
            String kind = word(file, at);
            long length = u32le(file, at + 4);
            if (length > claimed - at - 8) {
                throw truncated(source, Format.WEBP, file);
            }
            int content = at + 8;
            long width = -1;
            long height = -1;
            switch (kind) {
                case "VP8 " -> {
                    if (length < 10
                            || u8(file, content + 3) != 0x9d
                            || u8(file, content + 4) != 1
                            || u8(file, content + 5) != 0x2a) {
                        throw corrupt(source, Format.WEBP, "expected a key frame");
                    }
                    width = u8(file, content + 6) | (u8(file, content + 7) & 0x3f) << 8;
                    height = u8(file, content + 8) | (u8(file, content + 9) & 0x3f) << 8;
                }
                case "VP8L" -> {
                    if (length < 5 || u8(file, content) != 0x2f) {
                        throw corrupt(source, Format.WEBP, "expected lossless data");
                    }
                    long packed = u32le(file, content + 1);
                    width = (packed & 0x3fff) + 1;
                    height = (packed >> 14 & 0x3fff) + 1;
                    // A lossless image has its opacity itself.
                    opacity = new byte[0];
                }
                case "ANIM", "ANMF" ->
                    throw new ImageException(Reason.FORMAT, source + ": expected one image, found a WebP animation");
                default -> {
                    if (kind.equals("VP8X") && length >= 10) {
                        canvas = canvas(u24le(file, content + 4) + 1, u24le(file, content + 7) + 1);
                    } else if (at == 12) {
                        throw corrupt(source, Format.WEBP, "expected VP8, VP8L or VP8X, found the chunk " + kind);
                    } else if (kind.equals("ALPH")) {
                        opacity = Arrays.copyOfRange(file, content, content + (int) length);
                    }
                    at = content + (int) Math.min(length + (length & 1), claimed - content);
                }
            }
            if (width >= 0) {
                requireCanvas(source, canvas, width, height);
                return new ImageFile(
                                header(source, Format.WEBP, width, height), simpleWebp(file, at, (int) length), null, 0)
                        .with(orientationAfter(file, canvas, content + length, claimed), opacity);
            }
        }
    }

    /// The orientation of the EXIF chunk, which follows the image of the extended format.
    ///
    /// @param canvas size of the canvas; negative in the simple format, which has no such chunk
    private static int orientationAfter(byte[] file, long canvas, long imageEnd, long claimed) {
        long at = imageEnd + (imageEnd & 1);
        while (canvas >= 0 && claimed - at >= 8) {
            long length = u32le(file, (int) at + 4);
            int content = (int) at + 8;
            if (length > claimed - content) {
                return 1;
            }
            if (word(file, (int) at).equals("EXIF")) {
                // Some programs write the six bytes with which JPEG marks its segment.
                boolean marked = length >= 6 && word(file, content).equals("Exif");
                return Exif.orientation(file, content + (marked ? 6 : 0), content + (int) length);
            }
            at = content + length + (length & 1);
        }
        return 1;
    }

    private static long canvas(long width, long height) {
        return width << 32 | height;
    }

    /// Compares the size of an image with that of the extended format's canvas, if there is one.
    private static void requireCanvas(String source, long canvas, long width, long height) throws ImageException {
        if (canvas >= 0 && canvas != canvas(width, height)) {
            throw corrupt(
                    source,
                    Format.WEBP,
                    "its canvas has " + (canvas >> 32) + "x" + (canvas & 0xffffffffL) + " pixels, its image " + width
                            + "x" + height);
        }
    }

    private static long u24le(byte[] file, int at) {
        return u8(file, at) | u8(file, at + 1) << 8 | u8(file, at + 2) << 16;
    }

    private static byte[] simpleWebp(byte[] file, int chunk, int length) {
        int padded = length + (length & 1);
        byte[] simple = new byte[12 + 8 + padded];
        System.arraycopy(file, 0, simple, 0, 12);
        System.arraycopy(file, chunk, simple, 12, 8 + length);
        int size = simple.length - 8;
        for (int i = 0; i < 4; i++) {
            simple[4 + i] = (byte) (size >> (8 * i));
        }
        return simple;
    }

    private static Header header(String source, Format format, long width, long height) throws ImageException {
        if (width < 1 || height < 1) {
            throw corrupt(source, format, "its size is " + width + "x" + height);
        }
        if (width > MAX_SIDE || height > MAX_SIDE) {
            throw new ImageException(
                    Reason.TOO_LARGE,
                    source + ": expected sides of at most " + MAX_SIDE + " pixels, found " + width + "x" + height);
        }
        return new Header(format, (int) width, (int) height);
    }

    private static ImageException truncated(String source, Format format, byte[] file) {
        return new ImageException(
                Reason.TRUNCATED,
                source + ": expected a whole " + format.title() + " image, found " + file.length
                        + " bytes that end too early");
    }

    private static ImageException corrupt(String source, Format format, String what) {
        return new ImageException(Reason.CORRUPT, source + ": expected a valid " + format.title() + " image: " + what);
    }

    private static String printable(String kind) {
        return kind.chars().allMatch(c -> c >= ' ' && c <= '~') ? kind : "of no name";
    }

    private static boolean startsWith(byte[] file, int at, byte[] prefix) {
        return file.length >= at + prefix.length
                && Arrays.equals(file, at, at + prefix.length, prefix, 0, prefix.length);
    }

    private static String word(byte[] file, int at) {
        return new String(file, at, 4, StandardCharsets.ISO_8859_1);
    }

    private static int u8(byte[] file, int at) {
        return file[at] & 0xff;
    }

    private static int u16(byte[] file, int at) {
        return u8(file, at) << 8 | u8(file, at + 1);
    }

    private static long u32(byte[] file, int at) {
        return (long) u16(file, at) << 16 | u16(file, at + 2);
    }

    private static long u32le(byte[] file, int at) {
        return u8(file, at) | u8(file, at + 1) << 8 | u8(file, at + 2) << 16 | (long) u8(file, at + 3) << 24;
    }
}
