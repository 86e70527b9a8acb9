package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.smpo.io.FloatTensor;
import org.smpo.objective.Objective;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.TimestepSpacing;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo trace`: one training micro-batch with every intermediate result.
@Command(
        name = "trace",
        description = "Take one training step on given latents and write every intermediate result and gradient.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:tensors written", "1:failure", "2:wrong usage"})
final class Trace implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "MODEL",
            description = "Diffusers folder or single-file checkpoint that supplies the reference UNet and the noise"
                    + " schedule")
    private Path model;

    @Option(
            names = "--policy-unet",
            paramLabel = "DIR",
            description = "Folder of the policy UNet (default: the reference UNet)")
    private Path policy;

    @Option(
            names = "--batch",
            paramLabel = "FILE",
            required = true,
            description =
                    "Safetensors file with latents_w, latents_l [P,4,h,w], prompt_embeds [P,S,D], timesteps [P], the"
                            + " labels that the objective reads (p [P] or reward_margin [P]), and for SDXL pooled [P,E],"
                            + " time_ids [P,6]")
    private Path batch;

    @Option(names = "--out", paramLabel = "FILE", required = true, description = "Safetensors file to write")
    private Path out;

    @Option(
            names = "--inversion",
            paramLabel = "NAME",
            defaultValue = "v020",
            completionCandidates = Choices.InversionSemantics.class,
            description = "Semantics of DDIM inversion: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE})")
    private String inversion;

    @Option(
            names = "--steps",
            paramLabel = "N",
            defaultValue = "5",
            description = "Number of inversion steps in the grid (default: ${DEFAULT-VALUE})")
    private int steps;

    @Option(
            names = "--renoise",
            paramLabel = "NAME",
            defaultValue = "every_step",
            completionCandidates = Choices.Renoises.class,
            description = "Steps with a ReNoise correction: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE})")
    private String renoise;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Seed of the forward noise and the eta noise (default: ${DEFAULT-VALUE})")
    private long seed;

    @Option(
            names = "--micro-batch",
            paramLabel = "N",
            defaultValue = "0",
            description = "Number of pairs per micro-batch; 0 takes all (default: ${DEFAULT-VALUE})")
    private int microBatch;

    @Option(
            names = "--slots",
            paramLabel = "N",
            defaultValue = "0",
            description = "Number of images inverted at a time; 0 takes all (default: ${DEFAULT-VALUE})")
    private int inversionBatch;

    @Mixin
    private ComputeOptions compute;

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
            Objective chosen = MethodOptions.objective(spec.commandLine().getParseResult());
            return new org.smpo.train.Trace.Settings(
                    chosen,
                    new Inversion(
                            Choices.parse("--inversion", Choices.INVERSION_SEMANTICS, Choices::lowerCase, inversion),
                            steps,
                            TimestepSpacing.LEADING,
                            Choices.parse("--renoise", Choices.RENOISES, Choices::lowerCase, renoise),
                            chosen.inversionEta()),
                    compute.device(),
                    compute.precision(),
                    compute.threads(),
                    seed,
                    notNegative("--micro-batch", microBatch),
                    notNegative("--slots", inversionBatch));
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage(), e);
        }
    }

    private static int notNegative(String option, int value) {
        if (value < 0) {
            throw new IllegalArgumentException(option + ": expected 0 or more, got " + value);
        }
        return value;
    }

    private Map<String, String> metadata() {
        Map<String, String> all = new LinkedHashMap<>();
        Objective objective = MethodOptions.objective(spec.commandLine().getParseResult());
        all.put("objective", objective.name());
        objective.values().forEach((name, value) -> all.put(name, Double.toString(value)));
        all.put("inversion", inversion);
        all.put("steps", Integer.toString(steps));
        all.put("renoise", renoise);
        all.put("precision", compute.precision().id());
        return all;
    }
}
