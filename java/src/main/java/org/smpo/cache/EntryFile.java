package org.smpo.cache;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.Digest;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsException;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;

/// An entry on disk: a safetensors file whose metadata hold the key's parts and a digest of the tensors.
final class EntryFile {
    /// Version of the layout; every version has its own folder.
    static final String FORMAT = "1";

    private static final String KIND = "smpo.kind";
    private static final String MODEL = "smpo.model";
    private static final String INPUT = "smpo.input";
    private static final String PREPROCESSING = "smpo.preprocessing";
    private static final String DIGEST = "smpo.sha256";

    /// An entry belongs to one image or one prompt, so larger tensors are damage.
    private static final long MAX_BYTES = 1L << 30;

    private EntryFile() {}

    /// Key and tensors of a file.
    record Content(CacheKey key, SortedMap<String, CachedTensor> tensors) {}

    /// An entry that cannot be used.
    static final class Corrupted extends Exception {
        private static final long serialVersionUID = 1L;

        Corrupted(String message) {
            super(message);
        }
    }

    static void write(Path file, CacheKey key, Map<String, CachedTensor> tensors) throws IOException {
        SortedMap<String, CachedTensor> sorted = new TreeMap<>(tensors);
        List<SafetensorsWriter.Declaration> declarations = new ArrayList<>();
        sorted.forEach((name, tensor) ->
                declarations.add(new SafetensorsWriter.Declaration(name, tensor.dtype(), tensor.shape())));
        Map<String, String> metadata = Map.of(
                "smpo.format",
                FORMAT,
                KIND,
                key.kind(),
                MODEL,
                key.model(),
                INPUT,
                key.input(),
                PREPROCESSING,
                key.preprocessing(),
                DIGEST,
                digest(key, sorted));
        SafetensorsWriter.write(
                file,
                declarations,
                metadata,
                (entry, out) -> out.write(entry.name(), sorted.get(entry.name()).buffer()));
    }

    /// Reads an entry and compares it with its recorded digest.
    ///
    /// @throws NoSuchFileException when there is no entry
    /// @throws Corrupted when the file is not what was written
    /// @throws IOException when it cannot be read
    static Content read(Path file) throws IOException, Corrupted {
        try (Safetensors safetensors = Safetensors.open(file)) {
            Map<String, String> metadata = safetensors.metadata();
            for (String name : List.of(KIND, MODEL, INPUT, PREPROCESSING, DIGEST)) {
                if (!metadata.containsKey(name)) {
                    throw new Corrupted("it has no " + name);
                }
            }
            CacheKey key = key(metadata);
            SortedMap<String, CachedTensor> tensors = new TreeMap<>();
            for (TensorEntry entry : safetensors.entries()) {
                if (entry.dtype() != DType.F32 || entry.length() > MAX_BYTES) {
                    throw new Corrupted(entry.name() + " is " + entry.dtype() + " " + entry.shape());
                }
                byte[] bytes = new byte[(int) entry.length()];
                ByteView.of(safetensors, entry).copyTo(0, bytes, 0, bytes.length);
                tensors.put(entry.name(), new CachedTensor(entry.shape(), bytes));
            }
            String digest = digest(key, tensors);
            if (!digest.equals(metadata.get(DIGEST))) {
                throw new Corrupted(
                        "its content has the digest " + digest.substring(0, 12) + "..., not the recorded one");
            }
            return new Content(key, tensors);
        } catch (SafetensorsException e) {
            throw new Corrupted(e.getMessage());
        } catch (InternalError e) {
            // A mapped page is gone because the file was cut while it was read.
            throw new Corrupted("it became shorter while it was read");
        }
    }

    private static CacheKey key(Map<String, String> metadata) throws Corrupted {
        try {
            return new CacheKey(
                    metadata.get(KIND), metadata.get(MODEL), metadata.get(INPUT), metadata.get(PREPROCESSING));
        } catch (IllegalArgumentException e) {
            throw new Corrupted(e.getMessage());
        }
    }

    /// SHA-256 of the key and of each tensor's name, dtype, shape and bytes.
    private static String digest(CacheKey key, SortedMap<String, CachedTensor> tensors) {
        Digest digest = new Digest();
        digest.update(text(key.sha256()));
        tensors.forEach((name, tensor) -> {
            digest.update(text(name.length() + " " + name + " " + tensor + "\n"));
            digest.update(tensor.buffer());
        });
        return digest.hex();
    }

    private static ByteBuffer text(String text) {
        return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
    }
}
