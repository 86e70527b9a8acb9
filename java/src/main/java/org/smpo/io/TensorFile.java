package org.smpo.io;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/// An open file of named tensors: safetensors, or a file that `torch.save` wrote.
///
/// Any thread may read. After [#close] every segment is invalid.
public sealed interface TensorFile extends AutoCloseable permits Safetensors, TorchFile {
    /// Opens a file in either format. The content decides; a name that ends in `.safetensors` promises
    /// that format.
    ///
    /// @throws IOException when the file cannot be read, is damaged, or is in neither format, naming the
    ///     place and the reason
    static TensorFile open(Path path) throws IOException {
        byte[] start;
        try (InputStream in = Files.newInputStream(path)) {
            start = in.readNBytes(TorchFile.START);
        }
        String name = path.getFileName().toString().toLowerCase(Locale.ROOT);
        // A safetensors file starts with its header's length and a brace.
        boolean header = start.length > Long.BYTES && start[Long.BYTES] == '{';
        boolean named = name.matches(".*\\.(ckpt|pt|pth|bin)");
        boolean torch = !name.endsWith(".safetensors") && (TorchFile.isTorch(start) || (named && !header));
        return torch ? TorchFile.open(path) : Safetensors.open(path);
    }

    /// Returns the path under which the file was opened.
    Path path();

    /// Returns all tensors in the file's order.
    List<TensorEntry> entries();

    /// Returns the tensor with a name; empty when there is none.
    Optional<TensorEntry> find(String name);

    /// Returns the tensor with a name.
    ///
    /// @throws IOException when there is none
    TensorEntry entry(String name) throws IOException;

    /// Returns the bytes of one of [#entries]: read-only, little-endian, row-major, valid until
    /// [#close]. They need not be aligned to the element, so read them with the `_UNALIGNED` layouts.
    ///
    /// @throws IOException when they are damaged and the format has checksums
    MemorySegment segment(TensorEntry entry) throws IOException;

    /// Returns the metadata that the file carries beside its tensors; empty when there is none.
    Map<String, String> metadata();

    @Override
    void close();
}
