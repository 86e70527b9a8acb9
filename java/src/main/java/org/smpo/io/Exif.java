package org.smpo.io;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/// Reads the orientation from EXIF metadata, a TIFF structure (Exif 2.32, section 4.6.4).
final class Exif {
    private static final int ORIENTATION = 0x0112;
    private static final int SHORT = 3;
    private static final int ENTRY_BYTES = 12;

    private Exif() {}

    /// The orientation, 1 to 8, or 1 when the metadata has none or is damaged.
    ///
    /// @param from position of the TIFF header
    /// @param end end of the metadata
    static int orientation(byte[] file, int from, int end) {
        if (end - from < 8) {
            return 1;
        }
        ByteBuffer tiff = ByteBuffer.wrap(file, from, end - from).slice();
        switch (tiff.getShort(0)) {
            case 0x4949 -> tiff.order(ByteOrder.LITTLE_ENDIAN);
            case 0x4d4d -> tiff.order(ByteOrder.BIG_ENDIAN);
            default -> {
                return 1;
            }
        }
        long directory = Integer.toUnsignedLong(tiff.getInt(4));
        if (tiff.getShort(2) != 42 || directory > tiff.limit() - 2) {
            return 1;
        }
        int count = tiff.getShort((int) directory) & 0xffff;
        for (int i = 0; i < count; i++) {
            long entry = directory + 2 + (long) ENTRY_BYTES * i;
            if (entry + ENTRY_BYTES > tiff.limit()) {
                return 1;
            }
            int at = (int) entry;
            if ((tiff.getShort(at) & 0xffff) == ORIENTATION && tiff.getShort(at + 2) == SHORT) {
                int value = tiff.getShort(at + 8) & 0xffff;
                return value >= 1 && value <= 8 ? value : 1;
            }
        }
        return 1;
    }
}
