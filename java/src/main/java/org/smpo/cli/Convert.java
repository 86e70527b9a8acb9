package org.smpo.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.FolderWriter;
import org.smpo.checkpoint.KohyaFile;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.ModelFolder;
import org.smpo.checkpoint.PeftFile;
import org.smpo.checkpoint.SingleFile;
import org.smpo.checkpoint.SingleFileWriter;
import org.smpo.checkpoint.UNetConfig;
import org.smpo.checkpoint.WeightSum;
import org.smpo.io.Closer;
import org.smpo.io.DType;
import org.smpo.train.FinishedRun;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo convert`: writes a model or a LoRA in another format or dtype.
@Command(
        name = "convert",
        description = "Write a model or a LoRA in another format or dtype.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:model written", "1:failure; nothing was written", "2:wrong usage"})
final class Convert implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(
            index = "0",
            paramLabel = "IN",
            description = "Diffusers folder, single-file checkpoint or LoRA file to read")
    private Path in;

    @Parameters(index = "1", paramLabel = "OUT", description = "Folder or file to write; must not exist yet")
    private Path out;

    @Option(
            names = "--to",
            paramLabel = "FORMAT",
            description =
                    "Format to write: diffusers or single-file for a model, peft or kohya for a LoRA (default with"
                            + " --add: that of IN)")
    private String form;

    @Option(
            names = "--add",
            paramLabel = "MODEL:WEIGHT",
            description =
                    "Model whose UNet's difference from IN's is added with this weight, in float64 with one rounding"
                            + " at the end; repeatable")
    private List<String> added = List.of();

    @Option(
            names = "--dtype",
            paramLabel = "TYPE",
            description =
                    "Dtype of the written tensors: fp32, fp16 or bf16, rounded to nearest even (default: unchanged)")
    private String dtype;

    @Option(
            names = "--variant",
            paramLabel = "NAME",
            description = "Variant in the names of the written weight files, such as fp16")
    private String variant;

    @Option(
            names = "--from-variant",
            paramLabel = "NAME",
            description = "Variant of the weight files to read (default: the one without a variant, or the only one)")
    private String fromVariant;

    @Option(
            names = "--max-shard-size",
            paramLabel = "BYTES",
            defaultValue = "10000000000",
            description = "Size in bytes above which a component's weights are split (default: ${DEFAULT-VALUE})")
    private long maxShardSize;

    @Mixin
    private CheckpointOptions checkpoint;

    @Option(
            names = "--base",
            paramLabel = "FAMILY",
            completionCandidates = Choices.Families.class,
            description = "Base model family of a LoRA that does not reveal it: ${COMPLETION-CANDIDATES}")
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
        boolean lora = LoraFile.isLora(in);
        if (lora && !added.isEmpty()) {
            throw usage("--add: expected a model as IN, got a LoRA file");
        }
        if (form == null) {
            if (added.isEmpty()) {
                throw usage("--to: expected diffusers, single-file, peft or kohya, got nothing");
            }
            form = Files.isDirectory(in) ? "diffusers" : "single-file";
        }
        switch (form) {
            case "diffusers", "single-file" -> {
                if (lora) {
                    throw usage("--to: expected peft or kohya for a LoRA file, got " + form);
                }
                model(target);
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

    private void model(DType target) throws IOException {
        boolean folder = Files.isDirectory(in);
        if (folder) {
            checkpoint.requireNone();
        }
        if (!folder && fromVariant != null) {
            throw usage("--from-variant: expected a diffusers folder as IN, got a file");
        }
        if (!form.equals("diffusers") && variant != null) {
            throw usage("--variant: expected --to diffusers, got --to " + form);
        }
        try (ModelFiles model =
                folder ? ModelFolder.open(in, fromVariant) : SingleFile.open(in, checkpoint.options())) {
            Notices.print(spec, in, model.notices());
            if (added.isEmpty()) {
                write(model, target);
            } else {
                writeSum(model, target);
            }
        }
    }

    private void write(ModelFiles model, DType target) throws IOException {
        if (form.equals("diffusers")) {
            FolderWriter.write(model, out, new FolderWriter.Options(target, variant, maxShardSize));
        } else {
            SingleFileWriter.write(model, out, target, Map.of());
        }
    }

    /// Writes the model with a sum in place of its UNet's weights.
    private void writeSum(ModelFiles model, DType target) throws IOException {
        Closer opened = new Closer();
        Path absolute = out.toAbsolutePath();
        Path scratch = absolute.resolveSibling("." + absolute.getFileName() + ".sum.safetensors");
        try {
            List<WeightSum.Term> terms = new ArrayList<>();
            for (String one : added) {
                terms.add(term(one, opened));
            }
            WeightSum.write(model, terms, target, scratch);
            try (ModelFiles changed = model.withWeights(model.unetOrOnly().name(), scratch)) {
                write(changed, target);
            }
        } finally {
            Files.deleteIfExists(scratch);
            opened.close();
        }
    }

    private WeightSum.Term term(String text, Closer opened) throws IOException {
        int colon = text.lastIndexOf(':');
        Path path = Path.of(text.substring(0, Math.max(colon, 0)));
        if (colon < 1 || !Files.exists(path)) {
            throw usage(
                    "--add: " + text + ": expected MODEL:WEIGHT with a folder or a file as MODEL, found nothing there");
        }
        double weight;
        try {
            weight = Double.parseDouble(text.substring(colon + 1));
        } catch (NumberFormatException e) {
            throw usage("--add: " + text + ": expected MODEL:WEIGHT, got the weight " + text.substring(colon + 1));
        }
        if (!Double.isFinite(weight)) {
            throw usage("--add: " + text + ": expected a finite weight, got " + weight);
        }
        return new WeightSum.Term(opened.add(addedModel(path)), weight);
    }

    /// Opens a model, or that of a finished run.
    private ModelFiles addedModel(Path path) throws IOException {
        if (!FinishedRun.isRun(path)) {
            return ModelFiles.open(path, checkpoint.options());
        }
        FinishedRun run = FinishedRun.open(path);
        if (run.lora().isPresent()) {
            throw usage("--add: " + path + ": expected a run that exported a model, found adapters alone: "
                    + run.lora().get() + "; add diffusers to export.formats and rerun it with --resume");
        }
        return ModelFiles.open(run.model(), checkpoint.options().or(run.options()));
    }

    private void lora(DType target) throws IOException {
        UNetConfig unet = checkpoint.config() == null ? null : ModelFolder.unetConfig(checkpoint.config());
        try (LoraFile file = LoraFile.open(in, unet)) {
            Notices.print(spec, in, file.notices());
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
        try {
            return Choices.parse("--base", Choices.FAMILIES, Family::id, id);
        } catch (IllegalArgumentException e) {
            throw usage(e.getMessage());
        }
    }

    private static String families() {
        return Choices.FAMILIES.stream().map(Family::id).collect(Collectors.joining(", "));
    }
}
