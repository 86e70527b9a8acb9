package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.smpo.io.FloatTensor;
import org.smpo.io.Precision;
import org.smpo.objective.Dmpo;
import org.smpo.objective.Dpo;
import org.smpo.objective.Inpo;
import org.smpo.objective.Ipo;
import org.smpo.objective.Objective;
import org.smpo.objective.Sft;
import org.smpo.objective.Smpo;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.TimestepSpacing;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo trace`: one training micro-batch with every intermediate.
@Command(
        name = "trace",
        description = "Take one training step on given latents and write every intermediate and gradient.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:written", "1:it failed", "2:wrong usage"})
final class Trace implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "MODEL",
            description = "A diffusers folder or a checkpoint: its UNet is the reference, its schedule is used.")
    private Path model;

    @Option(names = "--policy-unet", paramLabel = "DIR", description = "Folder of a UNet. Default: the reference.")
    private Path policy;

    @Option(
            names = "--batch",
            paramLabel = "FILE",
            required = true,
            description = "Safetensors: latents_w, latents_l [P,4,h,w], prompt_embeds [P,S,D], timesteps [P], p [P], "
                    + "and for SDXL pooled [P,E], time_ids [P,6].")
    private Path batch;

    @Option(names = "--out", paramLabel = "FILE", required = true, description = "Safetensors to write.")
    private Path out;

    @Option(
            names = "--objective",
            paramLabel = "NAME",
            defaultValue = "smpo",
            description = "smpo, dpo, inpo, dmpo, ipo or sft. Default: ${DEFAULT-VALUE}.")
    private String objective;

    @Option(names = "--beta", paramLabel = "X", defaultValue = "2000", description = "Default: ${DEFAULT-VALUE}.")
    private double beta;

    @Option(names = "--gamma", paramLabel = "X", defaultValue = "10", description = "Of smpo. Default: 10.")
    private double gamma;

    @Option(names = "--kappa", paramLabel = "X", defaultValue = "0.5", description = "Default: ${DEFAULT-VALUE}.")
    private double kappa;

    @Option(names = "--alpha", paramLabel = "X", defaultValue = "0.01", description = "Of dmpo. Default: 0.01.")
    private double alpha;

    @Option(names = "--margin", paramLabel = "X", defaultValue = "0.5", description = "Of ipo. Default: 0.5.")
    private double margin;

    @Option(names = "--eta", paramLabel = "X", defaultValue = "0.1", description = "Of inpo. Default: 0.1.")
    private double eta;

    @Option(
            names = "--inversion",
            paramLabel = "NAME",
            defaultValue = "v020",
            description = "v020, v022 or exact. Default: ${DEFAULT-VALUE}.")
    private String inversion;

    @Option(names = "--steps", paramLabel = "N", defaultValue = "5", description = "Of the grid. Default: 5.")
    private int steps;

    @Option(
            names = "--renoise",
            paramLabel = "NAME",
            defaultValue = "every_step",
            description = "every_step, last_step or none. Default: ${DEFAULT-VALUE}.")
    private String renoise;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "0", description = "Of forward noise and eta noise.")
    private long seed;

    @Option(names = "--micro-batch", paramLabel = "N", defaultValue = "0", description = "Pairs at a time. 0: all.")
    private int microBatch;

    @Option(names = "--slots", paramLabel = "N", defaultValue = "0", description = "Images inverted at a time. 0: all.")
    private int slots;

    @Option(names = "--device", paramLabel = "NAME", defaultValue = "cpu", description = "cpu, cuda or cuda:N.")
    private String device;

    @Option(names = "--precision", paramLabel = "TYPE", defaultValue = "fp32", description = "fp32 or bf16.")
    private String precision;

    @Option(names = "--threads", paramLabel = "N", defaultValue = "0", description = "0: one per physical core.")
    private int threads;

    Trace() {}

    @Override
    public Integer call() throws IOException {
        org.smpo.train.Trace.Settings settings = settings();
        Map<String, FloatTensor> result = org.smpo.train.Trace.run(model, policy, FloatTensor.readAll(batch), settings);
        FloatTensor.writeAll(out, result, metadata());
        PrintWriter writer = spec.commandLine().getOut();
        writer.printf(Locale.ROOT, "loss %.9g, %d tensors%n", result.get("loss").values()[0], result.size());
        writer.flush();
        return 0;
    }

    private org.smpo.train.Trace.Settings settings() {
        try {
            Objective chosen = objective();
            return new org.smpo.train.Trace.Settings(
                    chosen,
                    new Inversion(
                            choice(Inversion.Semantics.class, "--inversion", inversion),
                            steps,
                            TimestepSpacing.LEADING,
                            choice(Inversion.Renoise.class, "--renoise", renoise),
                            chosen.inversionEta()),
                    device,
                    choice(Precision.class, "--precision", precision),
                    notNegative("--threads", threads),
                    seed,
                    notNegative("--micro-batch", microBatch),
                    notNegative("--slots", slots));
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
    }

    private Objective objective() {
        return switch (objective) {
            case "smpo" -> new Smpo(beta, gamma, kappa);
            case "dpo" -> new Dpo(beta, kappa);
            case "inpo" -> new Inpo(beta, kappa, eta);
            case "dmpo" -> new Dmpo(beta, kappa, alpha);
            case "ipo" -> new Ipo(beta, kappa, margin);
            case "sft" -> new Sft();
            default ->
                throw new IllegalArgumentException(
                        "--objective: expected smpo, dpo, inpo, dmpo, ipo or sft, got " + objective);
        };
    }

    private static int notNegative(String option, int value) {
        if (value < 0) {
            throw new IllegalArgumentException(option + ": expected 0 or more, got " + value);
        }
        return value;
    }

    private static <E extends Enum<E>> E choice(Class<E> kind, String option, String value) {
        for (E constant : kind.getEnumConstants()) {
            if (constant.name().toLowerCase(Locale.ROOT).equals(value)) {
                return constant;
            }
        }
        throw new IllegalArgumentException(option + ": expected one of "
                + String.join(
                        ", ",
                        java.util.stream.Stream.of(kind.getEnumConstants())
                                .map(constant -> constant.name().toLowerCase(Locale.ROOT))
                                .toList())
                + ", got " + value);
    }

    private Map<String, String> metadata() {
        Map<String, String> all = new LinkedHashMap<>();
        all.put("objective", objective);
        all.put("beta", Double.toString(beta));
        all.put("kappa", Double.toString(kappa));
        if (objective.equals("smpo")) {
            all.put("gamma", Double.toString(gamma));
        }
        all.put("inversion", inversion);
        all.put("steps", Integer.toString(steps));
        all.put("renoise", renoise);
        all.put("precision", precision);
        return all;
    }
}
