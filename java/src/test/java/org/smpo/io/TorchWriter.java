package org.smpo.io;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/// Writes files as `torch.save` does, for tests. TorchFileTest reads files that torch itself wrote.
public final class TorchWriter {
    private final ByteArrayOutputStream pickle = new ByteArrayOutputStream();

    private TorchWriter() {}

    /// A contiguous tensor.
    ///
    /// @param bytes little-endian elements; not copied
    @SuppressWarnings("ArrayRecordComponent")
    public record Tensor(DType dtype, List<Long> shape, byte[] bytes) {}

    /// Writes a dictionary of tensors.
    ///
    /// @param nested whether it stands below `state_dict`, beside a number and a text
    public static void write(Path file, Map<String, Tensor> tensors, boolean nested) throws IOException {
        TorchWriter writer = new TorchWriter();
        writer.op(0x80).op(2).op('}');
        if (nested) {
            writer.op('(')
                    .text("global_step")
                    .op('K')
                    .op(5)
                    .text("name")
                    .text("a model")
                    .text("state_dict");
            writer.op('}');
        }
        writer.op('(');
        int key = 0;
        for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
            writer.text(entry.getKey());
            writer.tensor(String.valueOf(key++), entry.getValue());
        }
        writer.op('u');
        if (nested) {
            writer.op('u');
        }
        writer.op('.');
        String prefix = "archive/";
        try (OutputStream out = Files.newOutputStream(file);
                ZipOutputStream zip = new ZipOutputStream(out)) {
            zip.setMethod(ZipOutputStream.STORED);
            store(zip, prefix + "data.pkl", writer.pickle.toByteArray());
            store(zip, prefix + "byteorder", "little".getBytes(StandardCharsets.UTF_8));
            key = 0;
            for (Tensor tensor : tensors.values()) {
                store(zip, prefix + "data/" + key++, tensor.bytes());
            }
            store(zip, prefix + "version", "3\n".getBytes(StandardCharsets.UTF_8));
        }
    }

    private static void store(ZipOutputStream zip, String name, byte[] bytes) throws IOException {
        ZipEntry entry = new ZipEntry(name);
        CRC32 crc = new CRC32();
        crc.update(bytes);
        entry.setSize(bytes.length);
        entry.setCompressedSize(bytes.length);
        entry.setCrc(crc.getValue());
        zip.putNextEntry(entry);
        zip.write(bytes);
        zip.closeEntry();
    }

    private TorchWriter op(int code) {
        pickle.write(code);
        return this;
    }

    private TorchWriter text(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        op('X').integer(bytes.length);
        pickle.writeBytes(bytes);
        return this;
    }

    private void integer(int value) {
        pickle.writeBytes(ByteBuffer.allocate(4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(value)
                .array());
    }

    private void number(long value) {
        op('J').integer(Math.toIntExact(value));
    }

    private void global(String module, String name) {
        pickle.writeBytes(("c" + module + "\n" + name + "\n").getBytes(StandardCharsets.UTF_8));
    }

    private void tensor(String key, Tensor tensor) {
        String storage = switch (tensor.dtype()) {
            case F32 -> "FloatStorage";
            case F16 -> "HalfStorage";
            case BF16 -> "BFloat16Storage";
            case F64 -> "DoubleStorage";
            case I64 -> "LongStorage";
            default -> throw new IllegalArgumentException(tensor.dtype().name());
        };
        long elements = tensor.bytes().length / tensor.dtype().bytes();
        global("torch._utils", "_rebuild_tensor_v2");
        op('(').op('(').text("storage");
        global("torch", storage);
        text(key).text("cpu");
        number(elements);
        op('t').op('Q');
        number(0);
        op('(');
        tensor.shape().forEach(this::number);
        op('t').op('(');
        long stride = elements;
        for (long size : tensor.shape()) {
            stride = size == 0 ? 0 : stride / size;
            number(stride);
        }
        op('t').op(0x89);
        global("collections", "OrderedDict");
        op(')').op('R').op('t').op('R');
    }
}
