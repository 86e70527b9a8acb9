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

/// The journal of an evaluation: an append-only file with one line per image and per score. It is cut
/// before the first line that is incomplete or damaged; what followed is computed again. A score belongs
/// to the image file of one digest.
final class Journal implements Closeable {
    private record Place(String model, int image) {}

    private record Scored(String metric, String model, int image, String sha256) {}

    private final Map<Place, String> generated = new HashMap<>();
    private final Map<Scored, Double> values = new HashMap<>();
    private RunLog log;

    private Journal() {}

    static Journal open(Path file) throws IOException {
        Journal journal = new Journal();
        if (Files.exists(file)) {
            journal.log = RunLog.resume(file, RunLog.readSound(file, journal::take));
        } else {
            journal.log = RunLog.create(file);
        }
        return journal;
    }

    /// Takes an event.
    ///
    /// @return false when it is none of a journal
    private boolean take(Map<String, Object> event) {
        if (!(event.get("model") instanceof String model)
                || !(event.get("picture") instanceof Integer image)
                || !(event.get("sha256") instanceof String sha256)) {
            return false;
        }
        if ("drawn".equals(event.get("event"))) {
            generated.put(new Place(model, image), sha256);
            return true;
        }
        if ("measured".equals(event.get("event"))
                && event.get("measure") instanceof String metric
                && event.get("value") instanceof Number value) {
            values.put(new Scored(metric, model, image, sha256), value.doubleValue());
            return true;
        }
        return false;
    }

    /// Returns the digest of an image's file, or null when the image was not generated.
    String image(String model, int image) {
        return generated.get(new Place(model, image));
    }

    /// Returns the score of an image file, if there is one.
    OptionalDouble score(String metric, String model, int image, String sha256) {
        Double value = values.get(new Scored(metric, model, image, sha256));
        return value == null ? OptionalDouble.empty() : OptionalDouble.of(value);
    }

    /// Records that an image was written.
    void addImage(String model, int image, String sha256) throws IOException {
        append(event("drawn", model, image, sha256));
    }

    /// Records a score.
    void addScore(String metric, String model, int image, String sha256, double value) throws IOException {
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
