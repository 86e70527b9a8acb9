package org.smpo.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.smpo.io.DType;
import org.smpo.schedule.Inversion;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/// The program behind `tools/bench`.
@Command(name = "bench", mixinStandardHelpOptions = true)
public final class Main {

    private static final JsonMapper JSON = new JsonMapper();

    private Main() {}

    /// Starts a verb.
    public static void main(String[] arguments) {
        System.exit(new CommandLine(new Main()).execute(arguments));
    }

    @Command(name = "jmh", description = "Runs the JMH benches and appends a JSON object a result.")
    int jmh(
            @Option(names = "--results", required = true) Path results,
            @Option(names = "--pattern", defaultValue = ".*") String pattern)
            throws RunnerException, IOException {
        Machine machine = Machine.current();
        Collection<RunResult> runs = new Runner(new OptionsBuilder()
                        .include(pattern)
                        .shouldFailOnError(true)
                        .build())
                .run();
        List<String> lines = new ArrayList<>();
        for (RunResult run : runs) {
            ObjectNode line = JSON.createObjectNode();
            line.put("time", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
            line.put("commit", System.getenv().getOrDefault("SMPO_COMMIT", "unknown"));
            line.put("bench", run.getParams().getBenchmark().replace("org.smpo.bench.", "jmh/"));
            for (String key : run.getParams().getParamsKeys()) {
                line.put(key, run.getParams().getParam(key));
            }
            line.put("score", run.getPrimaryResult().getScore());
            line.put("error", run.getPrimaryResult().getScoreError());
            line.put("unit", run.getPrimaryResult().getScoreUnit());
            line.put("java", System.getProperty("java.vm.version"));
            line.put("cpu", machine.key());
            lines.add(JSON.writeValueAsString(line));
        }
        Files.write(results, lines, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        return 0;
    }

    @Command(name = "guard", description = "Compares the hot paths with their recorded figures.")
    int guard(
            @Option(names = "--records", required = true) Path records,
            @Option(names = "--native", required = true) Path nativeBench,
            @Option(names = "--record", description = "write this machine's figures instead of comparing")
                    boolean record)
            throws IOException, InterruptedException {
        List<String> java = List.of(
                ProcessHandle.current().info().command().orElse("java"),
                "--enable-native-access=ALL-UNNAMED",
                "-Dsmpo.library=" + System.getProperty("smpo.library"),
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName(),
                "guard-fork");
        List<String> program = List.of(nativeBench.toAbsolutePath().toString(), "--guard");
        Guard guard = new Guard(Machine.current(), records, List.of(java, program), System.out);
        if (record) {
            guard.writeRecord();
            return 0;
        }
        return guard.compare() ? 0 : 1;
    }

    /// Protocol: one line of JSON when ready, then one step and one line of JSON for each line `go` on
    /// stdin; ends with stdin.
    @Command(name = "step", description = "One SmPO step each time it is told to, beside bench/peers/smpo_step.py.")
    int step(
            @Parameters(paramLabel = "MODEL", description = "tiny, sd15-half or sd15") String model,
            @Option(names = "--dtype", defaultValue = "f32", description = "f32 or bf16") String dtype,
            @Option(names = "--timesteps", split = ",", defaultValue = "350,650") int[] timesteps,
            @Option(names = "--inversion", defaultValue = "v020", description = "v020, v022 or exact") String semantics,
            @Option(names = "--renoise", defaultValue = "every_step", description = "every_step, last_step or none")
                    String renoise,
            @Option(names = "--steps", defaultValue = "5") int steps,
            @Option(names = "--size", defaultValue = "0", description = "of the latents; default 16 for tiny, else 64")
                    int size,
            @Option(names = "--tokens", defaultValue = "77") int tokens,
            @Option(names = "--threads", defaultValue = "0") int threads,
            @Option(names = "--micro-batch", defaultValue = "1", description = "pairs differentiated at once")
                    int microBatch,
            @Option(
                            names = "--slots",
                            defaultValue = "0",
                            description = "inversion batch size in images (default: 2 x pairs)")
                    int slots,
            @Option(names = "--gradient-checkpointing") boolean checkpointing,
            @Option(names = "--warm-up", defaultValue = "step", description = "state: only AdamW's moments")
                    String warmUp)
            throws IOException {
        StepBench.Options options = new StepBench.Options(
                model,
                DType.valueOf(dtype.toUpperCase(Locale.ROOT)),
                timesteps,
                Inversion.of(Inversion.Semantics.valueOf(semantics.toUpperCase(Locale.ROOT)), steps)
                        .withRenoise(Inversion.Renoise.valueOf(renoise.toUpperCase(Locale.ROOT))),
                size > 0 ? size : model.equals("tiny") ? 16 : 64,
                tokens,
                threads,
                microBatch,
                slots > 0 ? slots : 2 * timesteps.length,
                checkpointing);
        try (StepBench bench = new StepBench(options);
                BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            if (warmUp.equals("step")) {
                bench.warmUp();
            } else {
                bench.makeState();
            }
            StepBench.resetPeak();
            System.out.println(bench.ready());
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                if (!line.equals("go")) {
                    throw new IOException("expected the line go, got " + line);
                }
                System.out.println(bench.go());
            }
        }
        return 0;
    }

    @Command(name = "guard-fork", hidden = true, description = "One process of the guard.")
    int guardFork() throws Exception {
        try (HotPaths paths = new HotPaths()) {
            for (HotPath path : paths.all()) {
                HotPath.Figure figure = path.measure();
                ObjectNode line = JSON.createObjectNode();
                line.put("guard", figure.name());
                line.put("ns", figure.nanos());
                line.put("ratio", figure.ratio());
                System.out.println(JSON.writeValueAsString(line));
            }
        }
        return 0;
    }
}
