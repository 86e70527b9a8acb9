package org.smpo.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/// A table of a FlatBuffers message. Every offset is checked before it is followed, so that reading ends in
/// a value or an
/// IOException for any bytes. Source: the FlatBuffers "Internals" page.
final class FlatTable {
    private final ByteBuffer bytes;
    private final int at;
    private final int vtable;
    private final int vtableSize;

    private FlatTable(ByteBuffer bytes, long at) throws IOException {
        this.bytes = bytes;
        this.at = checked(bytes, at, 4);
        this.vtable = checked(bytes, at - (long) bytes.getInt(this.at), 4);
        this.vtableSize = bytes.getShort(vtable) & 0xffff;
        checked(bytes, vtable, vtableSize);
    }

    static FlatTable root(byte[] message) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(message).order(ByteOrder.LITTLE_ENDIAN);
        return new FlatTable(bytes, Integer.toUnsignedLong(bytes.getInt(checked(bytes, 0, 4))));
    }

    private static int checked(ByteBuffer bytes, long from, long length) throws IOException {
        if (from < 0 || length < 0 || from > bytes.capacity() || length > bytes.capacity() - from) {
            throw new IOException("a reference leads out of its message");
        }
        return (int) from;
    }

    /// Position of a field, or 0 when it is absent.
    private int field(int number, int size) throws IOException {
        int slot = 4 + 2 * number;
        if (slot + 2 > vtableSize) {
            return 0;
        }
        int offset = bytes.getShort(vtable + slot) & 0xffff;
        return offset == 0 ? 0 : checked(bytes, (long) at + offset, size);
    }

    int u8(int number) throws IOException {
        int field = field(number, 1);
        return field == 0 ? 0 : bytes.get(field) & 0xff;
    }

    int i16(int number) throws IOException {
        int field = field(number, 2);
        return field == 0 ? 0 : bytes.getShort(field);
    }

    int i32(int number) throws IOException {
        int field = field(number, 4);
        return field == 0 ? 0 : bytes.getInt(field);
    }

    long i64(int number) throws IOException {
        int field = field(number, 8);
        return field == 0 ? 0 : bytes.getLong(field);
    }

    private int reference(int number) throws IOException {
        int field = field(number, 4);
        return field == 0 ? 0 : checked(bytes, field + Integer.toUnsignedLong(bytes.getInt(field)), 4);
    }

    /// A table, or null when it is absent.
    FlatTable table(int number) throws IOException {
        int target = reference(number);
        return target == 0 ? null : new FlatTable(bytes, target);
    }

    /// Text, or "" when it is absent.
    String text(int number) throws IOException {
        int target = reference(number);
        if (target == 0) {
            return "";
        }
        int length = bytes.getInt(target);
        int from = checked(bytes, target + 4L, length);
        byte[] text = new byte[length];
        bytes.get(from, text);
        return new String(text, StandardCharsets.UTF_8);
    }

    /// Number of elements of this size in a vector.
    int count(int number, int elementSize) throws IOException {
        int target = reference(number);
        if (target == 0) {
            return 0;
        }
        long count = Integer.toUnsignedLong(bytes.getInt(target));
        checked(bytes, target + 4L, count * elementSize);
        return (int) count;
    }

    /// A table of a vector whose size [#count] has checked.
    FlatTable table(int number, int index) throws IOException {
        int slot = checked(bytes, reference(number) + 4L + 4L * index, 4);
        return new FlatTable(bytes, slot + Integer.toUnsignedLong(bytes.getInt(slot)));
    }

    /// A 64-bit word of a vector of two-word structs whose size [#count] has checked.
    long word(int number, int index, int which) throws IOException {
        return bytes.getLong(checked(bytes, reference(number) + 4L + 16L * index + 8L * which, 8));
    }
}
