package org.smpo.generate;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
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
            int different = Math.toIntExact(shape.get(0));
            List<float[]> all = new ArrayList<>();
            for (int i = 0; i < different; i++) {
                float[] values = new float[row];
                bytes.asFloatBuffer().get(i * row, values);
                for (float value : values) {
                    if (!Float.isFinite(value)) {
                        throw new IOException(path + ": " + NAME + ": expected finite numbers, got " + value);
                    }
                }
                all.add(values);
            }
            return different == 1 ? Collections.nCopies(images, all.getFirst()) : all;
        }
    }

    /// Begins a file for latents that become known one after the other, so that none has to be kept.
    ///
    /// @param images number of images
    /// @param height height h of a latent
    /// @param width width w of a latent
    public static Writer create(Path path, long images, long height, long width) {
        return new Writer(path, images, height, width);
    }

    /// A file in progress. It appears under its name with the latents of the last image.
    public static final class Writer implements AutoCloseable {
        private final Path path;
        private final long images;
        private final long height;
        private final long width;
        private SafetensorsWriter file;
        private long written;

        private Writer(Path path, long images, long height, long width) {
            this.path = path;
            this.images = images;
            this.height = height;
            this.width = width;
        }

        /// Appends the latents of the next image.
        ///
        /// @throws IllegalStateException when their size differs from the first image's, or there
        ///     are too many
        /// @throws IOException when they cannot be written; an old file is then untouched
        public void add(float[] latents) throws IOException {
            if (file == null) {
                long channels = latents.length / (height * width);
                file = SafetensorsWriter.create(
                        path,
                        List.of(new SafetensorsWriter.Declaration(
                                NAME, DType.F32, List.of(images, channels, height, width))),
                        Map.of());
            }
            file.write(NAME, latents);
            written++;
            if (written == images) {
                file.commit();
            }
        }

        /// Deletes an unfinished file.
        @Override
        public void close() throws IOException {
            if (file != null) {
                file.close();
            }
        }
    }
}
