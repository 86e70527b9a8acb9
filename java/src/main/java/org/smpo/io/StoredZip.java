package org.smpo.io;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;

/// The directory of a ZIP file whose entries are stored uncompressed, as `torch.save` writes them.
/// Entries of more than 4 GiB (ZIP64) are read; compressed, encrypted and overlapping entries are
/// refused.
///
/// The layout is that of PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16.
final class StoredZip {
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final int LOCAL = 0x04034b50;
    private static final int CENTRAL = 0x02014b50;
    private static final int END = 0x06054b50;
    private static final int END64 = 0x06064b50;
    private static final int END64_LOCATOR = 0x07064b50;

    private static final int LOCAL_BYTES = 30;
    private static final int CENTRAL_BYTES = 46;
    private static final int END_BYTES = 22;
    private static final int END64_BYTES = 56;
    private static final int END64_LOCATOR_BYTES = 20;
    private static final int MOST_COMMENT = 0xffff;
    private static final long MAX32 = 0xffff_ffffL;
    private static final int ENCRYPTED = 1;
    private static final int ZIP64_EXTRA = 1;
    private static final int MOST_ENTRIES = 1_000_000;
    private static final int CRC_CHUNK = 1 << 20;

    private final Path path;
    private final MemorySegment file;
    private final Map<String, Entry> entries = new LinkedHashMap<>();

    /// An entry.
    ///
    /// @param name name of the entry
    /// @param offset position of its first byte in the file
    /// @param length number of bytes
    /// @param crc CRC-32 of the bytes
    record Entry(String name, long offset, long length, long crc) {}

    private StoredZip(Path path, MemorySegment file) {
        this.path = path;
        this.file = file;
    }

    /// Reads and checks the directory.
    ///
    /// @throws IOException when the file is not such a ZIP file, naming the place and the reason
    static StoredZip read(Path path, MemorySegment file) throws IOException {
        StoredZip zip = new StoredZip(path, file);
        zip.readDirectory();
        return zip;
    }

    Map<String, Entry> entries() {
        return entries;
    }

    /// Returns the size of the whole file in bytes.
    long size() {
        return file.byteSize();
    }

    /// Returns the bytes of an entry as they are.
    MemorySegment view(Entry entry) {
        return file.asSlice(entry.offset(), entry.length());
    }

    /// Returns the bytes of an entry, after checking them against their CRC.
    MemorySegment bytes(Entry entry) throws IOException {
        MemorySegment bytes = view(entry);
        CRC32 crc = new CRC32();
        for (long at = 0; at < entry.length(); at += CRC_CHUNK) {
            crc.update(
                    bytes.asSlice(at, Math.min(CRC_CHUNK, entry.length() - at)).asByteBuffer());
        }
        if (crc.getValue() != entry.crc()) {
            throw fault(entry.name(), "bytes with the CRC-32 " + Long.toHexString(entry.crc()), "damaged bytes");
        }
        return bytes;
    }

    private IOException fault(String place, String expected, String found) {
        return new IOException(path + ": " + place + ": expected " + expected + ", found " + found);
    }

    private int u16(long at) {
        return Short.toUnsignedInt(file.get(SHORT, at));
    }

    private long u32(long at) {
        return Integer.toUnsignedLong(file.get(INT, at));
    }

    private void readDirectory() throws IOException {
        long end = findEnd();
        long count = u16(end + 10);
        long size = u32(end + 12);
        long start = u32(end + 16);
        long limit = end;
        if (count == 0xffff || size == MAX32 || start == MAX32) {
            long locator = end - END64_LOCATOR_BYTES;
            if (locator < 0 || file.get(INT, locator) != END64_LOCATOR) {
                throw fault("ZIP directory", "a ZIP64 locator", "none");
            }
            long end64 = file.get(LONG, locator + 8);
            if (end64 < 0 || end64 > locator - END64_BYTES || file.get(INT, end64) != END64) {
                throw fault("ZIP directory", "a ZIP64 end record", "none");
            }
            count = file.get(LONG, end64 + 32);
            size = file.get(LONG, end64 + 40);
            start = file.get(LONG, end64 + 48);
            limit = end64;
        }
        if (count < 0 || count > MOST_ENTRIES || size < 0 || start < 0 || start > limit || size > limit - start) {
            throw fault(
                    "ZIP directory",
                    "at most " + MOST_ENTRIES + " entries within the file",
                    count + " entries in " + size + " bytes at " + start);
        }
        long at = start;
        for (long i = 0; i < count; i++) {
            at = readEntry(at, start + size, start);
        }
        if (at != start + size) {
            throw fault("ZIP directory", size + " bytes", (at - start) + " bytes of entries");
        }
        requireApart();
    }

    private long findEnd() throws IOException {
        long last = file.byteSize() - END_BYTES;
        for (long at = last; at >= 0 && at >= last - MOST_COMMENT; at--) {
            if (file.get(INT, at) == END && at + END_BYTES + u16(at + 20) == file.byteSize()) {
                return at;
            }
        }
        throw fault("ZIP directory", "an end record", "none; is the file complete?");
    }

    private long readEntry(long at, long limit, long directory) throws IOException {
        if (limit - at < CENTRAL_BYTES || file.get(INT, at) != CENTRAL) {
            throw fault("ZIP directory", "an entry at byte " + at, "none");
        }
        int nameBytes = u16(at + 28);
        int extraBytes = u16(at + 30);
        long next = at + CENTRAL_BYTES + nameBytes + extraBytes + u16(at + 32);
        if (next > limit) {
            throw fault("ZIP directory", "an entry within the directory", "one that ends at byte " + next);
        }
        String name = text(at + CENTRAL_BYTES, nameBytes);
        if ((u16(at + 8) & ENCRYPTED) != 0) {
            throw fault(name, "an entry that is not encrypted", "an encrypted one");
        }
        if (u16(at + 10) != 0) {
            throw fault(name, "an uncompressed entry", "compression method " + u16(at + 10));
        }
        long[] fields = {u32(at + 24), u32(at + 20), u32(at + 42)};
        readZip64(name, at + CENTRAL_BYTES + nameBytes, extraBytes, fields);
        long length = fields[0];
        long local = fields[2];
        if (fields[1] != length) {
            throw fault(name, length + " stored bytes", String.valueOf(fields[1]));
        }
        if (local < 0 || local > directory - LOCAL_BYTES || file.get(INT, local) != LOCAL) {
            throw fault(name, "a local header within the file", "none at byte " + local);
        }
        int localName = u16(local + 26);
        long offset = local + LOCAL_BYTES + localName + u16(local + 28);
        if (local + LOCAL_BYTES + localName > directory
                || !text(local + LOCAL_BYTES, localName).equals(name)) {
            throw fault(name, "the same name in the local header", "another name");
        }
        if (length < 0 || offset > directory || length > directory - offset) {
            throw fault(name, "bytes within the file", length + " bytes at " + offset);
        }
        if (entries.put(name, new Entry(name, offset, length, u32(at + 16))) != null) {
            throw fault(name, "one entry of this name", "several");
        }
        return next;
    }

    /// Replaces fields that a directory entry leaves to its ZIP64 extra field.
    ///
    /// @param fields length, stored length and position of the local header
    private void readZip64(String name, long extra, int bytes, long[] fields) throws IOException {
        boolean needed = false;
        for (long field : fields) {
            needed |= field == MAX32;
        }
        long end = extra + bytes;
        for (long at = extra; needed && end - at >= 4; at += 4 + u16(at + 2)) {
            if (u16(at) == ZIP64_EXTRA) {
                long value = at + 4;
                long limit = Math.min(end, value + u16(at + 2));
                for (int i = 0; i < fields.length; i++) {
                    if (fields[i] == MAX32) {
                        if (limit - value < Long.BYTES) {
                            throw fault(name, "a complete ZIP64 field", (limit - value) + " bytes");
                        }
                        fields[i] = file.get(LONG, value);
                        value += Long.BYTES;
                    }
                }
                return;
            }
        }
        if (needed) {
            throw fault(name, "a ZIP64 field", "none");
        }
    }

    private String text(long at, int bytes) {
        return new String(file.asSlice(at, bytes).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8);
    }

    private void requireApart() throws IOException {
        List<Entry> sorted = new ArrayList<>(entries.values());
        sorted.sort(Comparator.comparingLong(Entry::offset));
        for (int i = 1; i < sorted.size(); i++) {
            Entry before = sorted.get(i - 1);
            if (before.offset() + before.length() > sorted.get(i).offset()) {
                throw fault(sorted.get(i).name(), "entries that do not overlap", "one that overlaps " + before.name());
            }
        }
    }
}
