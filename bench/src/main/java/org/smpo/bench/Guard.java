package org.smpo.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/// Compares the hot paths with their recorded figures. A figure is a ratio: the time of the path over
/// the time of a calibration loop in the same process, the median of several processes. A path that is
/// more than 15 % slower than recorded fails. Since load on a shared machine can also cause that, it
/// must fail three times in a row.
final class Guard {

    /// Allowed relative increase over the recorded ratio.
    static final double TOLERANCE = 0.15;

    static final int FORKS = 5;
    static final int ATTEMPTS = 3;

    private static final JsonMapper JSON = new JsonMapper();

    private final Machine machine;
    private final Path records;
    private final List<List<String>> commands;
    private final PrintStream out;

    /// @param records the file of recorded figures, by machine
    /// @param commands commands that each start one fork, which prints one object per line: `guard`
    ///     (name), `ns`, `ratio`
    Guard(Machine machine, Path records, List<List<String>> commands, PrintStream out) {
        this.machine = machine;
        this.records = records;
        this.commands = List.copyOf(commands);
        this.out = out;
    }

    /// The verdict on one path.
    record Verdict(String path, double nanos, double ratio, Double recorded) {

        /// Relative slowdown against the record, 0.1 for 10 %; 0 when nothing is recorded.
        double slowdown() {
            return recorded == null ? 0 : ratio / recorded - 1;
        }

        boolean failed() {
            return slowdown() > TOLERANCE;
        }
    }

    /// Measures, prints a table, and compares.
    ///
    /// @return true when no path is slower than recorded, or nothing is recorded for this machine
    boolean compare() throws IOException, InterruptedException {
        Map<String, Double> recorded = read();
        if (recorded.isEmpty()) {
            out.println("guard: no figures recorded for " + machine.key() + ": measuring without comparing;"
                    + " tools/bench --guard --record writes them");
        }
        List<Verdict> verdicts = judge(measure(), recorded);
        for (int attempt = 2; attempt <= ATTEMPTS && verdicts.stream().anyMatch(Verdict::failed); attempt++) {
            out.println("guard: slower than recorded; measuring again (" + attempt + " of " + ATTEMPTS + ")");
            Map<String, Verdict> again = new TreeMap<>();
            for (Verdict verdict : judge(measure(), recorded)) again.put(verdict.path(), verdict);
            verdicts = verdicts.stream()
                    .map(before -> {
                        Verdict now = again.getOrDefault(before.path(), before);
                        return now.ratio() < before.ratio() ? now : before;
                    })
                    .toList();
        }
        print(verdicts);
        boolean missing = false;
        for (String path : recorded.keySet()) {
            if (verdicts.stream().noneMatch(verdict -> verdict.path().equals(path))) {
                out.println("guard: " + path + " is recorded but was not measured");
                missing = true;
            }
        }
        return !missing && verdicts.stream().noneMatch(Verdict::failed);
    }

    /// Measures, and writes the figures as this machine's record.
    void writeRecord() throws IOException, InterruptedException {
        List<Verdict> verdicts = judge(measure(), Map.of());
        print(verdicts);
        ObjectNode all = Files.exists(records)
                ? JSON.readValue(Files.readString(records), ObjectNode.class)
                : JSON.createObjectNode();
        ObjectNode mine = JSON.createObjectNode();
        for (Verdict verdict : verdicts) mine.put(verdict.path(), round(verdict.ratio()));
        all.set(machine.key(), mine);
        Files.writeString(records, JSON.writerWithDefaultPrettyPrinter().writeValueAsString(all) + "\n");
        out.println("guard: recorded for " + machine.key() + " in " + records);
    }

    static List<Verdict> judge(Map<String, List<HotPath.Figure>> figures, Map<String, Double> recorded) {
        List<Verdict> verdicts = new ArrayList<>();
        figures.forEach((path, forks) -> verdicts.add(new Verdict(
                path,
                median(forks.stream().mapToDouble(HotPath.Figure::nanos).toArray()),
                median(forks.stream().mapToDouble(HotPath.Figure::ratio).toArray()),
                recorded.get(path))));
        return verdicts;
    }

    private Map<String, List<HotPath.Figure>> measure() throws IOException, InterruptedException {
        Map<String, List<HotPath.Figure>> figures = new TreeMap<>();
        for (int fork = 0; fork < FORKS; fork++) {
            for (List<String> command : commands) {
                for (HotPath.Figure figure : fork(command)) {
                    figures.computeIfAbsent(figure.name(), name -> new ArrayList<>())
                            .add(figure);
                }
            }
        }
        return figures;
    }

    private static List<HotPath.Figure> fork(List<String> command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        List<HotPath.Figure> figures = new ArrayList<>();
        try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
            for (String line; (line = lines.readLine()) != null; ) {
                if (!line.startsWith("{")) continue;
                JsonNode node = JSON.readTree(line);
                figures.add(new HotPath.Figure(
                        node.get("guard").asString(),
                        node.path("ns").asDouble(Double.NaN),
                        node.get("ratio").asDouble()));
            }
        }
        int status = process.waitFor();
        if (status != 0) throw new IOException(String.join(" ", command) + ": exit status " + status);
        if (figures.isEmpty()) throw new IOException(String.join(" ", command) + ": printed no figure");
        return figures;
    }

    private Map<String, Double> read() throws IOException {
        Map<String, Double> recorded = new TreeMap<>();
        if (Files.exists(records)) {
            JsonNode mine = JSON.readTree(Files.readString(records)).get(machine.key());
            if (mine != null)
                mine.properties()
                        .forEach(entry ->
                                recorded.put(entry.getKey(), entry.getValue().asDouble()));
        }
        return recorded;
    }

    private void print(List<Verdict> verdicts) {
        out.printf("%-36s %14s %12s %12s %9s%n", "hot path", "one call", "ratio", "recorded", "");
        for (Verdict verdict : verdicts) {
            out.printf(
                    "%-36s %11.1f ns %12.6f %12s %9s%n",
                    verdict.path(),
                    verdict.nanos(),
                    verdict.ratio(),
                    verdict.recorded() == null ? "-" : String.format("%.6f", verdict.recorded()),
                    verdict.recorded() == null
                            ? ""
                            : String.format("%+.1f %%%s", 100 * verdict.slowdown(), verdict.failed() ? " SLOWER" : ""));
        }
    }

    private static double median(double[] values) {
        Arrays.sort(values);
        int middle = values.length / 2;
        return values.length % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    }

    private static double round(double ratio) {
        return new java.math.BigDecimal(ratio)
                .round(new java.math.MathContext(6))
                .doubleValue();
    }
}
