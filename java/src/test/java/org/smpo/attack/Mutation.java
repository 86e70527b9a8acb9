package org.smpo.attack;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32;

/// Random damage of a file that knows the file's structure: checksums and lengths are repaired, so that the damage gets
/// past the first check.
final class Mutation {
    private static final List<String> NUMBERS = List.of(
            "0",
            "-1",
            "1",
            "2147483647",
            "2147483648",
            "4294967296",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "1e400",
            "-0.0",
            "1e-400",
            "NaN",
            "null",
            "true",
            "[]",
            "{}",
            "\"\"",
            "99999999");
    private static final Pattern TOKEN =
            Pattern.compile("-?\\d+(\\.\\d+)?([eE][-+]?\\d+)?|\"[^\"\\n]{0,60}\"|true|false|null|[\\[\\]{}:,]");
    private static final int PNG_CHUNKS = 8;
    private static final int TAR_BLOCK = 512;
    private static final int TAR_SUM = 148;

    private final SplittableRandom random;

    Mutation(SplittableRandom random) {
        this.random = random;
    }

    /// The structure that is kept.
    enum Structure {
        BYTES,
        TEXT,
        PNG,
        SAFETENSORS,
        TAR
    }

    byte[] damage(byte[] file, byte[] other, Structure structure) {
        boolean blind = random.nextInt(4) == 0;
        return switch (blind ? Structure.BYTES : structure) {
            case BYTES -> bytes(file, other);
            case TEXT -> text(new String(file, StandardCharsets.UTF_8)).getBytes(StandardCharsets.UTF_8);
            case PNG -> png(file);
            case SAFETENSORS -> safetensors(file);
            case TAR -> tar(file);
        };
    }

    private byte[] bytes(byte[] file, byte[] other) {
        byte[] changed = file.clone();
        for (int times = 1 + random.nextInt(4); times > 0 && changed.length > 0; times--) {
            changed = once(changed, other);
        }
        return changed;
    }

    private byte[] once(byte[] file, byte[] other) {
        int at = random.nextInt(file.length);
        int length = Math.min(file.length - at, 1 + random.nextInt(32));
        switch (random.nextInt(8)) {
            case 0 -> file[at] ^= (byte) (1 << random.nextInt(8));
            case 1 -> file[at] = (byte) random.nextInt(256);
            case 2 -> Arrays.fill(file, at, at + length, (byte) (random.nextBoolean() ? 0 : 255));
            case 3 -> {
                return Arrays.copyOf(file, at);
            }
            case 4 -> {
                byte[] shorter = Arrays.copyOf(file, file.length - length);
                System.arraycopy(file, at + length, shorter, at, file.length - at - length);
                return shorter;
            }
            case 5 -> {
                byte[] longer = Arrays.copyOf(file, file.length + length);
                System.arraycopy(file, at, longer, at + length, file.length - at);
                return longer;
            }
            case 6 -> {
                ByteBuffer whole = ByteBuffer.wrap(file)
                        .order(random.nextBoolean() ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
                long[] extremes = {0, -1, Integer.MAX_VALUE, Long.MAX_VALUE, 1L << 31, 1L << 40, 65535};
                long value = extremes[random.nextInt(extremes.length)];
                if (at + Long.BYTES <= file.length && random.nextBoolean()) {
                    whole.putLong(at, value);
                } else if (at + Integer.BYTES <= file.length) {
                    whole.putInt(at, (int) value);
                }
            }
            default -> {
                int from = random.nextInt(Math.max(1, other.length));
                int count = Math.min(length, Math.min(other.length - from, file.length - at));
                System.arraycopy(other, from, file, at, Math.max(0, count));
            }
        }
        return file;
    }

    private String text(String file) {
        Matcher matcher = TOKEN.matcher(file);
        long count = matcher.results().count();
        if (count == 0 || random.nextInt(10) == 0) {
            return new String(
                    bytes(file.getBytes(StandardCharsets.UTF_8), new byte[] {'{'}), StandardCharsets.ISO_8859_1);
        }
        long chosen = random.nextLong(count);
        matcher.reset();
        for (long i = 0; i <= chosen; i++) {
            matcher.find();
        }
        String old = matcher.group();
        String made = switch (random.nextInt(6)) {
            case 0 -> "";
            case 1 -> old + old;
            case 2 -> "[".repeat(1 + random.nextInt(200)) + old;
            case 3 -> "\"\\u0000\\u202e../../x\"";
            default -> NUMBERS.get(random.nextInt(NUMBERS.size()));
        };
        return file.substring(0, matcher.start()) + made + file.substring(matcher.end());
    }

    /// Damages the content of one chunk and repairs its checksum.
    private byte[] png(byte[] file) {
        byte[] changed = file.clone();
        ByteBuffer whole = ByteBuffer.wrap(changed);
        int chunk = random.nextInt(PNG_CHUNKS);
        int at = 8;
        for (int i = 0; at + 12 <= changed.length; i++) {
            int length = whole.getInt(at);
            if (length < 0 || length > changed.length - at - 12) {
                break;
            }
            if (i == chunk && length > 0) {
                changed[at + 8 + random.nextInt(length)] = (byte) random.nextInt(256);
                CRC32 sum = new CRC32();
                sum.update(changed, at + 4, length + 4);
                whole.putInt(at + 8 + length, (int) sum.getValue());
            }
            at += length + 12;
        }
        return changed;
    }

    /// Damages the header's JSON and repairs its length.
    private byte[] safetensors(byte[] file) {
        int length = Math.toIntExact(
                ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(0));
        byte[] header = text(new String(file, Long.BYTES, length, StandardCharsets.UTF_8))
                .getBytes(StandardCharsets.UTF_8);
        ByteBuffer whole = ByteBuffer.allocate(Long.BYTES + header.length + file.length - Long.BYTES - length)
                .order(ByteOrder.LITTLE_ENDIAN);
        return whole.putLong(header.length)
                .put(header)
                .put(file, Long.BYTES + length, file.length - Long.BYTES - length)
                .array();
    }

    /// Damages a member's header and repairs its checksum.
    private byte[] tar(byte[] file) {
        byte[] changed = file.clone();
        int block = TAR_BLOCK * random.nextInt(Math.max(1, changed.length / TAR_BLOCK));
        if (block + TAR_BLOCK > changed.length) {
            return changed;
        }
        int field = new int[] {0, 100, 124, 136, 156, 157, 257, 345}[random.nextInt(8)];
        changed[block + field + random.nextInt(8)] = (byte) random.nextInt(256);
        if (random.nextInt(3) == 0) {
            // A size in base 256.
            Arrays.fill(changed, block + 124, block + 136, (byte) 0);
            changed[block + 124] = (byte) 0x80;
            ByteBuffer.wrap(changed).putLong(block + 128, 1L << random.nextInt(63));
        }
        Arrays.fill(changed, block + TAR_SUM, block + TAR_SUM + 8, (byte) ' ');
        int sum = 0;
        for (int i = 0; i < TAR_BLOCK; i++) {
            sum += changed[block + i] & 0xff;
        }
        byte[] octal = String.format(java.util.Locale.ROOT, "%06o\0 ", sum).getBytes(StandardCharsets.US_ASCII);
        System.arraycopy(octal, 0, changed, block + TAR_SUM, octal.length);
        return changed;
    }
}
