package org.smpo.report;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.smpo.io.AppendedFile;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonReadFeature;
import tools.jackson.core.json.JsonWriteFeature;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/// `log.jsonl`: one JSON object per line, in the order of events.
///
/// Each line reaches the operating system before [#append] returns. A checkpoint records the length that
/// [#sync] returns; [#resume] cuts the file back to it, so that repeated steps appear once. Numbers that
/// JSON cannot express are written as `NaN`, `Infinity` and `-Infinity` without quotes, as Python reads and
/// writes them.
///
/// Equal runs produce equal lines, except for values that depend on the clock. Not thread-safe.
public final class RunLog implements Closeable {
    private static final JsonMapper JSON = JsonMapper.builder()
            .disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS)
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .disable(SerializationFeature.FAIL_ON_EMPTY_BEANS)
            .build();

    private static final int NEWLINE = '\n';

    private final AppendedFile file;

    private RunLog(AppendedFile file) {
        this.file = file;
    }

    /// Starts the log of a new run.
    ///
    /// @throws IOException when the file exists or cannot be created
    public static RunLog create(Path file) throws IOException {
        return new RunLog(AppendedFile.create(file));
    }

    /// Continues the log of a run from one of its checkpoints.
    ///
    /// @param length length of the file at the checkpoint, from [#sync]
    /// @throws IOException when the file is shorter, or the last line before that length is incomplete
    public static RunLog resume(Path file, long length) throws IOException {
        if (length > 0 && Files.size(file) >= length && byteAt(file, length - 1) != NEWLINE) {
            throw new IOException(file + ": expected the end of a line at byte " + length + ", where the checkpoint "
                    + "was made; was it edited or taken from another run?");
        }
        return new RunLog(AppendedFile.resume(file, length));
    }

    private static int byteAt(Path file, long position) throws IOException {
        try (InputStream stream = Files.newInputStream(file)) {
            stream.skipNBytes(position);
            return stream.read();
        }
    }

    /// Writes one line.
    ///
    /// @param event values by key, in the map's order: text, numbers, booleans, null, lists and maps of
    ///     these
    /// @throws IOException when the line cannot be written; the file then has no part of it
    public void append(Map<String, ?> event) throws IOException {
        byte[] json = JSON.writeValueAsBytes(event);
        byte[] line = new byte[json.length + 1];
        System.arraycopy(json, 0, line, 0, json.length);
        line[json.length] = NEWLINE;
        file.append(line);
    }

    /// Makes all lines durable.
    ///
    /// @return length of the file in bytes, for [#resume]
    public long sync() throws IOException {
        return file.sync();
    }

    @Override
    public void close() throws IOException {
        file.close();
    }

    /// Returns the events of a log, oldest first. An incomplete last line, which a killed process left, is
    /// skipped.
    ///
    /// @return maps in the order of their keys, integers as Integer, Long or BigInteger and other numbers
    ///     as Double
    /// @throws IOException when the file cannot be read, or a complete line is not a JSON object, naming
    ///     the line
    public static List<Map<String, Object>> read(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        List<Map<String, Object>> events = new ArrayList<>();
        int from = 0;
        for (int end = 0; end < bytes.length; end++) {
            if (bytes[end] == NEWLINE) {
                events.add(event(file, events.size() + 1, Arrays.copyOfRange(bytes, from, end)));
                from = end + 1;
            }
        }
        return events;
    }

    /// Passes the events of a log to a receiver, oldest first, up to the first line that is damaged:
    /// incomplete, not a JSON object, or refused by the receiver.
    ///
    /// @return number of bytes of the lines before it, from which [#resume] continues
    /// @throws IOException when the file cannot be read
    public static long readSound(Path file, Predicate<Map<String, Object>> receiver) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        int from = 0;
        for (int end = 0; end < bytes.length; end++) {
            if (bytes[end] == NEWLINE) {
                try {
                    if (!receiver.test(event(file, 0, Arrays.copyOfRange(bytes, from, end)))) {
                        return from;
                    }
                } catch (IOException e) {
                    return from;
                }
                from = end + 1;
            }
        }
        return from;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> event(Path file, int line, byte[] json) throws IOException {
        Object value;
        try {
            value = JSON.readValue(json, Object.class);
        } catch (JacksonException e) {
            throw new IOException(file + ": line " + line + ": " + e.getOriginalMessage(), e);
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw new IOException(file + ": line " + line + ": expected a JSON object, found "
                    + new String(json, StandardCharsets.UTF_8));
        }
        return (Map<String, Object>) map;
    }
}
