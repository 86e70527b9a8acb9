package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.ModelReport;
import org.smpo.checkpoint.SingleFile;
import org.smpo.io.Json;
import org.smpo.io.Precision;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `smpo inspect`: shows the contents of model files.
@Command(
        name = "inspect",
        description = "Show the contents of a model folder, checkpoint or LoRA file, and how much memory it needs.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:the model is complete", "1:the model is damaged or not supported", "2:wrong usage"})
final class Inspect implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(paramLabel = "PATH", description = "Diffusers folder, single-file checkpoint or LoRA file")
    private Path path;

    @Option(names = "--config", paramLabel = "DIR", description = OptionTexts.CONFIG)
    private Path config;

    @Option(
            names = "--resolution",
            paramLabel = "HxW",
            description =
                    "Image size for the memory estimates, in pixels, such as 1024 or 768x512 (default: the model's"
                            + " native size)")
    private String resolution;

    @Option(names = "--batch", paramLabel = "N", defaultValue = "1", description = OptionTexts.BATCH_IMAGES)
    private int batch;

    @Option(
            names = "--precision",
            paramLabel = "TYPE",
            defaultValue = "bf16",
            completionCandidates = Choices.Precisions.class,
            description = OptionTexts.PRECISION)
    private String precision;

    @Option(names = "--no-digests", description = "Skip reading the weights: no digests and no search for NaN")
    private boolean noDigests;

    @Option(names = "--json", description = OptionTexts.JSON)
    private boolean json;

    Inspect() {}

    @Override
    public Integer call() throws IOException {
        if (!Files.exists(path)) {
            throw new ParameterException(spec.commandLine(), path + ": expected a folder or a file, found nothing");
        }
        if (batch < 1) {
            throw new ParameterException(spec.commandLine(), "--batch: expected 1 or more, got " + batch);
        }
        ModelReport.Options options = new ModelReport.Options(!noDigests, size(), batch, precision());
        Map<String, Object> report = LoraFile.isLora(path) ? adapters() : model(options);
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            out.print(Json.canonical(report));
        } else {
            out.print(ModelReport.text(report));
        }
        out.flush();
        return 0;
    }

    private Precision precision() {
        try {
            return Choices.parse("--precision", Choices.PRECISIONS, Precision::id, precision);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage());
        }
    }

    private Optional<ModelReport.Size> size() {
        if (resolution == null) {
            return Optional.empty();
        }
        String[] sides = resolution.split("x", -1);
        if (sides.length <= 2 && resolution.matches("[1-9]\\d{0,4}(x[1-9]\\d{0,4})?")) {
            int height = Integer.parseInt(sides[0]);
            int width = Integer.parseInt(sides[sides.length - 1]);
            if (height % 8 == 0 && width % 8 == 0) {
                return Optional.of(new ModelReport.Size(height, width));
            }
        }
        throw new ParameterException(
                spec.commandLine(),
                "--resolution: expected a multiple of 8, or HEIGHTxWIDTH of such, got " + resolution);
    }

    private Map<String, Object> model(ModelReport.Options options) throws IOException {
        try (ModelFiles model = config != null && !Files.isDirectory(path)
                ? SingleFile.open(path, new SingleFile.Options(config, null, "--"))
                : ModelFiles.open(path)) {
            return ModelReport.of(path, model, options);
        }
    }

    private Map<String, Object> adapters() throws IOException {
        try (LoraFile file = LoraFile.open(path)) {
            return ModelReport.of(path, file, !noDigests);
        }
    }
}
