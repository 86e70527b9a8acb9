package org.smpo.bench;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.SafetensorsWriter.Declaration;
import org.smpo.io.TensorEntry;

/// Opens a file with as many tensors as an SDXL UNet (1,700; a header of 230 kB) and reads it through
/// the map. The header has its own parser, which is compared with a general JSON parser without any
/// checks.
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
@State(Scope.Benchmark)
public class SafetensorsBench {
    static final int TENSORS = 1_700;
    private static final int TENSOR_ROWS = 128;
    private static final int TENSOR_COLUMNS = 64;
    private static final long PAGE = 4096;

    private Path folder;
    private Path file;

    /// Writes the file and compares both parsers.
    @Setup
    public void prepare() throws IOException {
        folder = Files.createTempDirectory("safetensors-bench");
        file = folder.resolve("unet.safetensors");
        List<Declaration> declarations = new ArrayList<>();
        for (int i = 0; i < TENSORS; i++) {
            String name = "down_blocks." + i / 100 + ".attentions." + i / 10 % 10 + ".transformer_blocks." + i % 10
                    + ".attn1.to_out.0.weight";
            declarations.add(new Declaration(name, DType.F16, List.of((long) TENSOR_ROWS, (long) TENSOR_COLUMNS)));
        }
        byte[] bytes = new byte[2 * TENSOR_ROWS * TENSOR_COLUMNS];
        SafetensorsWriter.write(file, declarations, Map.of("format", "pt"), (entry, out) -> {
            bytes[0] = (byte) entry.name().hashCode();
            out.write(entry.name(), ByteBuffer.wrap(bytes));
        });
        JsonObject header = parseAsGeneralJson();
        try (Safetensors opened = Safetensors.open(file)) {
            if (opened.entries().size() != TENSORS || header.keys().size() != TENSORS + 1) {
                throw new IllegalStateException("expected " + TENSORS + " tensors, got "
                        + opened.entries().size() + " and " + header.keys().size());
            }
            long start = opened.entries().get(0).offset();
            for (TensorEntry entry : opened.entries()) {
                JsonObject general = header.object(entry.name());
                List<Long> offsets = List.of(entry.offset() - start, entry.offset() - start + entry.length());
                boolean same = general.string("dtype").equals(entry.dtype().name())
                        && general.integers("shape").equals(entry.shape())
                        && general.integers("data_offsets").equals(offsets);
                if (!same) {
                    throw new IllegalStateException("the parsers disagree about " + entry);
                }
            }
        }
    }

    /// Deletes the file.
    @TearDown
    public void cleanUp() throws IOException {
        Files.deleteIfExists(file);
        Files.deleteIfExists(folder);
    }

    /// Opens the file (reads, parses and checks the header, maps the data) and closes it.
    ///
    /// @return number of tensors
    @Benchmark
    public int open() throws IOException {
        try (Safetensors opened = Safetensors.open(file)) {
            return opened.entries().size();
        }
    }

    /// Opens the file and reads one byte of every page of every tensor (28 MB, in the page cache).
    ///
    /// @return their sum
    @Benchmark
    public long openAndTouch() throws IOException {
        long sum = 0;
        try (Safetensors opened = Safetensors.open(file)) {
            for (TensorEntry entry : opened.entries()) {
                MemorySegment segment = opened.segment(entry);
                for (long at = 0; at < segment.byteSize(); at += PAGE) {
                    sum += segment.get(ValueLayout.JAVA_BYTE, at);
                }
            }
        }
        return sum;
    }

    /// Reads the header and parses it as general JSON, into maps and lists.
    ///
    /// @return the header
    @Benchmark
    public JsonObject parseAsGeneralJson() throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
            channel.read(length);
            ByteBuffer header = ByteBuffer.allocate((int) length.getLong(0));
            channel.read(header);
            return Json.parseObject(file.toString(), new String(header.array(), StandardCharsets.UTF_8));
        }
    }
}
