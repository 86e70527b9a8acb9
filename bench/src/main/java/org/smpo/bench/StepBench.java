package org.smpo.bench;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.InversionReport;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.NativeOptimizer;
import org.smpo.ffi.OptimizerOptions;
import org.smpo.ffi.ParameterInfo;
import org.smpo.ffi.StepOutcome;
import org.smpo.ffi.UNetSpec;
import org.smpo.io.DType;
import org.smpo.objective.Objective;
import org.smpo.objective.PairLoss;
import org.smpo.objective.Smpo;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.train.Networks;
import org.smpo.train.PairLatents;
import org.smpo.train.PreferenceStep;
import org.smpo.train.StepResults;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/// One SmPO step with full weights, as `smpo train` takes it: [PreferenceStep] and AdamW, on a UNet with random
/// weights. Its peer is `bench/peers/smpo_step.py`, the published algorithm. Neither includes decoding, VAE or text
/// encoder.
final class StepBench implements AutoCloseable {
    private static final JsonMapper JSON = new JsonMapper();
    private static final double LABEL = 0.6;
    private static final double LEARNING_RATE = 1.024e-5;

    /// Options of one measurement.
    ///
    /// @param model `tiny`, `sd15-half` or `sd15`
    /// @param precision F32 or BF16
    /// @param timesteps training timestep of each pair of the batch
    /// @param size height and width of the latents
    /// @param threads number of CPU threads; 0: one per physical core
    /// @param microBatch pairs differentiated at once
    /// @param inversionBatch number of images inverted at once
    /// @param checkpointing whether backward recomputes each layer instead of keeping its activations
    @SuppressWarnings("ArrayRecordComponent") // options of one run, never compared
    record Options(
            String model,
            DType precision,
            int[] timesteps,
            Inversion inversion,
            int size,
            int tokens,
            int threads,
            int microBatch,
            int inversionBatch,
            boolean checkpointing) {}

    private final Options options;
    private final List<AutoCloseable> owned = new ArrayList<>();
    private final NativeModel policy;
    private final NativeModel reference;
    private final NativeOptimizer optimizer;
    private final PreferenceStep step;
    private final PairLatents pairs;
    private final long parameters;

    StepBench(Options options) {
        this.options = options;
        Engine engine = keep(Engine.open(EngineConfig.onCpu().withThreads(options.threads())));
        try {
            UNetSpec spec = spec(options.model());
            policy = keep(NativeModel.openUNet(
                    engine, spec, new ModelOptions(options.precision(), true, options.checkpointing())));
            reference = keep(NativeModel.openUNet(engine, spec, ModelOptions.frozen(options.precision())));
            parameters = writeWeights();
            optimizer = keep(NativeOptimizer.open(policy, new OptimizerOptions(OptimizerOptions.AdamW.standard(), 0)));
            Objective objective = new Smpo(2000, 10, 0.5);
            step = new PreferenceStep(
                    engine,
                    NoiseSchedule.stableDiffusion(),
                    PairLoss.of(objective),
                    options.inversion(),
                    options.inversionBatch());
            pairs = keep(pairs(engine, spec.crossAttentionDim(), options.timesteps()));
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    static UNetSpec spec(String model) {
        return switch (model) {
            case "tiny" -> spec(List.of(16, 24, 32, 32), 2, 20, 8);
            case "sd15-half" -> spec(List.of(160, 320, 640, 640), 8, 768, 32);
            case "sd15" -> spec(List.of(320, 640, 1280, 1280), 8, 768, 32);
            default -> throw new IllegalArgumentException("expected tiny, sd15-half or sd15, got " + model);
        };
    }

    private static UNetSpec spec(List<Integer> channels, int heads, int crossAttention, int groups) {
        return new UNetSpec(
                4,
                4,
                channels,
                List.of(true, true, true, false),
                List.of(false, true, true, true),
                List.of(2, 2, 2, 2),
                List.of(1, 1, 1, 1),
                List.of(heads, heads, heads, heads),
                crossAttention,
                false,
                groups,
                true,
                0,
                0,
                1e-5,
                0);
    }

    /// Writes the same weights to policy and reference, with about the variance of freshly initialized layers.
    private long writeWeights() {
        Random random = new Random(1);
        long all = 0;
        for (ParameterInfo parameter : policy.parameters()) {
            boolean vector = parameter.shape().size() == 1;
            boolean gain = vector && parameter.name().endsWith(".weight");
            long fanIn = parameter.elements() / parameter.shape().getFirst();
            float scale = vector ? 0.05f : (float) (Math.sqrt(3.0 / fanIn) / 3);
            all += parameter.elements();
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment values = arena.allocate(ValueLayout.JAVA_FLOAT, parameter.elements());
                for (long i = 0; i < parameter.elements(); i++) {
                    values.setAtIndex(ValueLayout.JAVA_FLOAT, i, (gain ? 1 : 0) + scale * (2 * random.nextFloat() - 1));
                }
                policy.write(parameter.name(), DType.F32, parameter.shape(), values);
                reference.write(parameter.name(), DType.F32, parameter.shape(), values);
            }
        }
        return all;
    }

    private PairLatents pairs(Engine engine, int channels, int[] timesteps) {
        int count = timesteps.length;
        double[] labels = new double[count];
        Arrays.fill(labels, LABEL);
        long[] items = new long[2 * count];
        Arrays.setAll(items, i -> i < count ? 2L * i : 2L * (i - count) + 1);
        return new PairLatents(
                engine.fromHost(
                        normal(2, 2 * count * 4 * options.size() * options.size()),
                        2L * count,
                        4,
                        options.size(),
                        options.size()),
                engine.fromHost(normal(3, count * options.tokens() * channels), count, options.tokens(), channels),
                null,
                null,
                ofBothImages(timesteps),
                labels,
                null,
                items);
    }

    private static int[] ofBothImages(int[] timesteps) {
        int[] all = Arrays.copyOf(timesteps, 2 * timesteps.length);
        System.arraycopy(timesteps, 0, all, timesteps.length, timesteps.length);
        return all;
    }

    private static float[] normal(long seed, int count) {
        Random random = new Random(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    /// Runs every phase once, with as little inversion as possible.
    void warmUp() {
        int[] early = new int[2 * options.timesteps().length];
        Arrays.fill(early, 2);
        run(new PairLatents(
                pairs.latents(),
                pairs.encoderHiddenStates(),
                null,
                null,
                early,
                pairs.label(),
                pairs.weight(),
                pairs.items()));
    }

    /// Updates once with zero gradients, because the memory of AdamW's moments becomes resident only when it is
    /// written.
    void makeState() {
        optimizer.step(LEARNING_RATE, 1);
    }

    /// Resets the peak of resident memory.
    static void resetPeak() throws IOException {
        Files.writeString(Path.of("/proc/self/clear_refs"), "5");
    }

    /// Measurements of one step.
    record Step(StepResults results, double updateSeconds) {}

    private Step run(PairLatents batch) {
        StepResults results =
                step.run(batch, new Networks(policy, reference, null), 0, options.microBatch(), batch.pairs(), true);
        long differentiated = System.nanoTime();
        StepOutcome outcome = optimizer.step(LEARNING_RATE, 1);
        if (!outcome.applied()) {
            throw new IllegalStateException("the gradient is not finite");
        }
        return new Step(results, (System.nanoTime() - differentiated) / 1e9);
    }

    String ready() throws IOException {
        ObjectNode line = JSON.createObjectNode();
        line.put("ready", true);
        line.put("contender", "smpo");
        line.put("parameters", parameters);
        line.put("micro_batch", options.microBatch());
        line.put("slots", options.inversionBatch());
        line.put("resident_bytes", resident("VmRSS"));
        return JSON.writeValueAsString(line);
    }

    /// Takes a step and prints its measurements as one line of JSON.
    String go() throws IOException {
        Duration cpu = cpuTime();
        long start = System.nanoTime();
        Step taken = run(pairs);
        double seconds = (System.nanoTime() - start) / 1e9;
        double cpuSeconds = cpuTime().minus(cpu).toNanos() / 1e9;
        StepResults results = taken.results();
        InversionReport inversion = results.inversion();
        ObjectNode line = JSON.createObjectNode();
        line.put("seconds", seconds);
        line.put("cpu_seconds", cpuSeconds);
        ObjectNode phases = line.putObject("phases");
        phases.put("invert", results.noiseSeconds());
        phases.put("gradients", results.gradientSeconds());
        phases.put("update", taken.updateSeconds());
        line.put("inversion_unet_seconds", inversion.unetSeconds());
        // Forward evaluations per pair, counted as the peer counts them: two images, then policy and reference.
        line.put("unet_evaluations", inversion.evaluations() / 2.0 + 2 * pairs.pairs());
        line.put("pairs", pairs.pairs());
        line.put("loss", results.loss());
        line.put("peak_resident_bytes", resident("VmHWM"));
        return JSON.writeValueAsString(line);
    }

    private static Duration cpuTime() {
        return ProcessHandle.current().info().totalCpuDuration().orElse(Duration.ZERO);
    }

    /// Bytes of VmRSS (now) or VmHWM (peak) of this process.
    private static long resident(String field) throws IOException {
        String status = Files.readString(Path.of("/proc/self/status"));
        Matcher found = Pattern.compile(field + ":\\s+(\\d+) kB").matcher(status);
        if (!found.find()) {
            throw new IOException("/proc/self/status has no " + field);
        }
        return Long.parseLong(found.group(1)) * 1024;
    }

    private <T extends AutoCloseable> T keep(T part) {
        owned.addFirst(part);
        return part;
    }

    @Override
    public void close() {
        for (AutoCloseable part : owned) {
            try {
                part.close();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }
        owned.clear();
    }
}
