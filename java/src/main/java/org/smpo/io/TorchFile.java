package org.smpo.io;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;

/// A file that `torch.save` wrote (`.pt`, `.pth`, `.ckpt`, `.bin`), mapped read-only into memory. Only
/// tensors are read: a restricted pickle machine refuses everything else by name, and nothing in the file
/// is executed.
///
/// Opening reads the ZIP directory and the pickle. The bytes of a tensor are checked against their CRC when
/// they are read. Any thread may read; after [#close] every segment is invalid.
public final class TorchFile implements AutoCloseable {
    private static final String PICKLE = "data.pkl";
    private static final int MOST_PICKLE = 256 << 20;

    private final Path path;
    private final Arena arena;
    private final StoredZip zip;
    private final String prefix;
    private final Map<String, TorchPickle.Tensor> tensors;

    private TorchFile(Path path, Arena arena, StoredZip zip, String prefix, Map<String, TorchPickle.Tensor> tensors) {
        this.path = path;
        this.arena = arena;
        this.zip = zip;
        this.prefix = prefix;
        this.tensors = tensors;
    }

    /// Opens and checks a file.
    ///
    /// @throws IOException when the file cannot be read, is damaged, or holds anything but tensors, naming
    ///     it
    @SuppressWarnings("MustBeClosedChecker")
    public static TorchFile open(Path path) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            Arena arena = Arena.ofShared();
            try {
                MemorySegment file = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
                requireZip(path, file);
                StoredZip zip = StoredZip.read(path, file);
                String prefix = prefix(path, zip);
                requireLittleEndian(path, zip, prefix);
                StoredZip.Entry pickle = zip.entries().get(prefix + PICKLE);
                if (pickle.length() > MOST_PICKLE) {
                    throw fault(path, PICKLE, "at most " + MOST_PICKLE + " bytes", pickle.length() + " bytes");
                }
                Map<String, TorchPickle.Tensor> tensors = TorchPickle.tensors(
                        path + ": " + PICKLE, zip.bytes(pickle).toArray(ValueLayout.JAVA_BYTE));
                for (TorchPickle.Tensor tensor : tensors.values()) {
                    storage(path, zip, prefix, tensor.storage());
                }
                return new TorchFile(path, arena, zip, prefix, tensors);
            } catch (IOException | RuntimeException e) {
                arena.close();
                throw e;
            }
        }
    }

    /// Returns whether a file starts as a ZIP file does, which files of `torch.save` are.
    ///
    /// @throws IOException when the file cannot be read
    static boolean isZip(Path path) throws IOException {
        try (java.io.InputStream in = java.nio.file.Files.newInputStream(path)) {
            byte[] start = in.readNBytes(4);
            return start.length == 4 && start[0] == 'P' && start[1] == 'K' && start[2] == 3 && start[3] == 4;
        }
    }

    private static void requireZip(Path path, MemorySegment file) throws IOException {
        boolean zip = file.byteSize() >= 4
                && file.get(ValueLayout.JAVA_BYTE, 0) == 'P'
                && file.get(ValueLayout.JAVA_BYTE, 1) == 'K';
        if (!zip) {
            throw new IOException(path + ": expected a ZIP file of torch.save, found another format: if it is a file of"
                    + " torch before 1.6, save it again with a later version");
        }
    }

    private static IOException fault(Path path, String place, String expected, String found) {
        return new IOException(path + ": " + place + ": expected " + expected + ", found " + found);
    }

    private static String prefix(Path path, StoredZip zip) throws IOException {
        String prefix = null;
        for (String name : zip.entries().keySet()) {
            if (name.equals(PICKLE) || (name.endsWith("/" + PICKLE) && name.indexOf('/') == name.lastIndexOf('/'))) {
                if (prefix != null) {
                    throw fault(path, PICKLE, "one entry of this name", "several");
                }
                prefix = name.substring(0, name.length() - PICKLE.length());
            }
        }
        if (prefix == null) {
            throw fault(path, PICKLE, "an entry of this name, as torch.save writes", "none");
        }
        return prefix;
    }

    private static void requireLittleEndian(Path path, StoredZip zip, String prefix) throws IOException {
        StoredZip.Entry order = zip.entries().get(prefix + "byteorder");
        if (order != null && order.length() <= 16) {
            String found = new String(zip.bytes(order).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8);
            if (!found.equals("little")) {
                throw fault(path, "byteorder", "little", found);
            }
        }
    }

    private static StoredZip.Entry storage(Path path, StoredZip zip, String prefix, TorchPickle.Storage storage)
            throws IOException {
        StoredZip.Entry entry = zip.entries().get(prefix + "data/" + storage.key());
        if (entry == null) {
            throw fault(path, "data/" + storage.key(), "an entry of this name", "none");
        }
        long bytes;
        try {
            bytes = storage.dtype().bytes(storage.elements());
        } catch (ArithmeticException e) {
            throw fault(path, entry.name(), storage.elements() + " elements", entry.length() + " bytes");
        }
        if (entry.length() != bytes) {
            throw fault(path, entry.name(), bytes + " bytes", String.valueOf(entry.length()));
        }
        return entry;
    }

    /// Returns every tensor by name, in the file's order, with its dtype and shape. Names join the keys of
    /// nested dictionaries with dots; keys below a top-level `state_dict` stand alone.
    ///
    /// @return entries whose offset is 0, since a tensor's bytes need not be contiguous in the file
    public Map<String, TensorEntry> entries() {
        Map<String, TensorEntry> all = new LinkedHashMap<>();
        tensors.forEach((name, tensor) -> all.put(
                name,
                new TensorEntry(
                        name,
                        tensor.storage().dtype(),
                        tensor.shape(),
                        0,
                        tensor.storage().dtype().bytes(tensor.elements()))));
        return all;
    }

    /// Returns the bytes of a tensor, little-endian and row-major. A contiguous tensor is a view of the
    /// file, valid until [#close]; any other is copied.
    ///
    /// @throws IOException when there is no tensor of that name, or its bytes are damaged
    public MemorySegment segment(String name) throws IOException {
        TorchPickle.Tensor tensor = tensors.get(name);
        if (tensor == null) {
            throw fault(path, name, "a tensor of that name", "none among " + tensors.size());
        }
        MemorySegment storage = zip.bytes(storage(path, zip, prefix, tensor.storage()));
        int width = tensor.storage().dtype().bytes();
        if (isContiguous(tensor)) {
            return storage.asSlice(tensor.offset() * width, tensor.elements() * width);
        }
        MemorySegment copy = arena.allocate(tensor.elements() * width);
        long[] index = new long[tensor.shape().size()];
        for (long element = 0; element < tensor.elements(); element++) {
            long from = tensor.offset();
            for (int i = 0; i < index.length; i++) {
                from += index[i] * tensor.strides().get(i);
            }
            MemorySegment.copy(storage, from * width, copy, element * width, width);
            for (int i = index.length - 1;
                    i >= 0 && ++index[i] == tensor.shape().get(i);
                    i--) {
                index[i] = 0;
            }
        }
        return copy.asReadOnly();
    }

    private static boolean isContiguous(TorchPickle.Tensor tensor) {
        long expected = 1;
        for (int i = tensor.shape().size() - 1; i >= 0; i--) {
            if (tensor.shape().get(i) > 1 && tensor.strides().get(i) != expected) {
                return false;
            }
            expected *= tensor.shape().get(i);
        }
        return true;
    }

    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
