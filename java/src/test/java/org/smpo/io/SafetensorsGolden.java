package org.smpo.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Files and verdicts of the Python library (`tools/golden/safetensors_files.py`), and the expected
/// bytes.
final class SafetensorsGolden {
    private SafetensorsGolden() {}

    static byte[] resource(String name) throws IOException {
        try (InputStream in = SafetensorsGolden.class.getResourceAsStream(name)) {
            return in.readAllBytes();
        }
    }

    static JsonNode read(String name) throws IOException {
        return JsonMapper.shared().readTree(resource(name + ".json")).get(name);
    }

    /// SHA-256 of "name:0", "name:1", ..., one after the other.
    static byte[] pattern(String name, int count) {
        byte[] bytes = new byte[count];
        for (int block = 0; block * 32 < count; block++) {
            byte[] digest = java.util.HexFormat.of()
                    .parseHex(Digest.sha256((name + ":" + block).getBytes(StandardCharsets.UTF_8)));
            System.arraycopy(digest, 0, bytes, 32 * block, Math.min(32, count - 32 * block));
        }
        return bytes;
    }

    /// Returns a file's bytes: length, header, zeros.
    static byte[] file(byte[] header, int dataBytes) {
        byte[] file = Arrays.copyOf(new byte[0], 8 + header.length + dataBytes);
        ByteBuffer.wrap(file)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(header.length)
                .put(header);
        return file;
    }
}
