package org.smpo.io;

import java.io.IOException;
import java.util.Arrays;

/// Decodes the lossless format of WebP (VP8L) to 32-bit ARGB pixels.
///
/// Every bit is counted: a file that ends early, or that contradicts itself, is refused, as libwebp refuses
/// it. Work and memory are bounded by the number of pixels and the size of the file. Source: RFC 9649,
/// section 3.
final class WebpLossless {
    private static final int SIGNATURE = 0x2f;
    private static final int BLACK = 0xff000000;
    private static final int LITERALS = 256;
    private static final int LENGTH_CODES = 24;
    private static final int DISTANCE_CODES = 40;
    private static final int MAX_CACHE_BITS = 11;
    private static final int CODES_PER_GROUP = 5;
    private static final int HASH = 0x1e35a7bd;

    private static final int[] CODE_LENGTH_ORDER = {17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

    /// Offsets of near pixels by distance code: the upper four bits are rows up, 8 minus the lower four are
    /// columns left.
    private static final int[] NEAR = {
        0x18, 0x07, 0x17, 0x19, 0x28, 0x06, 0x27, 0x29, 0x16, 0x1a, 0x26, 0x2a, 0x38, 0x05, 0x37, 0x39, 0x15, 0x1b,
        0x36, 0x3a, 0x25, 0x2b, 0x48, 0x04, 0x47, 0x49, 0x14, 0x1c, 0x35, 0x3b, 0x46, 0x4a, 0x24, 0x2c, 0x58, 0x45,
        0x4b, 0x34, 0x3c, 0x03, 0x57, 0x59, 0x13, 0x1d, 0x56, 0x5a, 0x23, 0x2d, 0x44, 0x4c, 0x55, 0x5b, 0x33, 0x3d,
        0x68, 0x02, 0x67, 0x69, 0x12, 0x1e, 0x66, 0x6a, 0x22, 0x2e, 0x54, 0x5c, 0x43, 0x4d, 0x65, 0x6b, 0x32, 0x3e,
        0x78, 0x01, 0x77, 0x79, 0x53, 0x5d, 0x11, 0x1f, 0x64, 0x6c, 0x42, 0x4e, 0x76, 0x7a, 0x21, 0x2f, 0x75, 0x7b,
        0x31, 0x3f, 0x63, 0x6d, 0x52, 0x5e, 0x00, 0x74, 0x7c, 0x41, 0x4f, 0x10, 0x20, 0x62, 0x6e, 0x30, 0x73, 0x7d,
        0x51, 0x5f, 0x40, 0x72, 0x7e, 0x61, 0x6f, 0x50, 0x71, 0x7f, 0x60, 0x70
    };

    private final byte[] bytes;
    private final int end;
    private int next;
    private long buffer;
    private int buffered;
    private long spare;

    private WebpLossless(byte[] bytes, int from, int length) {
        this.bytes = bytes;
        this.next = from;
        this.end = from + length;
        // Like libwebp, which fills a word of 64 bits with zeros.
        this.spare = Math.max(0, 64 - 8L * length);
    }

    /// Decodes the content of a VP8L chunk.
    ///
    /// @return `width * height` pixels; opaque when the file has no alpha
    /// @throws IOException when the data ends early or contradicts itself
    static int[] decode(byte[] bytes, int from, int length, int width, int height) throws IOException {
        WebpLossless decoder = new WebpLossless(bytes, from, length);
        if (decoder.bits(8) != SIGNATURE || decoder.bits(14) + 1 != width || decoder.bits(14) + 1 != height) {
            throw new IOException("its header is damaged");
        }
        boolean alpha = decoder.bits(1) == 1;
        if (decoder.bits(3) != 0) {
            throw new IOException("its version is unknown");
        }
        int[] pixels = decoder.image(width, height);
        if (!alpha) {
            for (int i = 0; i < pixels.length; i++) {
                pixels[i] |= BLACK;
            }
        }
        return pixels;
    }

    /// Decodes an image that follows no header, as opacity is stored, to `width * height` pixels.
    ///
    /// @throws IOException when the data ends early or contradicts itself
    static int[] decodeWithoutHeader(byte[] bytes, int from, int length, int width, int height) throws IOException {
        return new WebpLossless(bytes, from, length).image(width, height);
    }

    // ---- bits ------------------------------------------------------------------------------------------------------

    private int bits(int count) throws IOException {
        fill(count);
        int value = (int) (buffer & ((1L << count) - 1));
        buffer >>>= count;
        buffered -= count;
        return value;
    }

    private void fill(int count) throws IOException {
        while (buffered < count) {
            if (next < end) {
                buffer |= (bytes[next++] & 0xffL) << buffered;
            } else if (spare >= 8) {
                spare -= 8;
            } else {
                throw new IOException("its data ends early");
            }
            buffered += 8;
        }
    }

    // ---- prefix codes ----------------------------------------------------------------------------------------------

    /// A canonical prefix code as a binary tree: `nodes[2 n + bit]` is the next node, or the complement of a
    /// symbol.
    private static final class Code {
        private final int[] nodes;

        private Code(int[] nodes) {
            this.nodes = nodes;
        }

        static Code of(int[] lengths, int size) throws IOException {
            int symbols = 0;
            int last = 0;
            int[] counts = new int[16];
            for (int symbol = 0; symbol < size; symbol++) {
                if (lengths[symbol] > 0) {
                    counts[lengths[symbol]]++;
                    symbols++;
                    last = symbol;
                }
            }
            if (symbols == 1) {
                // A single symbol takes no bits.
                return new Code(new int[] {~last});
            }
            int open = 1;
            int[] first = new int[16];
            int code = 0;
            for (int length = 1; length < 16; length++) {
                open = 2 * open - counts[length];
                code = (code + counts[length - 1]) << 1;
                first[length] = code;
                if (open < 0) {
                    throw new IOException("a prefix code has too many symbols");
                }
            }
            if (symbols == 0 || open != 0) {
                throw new IOException("a prefix code is incomplete");
            }
            int[] nodes = new int[2 * (symbols - 1)];
            int used = 1;
            for (int symbol = 0; symbol < size; symbol++) {
                int length = lengths[symbol];
                if (length > 0) {
                    int path = first[length]++;
                    int node = 0;
                    for (int bit = length - 1; bit > 0; bit--) {
                        int branch = 2 * node + (path >> bit & 1);
                        if (nodes[branch] == 0) {
                            nodes[branch] = used++;
                        }
                        node = nodes[branch];
                    }
                    nodes[2 * node + (path & 1)] = ~symbol;
                }
            }
            return new Code(nodes);
        }
    }

    private int symbol(Code code) throws IOException {
        int[] nodes = code.nodes;
        if (nodes.length == 1) {
            return ~nodes[0];
        }
        int node = 0;
        do {
            if (buffered == 0) {
                fill(1);
            }
            node = nodes[2 * node + (int) (buffer & 1)];
            buffer >>>= 1;
            buffered--;
        } while (node > 0);
        return ~node;
    }

    private Code code(int size) throws IOException {
        int[] lengths = new int[Math.max(size, LITERALS)];
        if (bits(1) == 1) {
            int count = bits(1) + 1;
            int wide = bits(1);
            lengths[bits(wide == 1 ? 8 : 1)] = 1;
            if (count == 2) {
                lengths[bits(8)] = 1;
            }
            return Code.of(lengths, size);
        }
        int[] lengthLengths = new int[CODE_LENGTH_ORDER.length];
        int count = bits(4) + 4;
        if (count > lengthLengths.length) {
            throw new IOException("it has too many code lengths");
        }
        for (int i = 0; i < count; i++) {
            lengthLengths[CODE_LENGTH_ORDER[i]] = bits(3);
        }
        Code lengthCode = Code.of(lengthLengths, lengthLengths.length);
        int left = size;
        if (bits(1) == 1) {
            left = 2 + bits(2 + 2 * bits(3));
            if (left > size) {
                throw new IOException("it has too many code lengths");
            }
        }
        int previous = 8;
        for (int at = 0; at < size && left > 0; left--) {
            int length = symbol(lengthCode);
            if (length < 16) {
                lengths[at++] = length;
                previous = length == 0 ? previous : length;
                continue;
            }
            int repeat = switch (length) {
                case 16 -> 3 + bits(2);
                case 17 -> 3 + bits(3);
                default -> 11 + bits(7);
            };
            if (repeat > size - at) {
                throw new IOException("it has too many code lengths");
            }
            Arrays.fill(lengths, at, at + repeat, length == 16 ? previous : 0);
            at += repeat;
        }
        return Code.of(lengths, size);
    }

    // ---- images ----------------------------------------------------------------------------------------------------

    /// A transform that is undone after decoding.
    private static final class Transform {
        private final int kind;
        /// Width of the image that it applies to.
        private final int width;
        /// Logarithm of the block size, or of the number of pixels per byte.
        private final int bits;

        private final int[] data;

        Transform(int kind, int width, int bits, int[] data) {
            this.kind = kind;
            this.width = width;
            this.bits = bits;
            this.data = data;
        }
    }

    private static int blocks(int size, int bits) {
        return (size + (1 << bits) - 1) >> bits;
    }

    private int[] image(int width, int height) throws IOException {
        Transform[] transforms = new Transform[4];
        int count = 0;
        int seen = 0;
        int packed = width;
        while (bits(1) == 1) {
            int kind = bits(2);
            if ((seen & 1 << kind) != 0) {
                throw new IOException("it has a transform twice");
            }
            seen |= 1 << kind;
            Transform transform = transform(kind, packed, height);
            transforms[count++] = transform;
            packed = kind == 3 ? blocks(packed, transform.bits) : packed;
        }
        int[] pixels = entropyImage(packed, height, true);
        while (count > 0) {
            Transform transform = transforms[--count];
            switch (transform.kind) {
                case 0 -> predict(transform, pixels, height);
                case 1 -> correlate(transform, pixels, height);
                case 2 -> addGreen(pixels);
                default -> pixels = unpack(transform, pixels, height);
            }
        }
        return pixels;
    }

    private Transform transform(int kind, int width, int height) throws IOException {
        return switch (kind) {
            case 0, 1 -> {
                int bits = bits(3) + 2;
                yield new Transform(kind, width, bits, entropyImage(blocks(width, bits), blocks(height, bits), false));
            }
            case 2 -> new Transform(kind, width, 0, new int[0]);
            default -> {
                int colours = bits(8) + 1;
                int bits = colours > 16 ? 0 : colours > 4 ? 1 : colours > 2 ? 2 : 3;
                int[] palette = Arrays.copyOf(entropyImage(colours, 1, false), 1 << (8 >> bits));
                for (int i = 1; i < colours; i++) {
                    palette[i] = add(palette[i], palette[i - 1]);
                }
                yield new Transform(kind, width, bits, palette);
            }
        };
    }

    private int[] entropyImage(int width, int height, boolean groups) throws IOException {
        int cacheBits = 0;
        if (bits(1) == 1) {
            cacheBits = bits(4);
            if (cacheBits < 1 || cacheBits > MAX_CACHE_BITS) {
                throw new IOException("its colour cache has " + cacheBits + " bits");
            }
        }
        int groupBits = 0;
        int[] groupOf = new int[0];
        int groupCount = 1;
        if (groups && bits(1) == 1) {
            groupBits = bits(3) + 2;
            groupOf = entropyImage(blocks(width, groupBits), blocks(height, groupBits), false);
            for (int i = 0; i < groupOf.length; i++) {
                groupOf[i] = groupOf[i] >> 8 & 0xffff;
                groupCount = Math.max(groupCount, groupOf[i] + 1);
            }
        }
        int cacheSize = cacheBits == 0 ? 0 : 1 << cacheBits;
        Code[] codes = new Code[CODES_PER_GROUP * groupCount];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = code(
                    switch (i % CODES_PER_GROUP) {
                        case 0 -> LITERALS + LENGTH_CODES + cacheSize;
                        case 4 -> DISTANCE_CODES;
                        default -> LITERALS;
                    });
        }
        int[] pixels = new int[width * height];
        int[] cache = new int[cacheSize];
        int cached = 0;
        int at = 0;
        while (at < pixels.length) {
            int group = groupOf.length == 0
                    ? 0
                    : CODES_PER_GROUP
                            * groupOf[
                                    ((at / width) >> groupBits) * blocks(width, groupBits)
                                            + ((at % width) >> groupBits)];
            int symbol = symbol(codes[group]);
            if (symbol < LITERALS) {
                int red = symbol(codes[group + 1]);
                int blue = symbol(codes[group + 2]);
                int alpha = symbol(codes[group + 3]);
                pixels[at++] = alpha << 24 | red << 16 | symbol << 8 | blue;
            } else if (symbol < LITERALS + LENGTH_CODES) {
                int length = extended(symbol - LITERALS);
                int distance = distance(extended(symbol(codes[group + 4])), width);
                if (distance > at || length > pixels.length - at) {
                    throw new IOException("it copies pixels from outside the image");
                }
                for (int i = 0; i < length; i++, at++) {
                    pixels[at] = pixels[at - distance];
                }
            } else {
                for (; cached < at; cached++) {
                    cache[(HASH * pixels[cached]) >>> (32 - cacheBits)] = pixels[cached];
                }
                pixels[at++] = cache[symbol - LITERALS - LENGTH_CODES];
            }
        }
        return pixels;
    }

    /// A length or distance from its prefix and extra bits.
    private int extended(int prefix) throws IOException {
        if (prefix < 4) {
            return prefix + 1;
        }
        int extra = (prefix - 2) >> 1;
        return ((2 + (prefix & 1)) << extra) + bits(extra) + 1;
    }

    private static int distance(int code, int width) {
        if (code > NEAR.length) {
            return code - NEAR.length;
        }
        int near = NEAR[code - 1];
        return Math.max(1, (near >> 4) * width + 8 - (near & 0xf));
    }

    // ---- transforms ------------------------------------------------------------------------------------------------

    private static int add(int a, int b) {
        int evens = (a & 0xff00ff00) + (b & 0xff00ff00);
        int odds = (a & 0x00ff00ff) + (b & 0x00ff00ff);
        return (evens & 0xff00ff00) | (odds & 0x00ff00ff);
    }

    private static int average(int a, int b) {
        return (((a ^ b) & 0xfefefefe) >>> 1) + (a & b);
    }

    private static void addGreen(int[] pixels) {
        for (int i = 0; i < pixels.length; i++) {
            int green = pixels[i] >> 8 & 0xff;
            pixels[i] = (pixels[i] & 0xff00ff00) | (((pixels[i] & 0x00ff00ff) + (green << 16 | green)) & 0x00ff00ff);
        }
    }

    private static void correlate(Transform transform, int[] pixels, int height) {
        int width = transform.width;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int block =
                        transform.data[(y >> transform.bits) * blocks(width, transform.bits) + (x >> transform.bits)];
                int pixel = pixels[y * width + x];
                byte green = (byte) (pixel >> 8);
                int red = ((pixel >> 16) + (((byte) block * green) >> 5)) & 0xff;
                int fromGreen = ((byte) (block >> 8) * green) >> 5;
                int fromRed = ((byte) (block >> 16) * (byte) red) >> 5;
                int blue = (pixel + fromGreen + fromRed) & 0xff;
                pixels[y * width + x] = (pixel & 0xff00ff00) | red << 16 | blue;
            }
        }
    }

    private static int[] unpack(Transform transform, int[] packed, int height) {
        int width = transform.width;
        int stride = blocks(width, transform.bits);
        int depth = 8 >> transform.bits;
        int[] pixels = new int[width * height];
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int green = packed[y * stride + (x >> transform.bits)] >> 8 & 0xff;
                int place = x & ((1 << transform.bits) - 1);
                int index = (green >> (place * depth)) & ((1 << depth) - 1);
                pixels[y * width + x] = transform.data[index];
            }
        }
        return pixels;
    }

    private static void predict(Transform transform, int[] pixels, int height) {
        int width = transform.width;
        for (int at = 0; at < width * height; at++) {
            int x = at % width;
            int y = at / width;
            int predicted;
            if (at == 0) {
                predicted = BLACK;
            } else if (y == 0) {
                predicted = pixels[at - 1];
            } else if (x == 0) {
                predicted = pixels[at - width];
            } else {
                int block =
                        transform.data[(y >> transform.bits) * blocks(width, transform.bits) + (x >> transform.bits)];
                // The pixel right of the last one of the row above is the first one of this row.
                predicted = predicted(
                        block >> 8 & 0xf,
                        pixels[at - 1],
                        pixels[at - width],
                        pixels[at - width + 1],
                        pixels[at - width - 1]);
            }
            pixels[at] = add(pixels[at], predicted);
        }
    }

    private static int predicted(int mode, int left, int top, int topRight, int topLeft) {
        return switch (mode) {
            case 1 -> left;
            case 2 -> top;
            case 3 -> topRight;
            case 4 -> topLeft;
            case 5 -> average(average(left, topRight), top);
            case 6 -> average(left, topLeft);
            case 7 -> average(left, top);
            case 8 -> average(topLeft, top);
            case 9 -> average(top, topRight);
            case 10 -> average(average(left, topLeft), average(top, topRight));
            case 11 -> nearer(left, top, topLeft);
            case 12 -> clamped(left, top, topLeft, false);
            case 13 -> clamped(average(left, top), average(left, top), topLeft, true);
            default -> BLACK;
        };
    }

    /// Left or top, whichever is nearer to left + top - topLeft.
    private static int nearer(int left, int top, int topLeft) {
        int difference = 0;
        for (int shift = 0; shift < 32; shift += 8) {
            int corner = topLeft >> shift & 0xff;
            difference += Math.abs((left >> shift & 0xff) - corner) - Math.abs((top >> shift & 0xff) - corner);
        }
        return difference <= 0 ? top : left;
    }

    /// a + b - c, or a + (a - c) / 2, clamped in each channel.
    private static int clamped(int a, int b, int c, boolean half) {
        int result = 0;
        for (int shift = 0; shift < 32; shift += 8) {
            int first = a >> shift & 0xff;
            int difference = (b >> shift & 0xff) - (c >> shift & 0xff);
            result |= Math.clamp(first + (half ? difference / 2 : difference), 0, 255) << shift;
        }
        return result;
    }
}
