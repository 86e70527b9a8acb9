package org.smpo.data;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.smpo.data.Problem.Severity;
import org.smpo.io.Images;

/// Results of a check of a data set: counts and the first examples of each problem.
public final class DataReport {
    private static final int EXAMPLES = 5;

    private final String source;
    private final List<String> notes;
    private final String fingerprint;
    private final int records;
    private final Map<Problem, List<Example>> examples = new EnumMap<>(Problem.class);
    private final Map<Problem, Integer> counts = new EnumMap<>(Problem.class);
    private final Map<String, Integer> formats = new TreeMap<>();
    private int bad;
    private int images;
    private int smallestSide = Integer.MAX_VALUE;
    private int largestSide;

    /// One record with a problem.
    ///
    /// @param index index of the record
    /// @param id name of the record
    /// @param message where it is, what was expected and what was found
    public record Example(int index, String id, String message) {}

    DataReport(PairSource source, String fingerprint) {
        this.source = source.describe();
        this.notes = source.notes();
        this.fingerprint = fingerprint;
        this.records = source.size();
    }

    void add(Problem problem, int index, String id, String message) {
        counts.merge(problem, 1, Integer::sum);
        List<Example> first = examples.computeIfAbsent(problem, none -> new ArrayList<>());
        if (first.size() < EXAMPLES) {
            first.add(new Example(index, id, message));
        }
        // A record has at most one problem of this severity: the check ends there.
        if (problem.severity() == Severity.BAD) {
            bad++;
        }
    }

    void addImage(Images.Header header) {
        images++;
        formats.merge(header.format().title(), 1, Integer::sum);
        smallestSide = Math.min(smallestSide, Math.min(header.width(), header.height()));
        largestSide = Math.max(largestSide, Math.max(header.width(), header.height()));
    }

    /// Number of records.
    int records() {
        return records;
    }

    /// Number of records that would be skipped.
    public int bad() {
        return bad;
    }

    /// Number of records with this problem.
    public int count(Problem problem) {
        return counts.getOrDefault(problem, 0);
    }

    /// The first records with this problem.
    public List<Example> examples(Problem problem) {
        return List.copyOf(examples.getOrDefault(problem, List.of()));
    }

    /// Fraction of bad records, or 1 when there are no records.
    public double badFraction() {
        return records == 0 ? 1 : (double) bad / records;
    }

    /// Whether a run with this limit would start.
    public boolean acceptable(double maxBadFraction) {
        return records > 0 && badFraction() <= maxBadFraction;
    }

    /// The report as JSON values.
    public Map<String, Object> toMap(double maxBadFraction) {
        Map<String, Object> problems = new LinkedHashMap<>();
        counts.forEach((problem, count) -> {
            List<Object> shown = new ArrayList<>();
            for (Example example : examples(problem)) {
                shown.add(Map.of("index", example.index(), "id", example.id(), "message", example.message()));
            }
            problems.put(
                    problem.id(),
                    Map.of(
                            "count",
                            count,
                            "severity",
                            problem.severity().name().toLowerCase(Locale.ROOT),
                            "examples",
                            shown));
        });
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("source", source);
        if (!notes.isEmpty()) {
            map.put("notes", notes);
        }
        map.put("fingerprint", fingerprint);
        map.put("records", records);
        map.put("bad", bad);
        map.put("bad_fraction", badFraction());
        map.put("max_bad_fraction", maxBadFraction);
        map.put("acceptable", acceptable(maxBadFraction));
        map.put("without_winner", count(Problem.TIE) + count(Problem.MISSING_LABEL));
        map.put("images", images);
        map.put("formats", formats);
        if (images > 0) {
            map.put("smallest_side", smallestSide);
            map.put("largest_side", largestSide);
        }
        map.put("problems", problems);
        return map;
    }

    /// The report as lines of text.
    public List<String> lines(double maxBadFraction) {
        List<String> lines = new ArrayList<>();
        lines.add(source);
        lines.addAll(notes);
        lines.add("fingerprint " + fingerprint);
        if (images > 0) {
            lines.add(
                    images + " images " + formats + ", sides from " + smallestSide + " to " + largestSide + " pixels");
        }
        for (Severity severity : Severity.values()) {
            for (Map.Entry<Problem, Integer> entry : counts.entrySet()) {
                if (entry.getKey().severity() != severity) {
                    continue;
                }
                lines.add(String.format(
                        Locale.ROOT,
                        "%-12s %7d x %s",
                        switch (severity) {
                            case BAD -> "bad";
                            case NOT_TRAINED -> "not trained";
                            case SUSPICIOUS -> "suspicious";
                        },
                        entry.getValue(),
                        entry.getKey().title()));
                examples(entry.getKey()).forEach(example -> lines.add("    " + example.message()));
            }
        }
        lines.add(
                records == 0
                        ? "no pairs"
                        : String.format(
                                Locale.ROOT,
                                "%d of %d records are bad (%.3g %%, at most %.3g %% are accepted): %s",
                                bad,
                                records,
                                100 * badFraction(),
                                100 * maxBadFraction,
                                acceptable(maxBadFraction) ? "fine" : "too many"));
        return lines;
    }
}
