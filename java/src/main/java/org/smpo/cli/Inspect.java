package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.Lora;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.MemoryEstimate;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.SingleFile;
import org.smpo.io.Digest;
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
                    "Image size for the memory estimates, in pixels, such as 1024 or 768x512 (default: the model's native size)")
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
        requirePrecision();
        int[] size = size();
        Map<String, Object> report = LoraFile.isLora(path) ? adapters() : model(size);
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            out.print(Json.canonical(report));
        } else {
            print(out, "", report);
        }
        out.flush();
        return 0;
    }

    private void requirePrecision() {
        try {
            Choices.parse("--precision", Choices.PRECISIONS, Precision::id, precision);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), e.getMessage());
        }
    }

    /// Height and width, or null.
    private int[] size() {
        if (resolution == null) {
            return null;
        }
        String[] sides = resolution.split("x", -1);
        if (sides.length <= 2 && resolution.matches("[1-9]\\d{0,4}(x[1-9]\\d{0,4})?")) {
            int height = Integer.parseInt(sides[0]);
            int width = Integer.parseInt(sides[sides.length - 1]);
            if (height % 8 == 0 && width % 8 == 0) {
                return new int[] {height, width};
            }
        }
        throw new ParameterException(
                spec.commandLine(),
                "--resolution: expected a multiple of 8, or HEIGHTxWIDTH of such, got " + resolution);
    }

    private Map<String, Object> model(int[] size) throws IOException {
        try (ModelFiles model = config != null && !Files.isDirectory(path)
                ? SingleFile.open(path, new SingleFile.Options(config, null, "--config"))
                : ModelFiles.open(path)) {
            Map<String, Object> report = new LinkedHashMap<>();
            report.put("path", path.toString());
            report.put("form", Files.isDirectory(path) ? "diffusers" : "single-file");
            report.put("class", model.pipelineClass());
            if (model.family().isPresent()) {
                report.put("family", model.family().get().title());
                report.put("prediction_type", model.schedule().predictionType().configName());
            }
            Map<String, Object> components = new LinkedHashMap<>();
            for (Component component : model.components().values()) {
                components.put(component.name(), component(component));
            }
            report.put("components", components);
            if (!model.ignored().isEmpty()) {
                report.put("ignored_tensors", model.ignored().size());
            }
            if (!model.notices().isEmpty()) {
                report.put("notices", model.notices());
            }
            if (!noDigests) {
                report.put("files", digests(model.weightFiles()));
            }
            if (model.family().isPresent()) {
                report.put("memory", memory(model, size));
            }
            return report;
        }
    }

    private Map<String, Object> component(Component component) throws IOException {
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("class", component.className());
        report.put("parameters", component.parameterCount());
        report.put("bytes", component.bytes());
        Map<String, Object> types = new TreeMap<>();
        component.parametersByType().forEach((type, count) -> types.put(type.name(), count));
        report.put("dtypes", types);
        if (!component.config().unknownKeys().isEmpty()) {
            report.put("unknown_config_keys", component.config().unknownKeys());
        }
        if (!noDigests) {
            report.put("sha256", component.sha256());
        }
        return report;
    }

    private static Map<String, Object> digests(List<Path> files) throws IOException {
        Map<String, Object> digests = new TreeMap<>();
        for (Path file : files) {
            digests.put(file.toString(), Digest.sha256(file));
        }
        return digests;
    }

    private Map<String, Object> memory(ModelFiles model, int[] size) throws IOException {
        int side = model.unet().sampleSize() * model.vae().scale();
        int height = size == null ? Math.max(side, 8) : size[0];
        int width = size == null ? Math.max(side, 8) : size[1];
        MemoryEstimate estimate = MemoryEstimate.of(model, height, width, batch, precision.equals("bf16") ? 2 : 4);
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("height", height);
        report.put("width", width);
        report.put("batch", batch);
        report.put("precision", precision);
        report.put("generate_bytes", estimate.generate());
        if (estimate.generatePacked() > 0) {
            report.put("generate_packed_bytes", estimate.generatePacked());
        }
        report.put("train_bytes", estimate.train());
        report.put("train_lora_bytes", estimate.trainAdapters());
        report.put("train_state_bytes", estimate.trainState());
        report.put("train_activation_bytes", estimate.trainActivations());
        return report;
    }

    private Map<String, Object> adapters() throws IOException {
        try (LoraFile file = LoraFile.open(path)) {
            Lora lora = file.lora();
            if (!noDigests) {
                lora.requireFinite();
            }
            Map<String, Object> report = new LinkedHashMap<>();
            report.put("path", path.toString());
            report.put("form", "lora " + file.format().id());
            report.put("family", lora.family().map(f -> f.title()).orElse("unknown"));
            if (!file.notices().isEmpty()) {
                report.put("notices", file.notices());
            }
            report.put("modules", lora.modules().size());
            report.put("parameters", lora.parameterCount());
            Map<Integer, Integer> ranks = new TreeMap<>();
            Map<Double, Integer> scales = new TreeMap<>();
            Map<String, Integer> components = new TreeMap<>();
            for (Lora.Module module : lora.modules().values()) {
                ranks.merge(module.rank(), 1, Integer::sum);
                scales.merge(module.scale(), 1, Integer::sum);
                components.merge(module.component(), 1, Integer::sum);
            }
            report.put("modules_by_component", components);
            report.put("modules_by_rank", text(ranks));
            report.put("modules_by_scale", text(scales));
            if (!noDigests) {
                report.put("files", digests(List.of(file.path())));
            }
            return report;
        }
    }

    private static Map<String, Object> text(Map<?, Integer> counts) {
        Map<String, Object> text = new LinkedHashMap<>();
        counts.forEach((key, count) -> text.put(key.toString(), count));
        return text;
    }

    private static void print(PrintWriter out, String indent, Map<?, ?> report) {
        report.forEach((key, value) -> {
            String name = indent + key.toString().replaceFirst("_bytes$", "");
            if (value instanceof Map<?, ?> map) {
                out.println(name);
                print(out, indent + "  ", map);
            } else {
                out.printf(Locale.ROOT, "%-24s %s%n", name, shown(key.toString(), value));
            }
        });
    }

    private static String shown(String key, Object value) {
        if (key.endsWith("bytes") && value instanceof Long bytes) {
            return String.format(Locale.ROOT, "%.2f GB", bytes / 1e9);
        }
        if (value instanceof Long || value instanceof Integer) {
            return String.format(Locale.ROOT, "%,d", ((Number) value).longValue());
        }
        return value instanceof List<?> list
                ? String.join(
                        ", ",
                        new ArrayList<>(list).stream().map(Object::toString).toList())
                : value.toString();
    }
}
