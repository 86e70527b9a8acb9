package org.smpo.parallel;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// Data of several kinds as bytes, for [Peers#exchange].
public final class Frames {
    private Frames() {}

    /// Writes data.
    @FunctionalInterface
    public interface Writer {
        void write(DataOutputStream out) throws IOException;
    }

    /// Reads data that a [Writer] wrote.
    @FunctionalInterface
    public interface Reader<T> {
        T read(DataInputStream in) throws IOException;
    }

    /// Returns the bytes that are written.
    public static byte[] write(Writer writer) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (DataOutputStream out = new DataOutputStream(bytes)) {
            writer.write(out);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    /// Returns the data of some bytes.
    public static <T> T read(byte[] bytes, Reader<T> reader) {
        try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes))) {
            return reader.read(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /// Writes a text of any length.
    public static void text(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    /// Reads a text.
    public static String text(DataInputStream in) throws IOException {
        return new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8);
    }

    /// Writes an array, which may be null.
    public static void doubles(DataOutputStream out, double[] values) throws IOException {
        out.writeInt(values == null ? -1 : values.length);
        if (values != null) {
            for (double value : values) {
                out.writeDouble(value);
            }
        }
    }

    /// Reads an array, which may be null.
    public static double[] doubles(DataInputStream in) throws IOException {
        int length = in.readInt();
        if (length < 0) {
            return null;
        }
        double[] values = new double[length];
        for (int i = 0; i < length; i++) {
            values[i] = in.readDouble();
        }
        return values;
    }

    /// The bytes of an array.
    public static byte[] floats(float[] values) {
        ByteBuffer bytes = ByteBuffer.allocate(values.length * Float.BYTES);
        bytes.asFloatBuffer().put(values);
        return bytes.array();
    }

    /// The array of some bytes.
    public static float[] floats(byte[] bytes) {
        float[] values = new float[bytes.length / Float.BYTES];
        ByteBuffer.wrap(bytes).asFloatBuffer().get(values);
        return values;
    }

    /// Writes an array.
    public static void floats(DataOutputStream out, float[] values) throws IOException {
        out.writeInt(values.length);
        out.write(floats(values));
    }

    /// Reads an array.
    public static float[] floats(DataInputStream in) throws IOException {
        return floats(in.readNBytes(Float.BYTES * in.readInt()));
    }

    /// Packs a list of data.
    public static byte[] list(List<byte[]> parts) {
        return write(out -> {
            out.writeInt(parts.size());
            for (byte[] part : parts) {
                out.writeInt(part.length);
                out.write(part);
            }
        });
    }

    /// Returns the list that was packed.
    public static List<byte[]> list(byte[] bytes) {
        return read(bytes, in -> {
            List<byte[]> parts = new ArrayList<>();
            for (int left = in.readInt(); left > 0; left--) {
                parts.add(in.readNBytes(in.readInt()));
            }
            return parts;
        });
    }

    static byte[] ofTexts(Map<String, String> values) {
        return write(out -> {
            out.writeInt(values.size());
            for (Map.Entry<String, String> entry : values.entrySet()) {
                text(out, entry.getKey());
                text(out, entry.getValue());
            }
        });
    }

    static Map<String, String> texts(byte[] bytes) {
        return read(bytes, in -> {
            Map<String, String> values = new LinkedHashMap<>();
            for (int left = in.readInt(); left > 0; left--) {
                values.put(text(in), text(in));
            }
            return values;
        });
    }
}
