package org.smpo.generate;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;

/// Latents of images in a safetensors file: one tensor `latents` `[N,4,h,w]`, F32.
public final class LatentsFile {
    private static final String NAME = "latents";

    private LatentsFile() {}

    /// Reads the latents of a number of images.
    ///
    /// @return the latents of each image; the same for every image if the file holds those of one
    /// @throws IOException when the file holds another number of latents, another dtype or numbers that
    ///     are not finite
    public static List<float[]> read(Path path, int images) throws IOException {
        try (Safetensors file = Safetensors.open(path)) {
            TensorEntry entry = file.entry(NAME);
            List<Long> shape = entry.shape();
            if (entry.dtype() != DType.F32 || shape.size() != 4 || (shape.get(0) != 1 && shape.get(0) != images)) {
                throw new IOException(path + ": " + NAME + ": expected F32 [1 or " + images + ", 4, h, w], got "
                        + entry.dtype() + " " + shape);
            }
            ByteBuffer bytes = ByteView.of(file, entry).buffer();
            int row = Math.toIntExact(entry.length() / Float.BYTES / shape.get(0));
            List<float[]> all = new ArrayList<>();
            for (int i = 0; i < images; i++) {
                float[] values = new float[row];
                bytes.asFloatBuffer().get(shape.get(0) == 1 ? 0 : i * row, values);
                for (float value : values) {
                    if (!Float.isFinite(value)) {
                        throw new IOException(path + ": " + NAME + ": expected finite numbers, got " + value);
                    }
                }
                all.add(values);
            }
            return all;
        }
    }

    /// Writes latents, all of one size.
    ///
    /// @param latents latents of at least one image
    /// @param height height h of a latent
    /// @param width width w of a latent
    public static void write(Path path, List<float[]> latents, long height, long width) throws IOException {
        long channels = latents.getFirst().length / (height * width);
        SafetensorsWriter.Declaration declaration = new SafetensorsWriter.Declaration(
                NAME, DType.F32, List.of((long) latents.size(), channels, height, width));
        SafetensorsWriter.write(path, List.of(declaration), Map.of(), (entry, writer) -> {
            for (float[] values : latents) {
                writer.write(NAME, values);
            }
        });
    }
}
