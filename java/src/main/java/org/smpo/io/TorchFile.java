package org.smpo.io;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/// A file that `torch.save` wrote (`.pt`, `.pth`, `.ckpt`, `.bin`), mapped read-only into memory. Only
/// tensors are read: a restricted pickle machine refuses everything else by name, and nothing in the
/// file is executed.
///
/// Opening reads the ZIP directory and the pickle. The bytes of a tensor are checked against their CRC
/// when they are read. Any thread may read; after [#close] every segment is invalid.
public final class TorchFile implements TensorFile {
    private static final String PICKLE = "data.pkl";
    private static final int MOST_PICKLE = 256 << 20;

    /// Number of bytes that [#isTorch] looks at.
    static final int START = 512;

    private static final int TAR_MAGIC = 257;

    /// The pickled magic number at the beginning of files of torch before 1.6: 0x1950a86a20f9469cfc6c.
    private static final byte[] LEGACY = HexFormat.of().parseHex("80028a0a6cfc9c46f9206aa850192e");

    private final Path path;
    private final Arena arena;
    private final StoredZip zip;
    private final String prefix;
    private final Map<String, TorchPickle.Tensor> tensors;
    private final Map<String, TensorEntry> entries;
    private final Set<String> checked = ConcurrentHashMap.newKeySet();
    private final Map<String, MemorySegment> copies = new HashMap<>();
    private long copied;

    private TorchFile(Path path, Arena arena, StoredZip zip, String prefix, Map<String, TorchPickle.Tensor> tensors) {
        this.path = path;
        this.arena = arena;
        this.zip = zip;
        this.prefix = prefix;
        this.tensors = tensors;
        this.entries = entries(tensors);
    }

    /// Opens and checks a file.
    ///
    /// @throws IOException when the file cannot be read, is damaged, or holds anything but tensors,
    ///     naming it
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

    /// Returns whether a file that starts with these bytes is one of `torch.save`, of whatever age.
    static boolean isTorch(byte[] start) {
        return isZip(start) || isPickle(start) || isTar(start);
    }

    private static boolean isZip(byte[] start) {
        return start.length >= 4 && start[0] == 'P' && start[1] == 'K' && start[2] == 3 && start[3] == 4;
    }

    private static boolean isPickle(byte[] start) {
        return start.length >= 2 && (start[0] & 0xff) == 0x80 && start[1] >= 2 && start[1] <= 5;
    }

    private static boolean isTar(byte[] start) {
        return start.length >= TAR_MAGIC + 5
                && new String(start, TAR_MAGIC, 5, StandardCharsets.ISO_8859_1).equals("ustar");
    }

    private static void requireZip(Path path, MemorySegment file) throws IOException {
        byte[] start = file.asSlice(0, Math.min(START, file.byteSize())).toArray(ValueLayout.JAVA_BYTE);
        if (isZip(start)) {
            return;
        }
        Optional<String> content = FileContent.describe(path);
        String found;
        if (content.isPresent()) {
            found = content.get();
        } else if (Arrays.equals(start, 0, Math.min(start.length, LEGACY.length), LEGACY, 0, LEGACY.length)) {
            found = "the format of torch before 1.6: load it with torch and save it again with a later version";
        } else if (isTar(start)) {
            found = "a tar file, the format of torch before 0.4: load it with torch and save it again with a later"
                    + " version";
        } else if (isPickle(start)) {
            found = "a Python pickle of another program, which is not read";
        } else {
            found = "neither that nor a safetensors file; is the file complete?";
        }
        throw new IOException(path + ": content: expected a ZIP file of torch.save, found " + found);
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

    private static Map<String, TensorEntry> entries(Map<String, TorchPickle.Tensor> tensors) {
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

    @Override
    public Path path() {
        return path;
    }

    /// Returns every tensor in the file's order. Names join the keys of nested dictionaries with dots;
    /// keys below a top-level `state_dict` stand alone.
    @Override
    public List<TensorEntry> entries() {
        return List.copyOf(entries.values());
    }

    @Override
    public Optional<TensorEntry> find(String name) {
        return Optional.ofNullable(entries.get(name));
    }

    @Override
    public TensorEntry entry(String name) throws IOException {
        TensorEntry entry = entries.get(name);
        if (entry == null) {
            throw fault(path, name, "a tensor of that name", "none among " + tensors.size());
        }
        return entry;
    }

    /// Returns the bytes of a tensor. A contiguous tensor is a view of the file, any other a copy.
    ///
    /// @throws IOException when there is no such tensor, its bytes are damaged, or the copies together
    ///     would be larger than the file
    @Override
    public MemorySegment segment(TensorEntry entry) throws IOException {
        TorchPickle.Tensor tensor = tensors.get(entry(entry.name()).name());
        MemorySegment storage = bytes(storage(path, zip, prefix, tensor.storage()));
        int width = tensor.storage().dtype().bytes();
        if (isContiguous(tensor)) {
            return storage.asSlice(tensor.offset() * width, tensor.elements() * width);
        }
        return copy(entry.name(), tensor, storage, width);
    }

    /// Returns the bytes of an entry, which are compared with their checksum at the first use.
    private MemorySegment bytes(StoredZip.Entry entry) throws IOException {
        if (checked.contains(entry.name())) {
            return zip.view(entry);
        }
        MemorySegment bytes = zip.bytes(entry);
        checked.add(entry.name());
        return bytes;
    }

    private synchronized MemorySegment copy(String name, TorchPickle.Tensor tensor, MemorySegment storage, int width)
            throws IOException {
        MemorySegment known = copies.get(name);
        if (known != null) {
            return known;
        }
        long bytes = tensor.elements() * width;
        copied += bytes;
        if (copied > zip.size()) {
            throw fault(path, name, "transposed tensors that fit the file of " + zip.size() + " bytes", "more");
        }
        MemorySegment copy = arena.allocate(bytes);
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
        copies.put(name, copy.asReadOnly());
        return copies.get(name);
    }

    /// Returns an empty map: files of torch have no metadata beside their tensors.
    @Override
    public Map<String, String> metadata() {
        return Map.of();
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
