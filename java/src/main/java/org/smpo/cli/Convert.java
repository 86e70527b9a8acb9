package org.smpo.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.KohyaFile;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.ModelFolder;
import org.smpo.checkpoint.PeftFile;
import org.smpo.checkpoint.SingleFile;
import org.smpo.checkpoint.UNetConfig;
import org.smpo.io.DType;
import org.smpo.schedule.PredictionType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo convert`: writes a model or a LoRA in another form or type.
@Command(
        name = "convert",
        description = "Write a model or a LoRA in another form or number type.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:written", "1:it failed, and nothing was written", "2:wrong usage"})
final class Convert implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(index = "0", paramLabel = "IN", description = "A diffusers folder, a checkpoint or a LoRA file.")
    private Path in;

    @Parameters(index = "1", paramLabel = "OUT", description = "A folder or file that does not exist yet.")
    private Path out;

    @Option(
            names = "--to",
            required = true,
            paramLabel = "FORM",
            description = "diffusers or single-file for models; peft or kohya for LoRA.")
    private String form;

    @Option(
            names = "--dtype",
            paramLabel = "TYPE",
            description = "fp32, fp16 or bf16, rounded to nearest even. Default: each tensor as it is.")
    private String dtype;

    @Option(names = "--variant", paramLabel = "NAME", description = "In the names of a folder's weights, such as fp16.")
    private String variant;

    @Option(
            names = "--from-variant",
            paramLabel = "NAME",
            description = "Which weights of a folder to read. Default: the plain ones, or the only ones.")
    private String fromVariant;

    @Option(
            names = "--max-shard-size",
            paramLabel = "BYTES",
            defaultValue = "10000000000",
            description = "Split a component's weights above this (default: ${DEFAULT-VALUE}).")
    private long maxShardSize;

    @Option(
            names = "--config",
            paramLabel = "FOLDER",
            description = {
                "A diffusers folder that gives a checkpoint its configs, tokenizers and scheduler;",
                "for LoRA: the base model, for the numbers of its blocks."
            })
    private Path config;

    @Option(
            names = "--prediction-type",
            paramLabel = "TYPE",
            description = "epsilon or v_prediction, where a checkpoint does not say. Default for SD 2: v_prediction.")
    private String predictionType;

    @Option(
            names = "--base",
            paramLabel = "FAMILY",
            description = "sd1, sd2, sdxl or sdxl-refiner: the base model of a LoRA that does not show it.")
    private String base;

    Convert() {}

    @Override
    public Integer call() throws IOException {
        if (!Files.exists(in)) {
            throw usage("IN: " + in + ": expected a folder or a file, found nothing");
        }
        if (Files.exists(out)) {
            throw usage("OUT: " + out + ": expected nothing there yet, found something");
        }
        Path parent = out.toAbsolutePath().getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw usage("OUT: " + out + ": expected its folder to exist");
        }
        if (maxShardSize < 1) {
            throw usage("--max-shard-size: expected 1 or more, got " + maxShardSize);
        }
        DType target = target();
        PredictionType prediction = prediction();
        boolean lora = LoraFile.isLora(in);
        switch (form) {
            case "diffusers", "single-file" -> {
                if (lora) {
                    throw usage("--to: expected peft or kohya for a LoRA file, got " + form);
                }
                model(target, prediction);
            }
            case "peft", "kohya" -> {
                if (!lora) {
                    throw usage("--to: expected diffusers or single-file for a model, got " + form);
                }
                lora(target);
            }
            default -> throw usage("--to: expected diffusers, single-file, peft or kohya, got " + form);
        }
        spec.commandLine().getOut().println(out);
        return 0;
    }

    private ParameterException usage(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    private DType target() {
        return switch (dtype) {
            case null -> null;
            case "fp32" -> DType.F32;
            case "fp16" -> DType.F16;
            case "bf16" -> DType.BF16;
            default -> throw usage("--dtype: expected fp32, fp16 or bf16, got " + dtype);
        };
    }

    private PredictionType prediction() {
        return switch (predictionType) {
            case null -> null;
            case "epsilon" -> PredictionType.EPSILON;
            case "v_prediction" -> PredictionType.V_PREDICTION;
            default -> throw usage("--prediction-type: expected epsilon or v_prediction, got " + predictionType);
        };
    }

    private void model(DType target, PredictionType prediction) throws IOException {
        boolean folder = Files.isDirectory(in);
        if (folder && (config != null || prediction != null)) {
            throw usage("--config and --prediction-type: a diffusers folder has its own");
        }
        if (!folder && fromVariant != null) {
            throw usage("--from-variant: expected a diffusers folder as IN, got a file");
        }
        if (!form.equals("diffusers") && variant != null) {
            throw usage("--variant: expected --to diffusers, got --to " + form);
        }
        try (ModelFiles model = folder
                ? ModelFolder.open(in, fromVariant)
                : SingleFile.open(in, new SingleFile.Options(config, prediction))) {
            if (form.equals("diffusers")) {
                ModelFolder.write(model, out, new ModelFolder.WriteOptions(target, variant, maxShardSize));
            } else {
                SingleFile.write(model, out, target, Map.of());
            }
        }
    }

    private void lora(DType target) throws IOException {
        UNetConfig unet = config == null ? null : ModelFolder.unetConfig(config);
        try (LoraFile file = LoraFile.open(in, unet)) {
            if (form.equals("peft")) {
                PeftFile.write(file.lora(), out, target);
                return;
            }
            Family family = base == null ? file.lora().family().orElse(null) : family(base);
            if (family == null) {
                throw usage(
                        "--base: expected one of " + families() + ": which model these adapters are for does not show");
            }
            KohyaFile.write(file.lora(), out, family, unet, target);
        }
    }

    private Family family(String id) {
        return Arrays.stream(Family.values())
                .filter(f -> f.id().equals(id))
                .findFirst()
                .orElseThrow(() -> usage("--base: expected one of " + families() + ", got " + id));
    }

    private static String families() {
        return Arrays.stream(Family.values()).map(Family::id).collect(Collectors.joining(", "));
    }
}
