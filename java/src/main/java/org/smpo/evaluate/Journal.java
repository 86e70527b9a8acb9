package org.smpo.evaluate;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalDouble;
import org.smpo.report.RunLog;

/// What an evaluation has drawn and measured so far: a line for each, in a file that only grows. A line that a process
/// left unfinished is dropped. A measured value holds for a image of that digest only.
final class Journal implements Closeable {
    private record Place(String model, int image) {}

    private record Measured(String metric, String model, int image, String sha256) {}

    private final Map<Place, String> generated = new HashMap<>();
    private final Map<Measured, Double> values = new HashMap<>();
    private RunLog log;

    private Journal() {}

    static Journal open(Path file) throws IOException {
        Journal journal = new Journal();
        if (Files.exists(file)) {
            for (Map<String, Object> event : RunLog.read(file)) {
                journal.take(event);
            }
            journal.log = RunLog.resume(file, lines(Files.readAllBytes(file)));
        } else {
            journal.log = RunLog.create(file);
        }
        return journal;
    }

    /// The length of all lines that have an end.
    private static long lines(byte[] bytes) {
        int length = bytes.length;
        while (length > 0 && bytes[length - 1] != '\n') {
            length--;
        }
        return length;
    }

    private void take(Map<String, Object> event) {
        String model = (String) event.get("model");
        int image = ((Number) event.get("picture")).intValue();
        String sha256 = (String) event.get("sha256");
        if (event.get("event").equals("drawn")) {
            generated.put(new Place(model, image), sha256);
        } else {
            values.put(
                    new Measured((String) event.get("measure"), model, image, sha256),
                    ((Number) event.get("value")).doubleValue());
        }
    }

    /// The digest of a image's file, or null when it is not drawn.
    String generated(String model, int image) {
        return generated.get(new Place(model, image));
    }

    OptionalDouble value(String metric, String model, int image, String sha256) {
        Double value = values.get(new Measured(metric, model, image, sha256));
        return value == null ? OptionalDouble.empty() : OptionalDouble.of(value);
    }

    void draw(String model, int image, String sha256) throws IOException {
        append(event("drawn", model, image, sha256));
    }

    void metric(String metric, String model, int image, String sha256, double value) throws IOException {
        Map<String, Object> event = event("measured", model, image, sha256);
        event.put("measure", metric);
        event.put("value", value);
        append(event);
    }

    private static Map<String, Object> event(String what, String model, int image, String sha256) {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("event", what);
        event.put("model", model);
        event.put("picture", image);
        event.put("sha256", sha256);
        return event;
    }

    private void append(Map<String, Object> event) throws IOException {
        log.append(event);
        take(event);
    }

    @Override
    public void close() throws IOException {
        log.close();
    }
}
