package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.smpo.io.Digest;
import org.smpo.io.Precision;

/// A report of the contents of model files, as nested maps in the order in which they are shown.
public final class ModelReport {
    /// Height and width of images in pixels.
    public record Size(int height, int width) {}

    /// The contents of a report of a model.
    ///
    /// @param digests whether the weights are read for their digests
    /// @param size size of the images for the memory estimates; empty: the model's native size
    /// @param batch number of images at once for the memory estimates
    /// @param precision precision of the memory estimates
    public record Options(boolean digests, Optional<Size> size, int batch, Precision precision) {}

    private ModelReport() {}

    /// Reports on a model: class, components, notices, digests and the memory that it needs.
    ///
    /// @param path the path as the user named it
    /// @throws IOException when a file cannot be read
    public static Map<String, Object> of(Path path, ModelFiles model, Options options) throws IOException {
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
            components.put(component.name(), component(component, options.digests()));
        }
        report.put("components", components);
        if (!model.ignored().isEmpty()) {
            report.put("ignored_tensors", model.ignored().size());
        }
        if (!model.notices().isEmpty()) {
            report.put("notices", model.notices());
        }
        if (options.digests()) {
            report.put("files", digests(model.weightFiles()));
        }
        if (model.family().isPresent()) {
            report.put("memory", memory(model, options));
        }
        return report;
    }

    private static Map<String, Object> component(Component component, boolean digests) throws IOException {
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
        if (digests) {
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

    private static Map<String, Object> memory(ModelFiles model, Options options) throws IOException {
        int side = Math.max(model.unet().sampleSize() * model.vae().scale(), 8);
        Size size = options.size().orElse(new Size(side, side));
        int bytes = options.precision() == Precision.BF16 ? 2 : 4;
        MemoryEstimate estimate = MemoryEstimate.of(model, size.height(), size.width(), options.batch(), bytes);
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("height", size.height());
        report.put("width", size.width());
        report.put("batch", options.batch());
        report.put("precision", options.precision().id());
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

    /// Reports on a LoRA file: format, family, and its modules by component, rank and scale.
    ///
    /// @param path the path as the user named it
    /// @param digests whether the weights are read, for the file's digest and the search for NaN
    /// @throws IOException when the file cannot be read, or a value that is read is not finite
    public static Map<String, Object> of(Path path, LoraFile file, boolean digests) throws IOException {
        Lora lora = file.lora();
        if (digests) {
            lora.requireFinite();
        }
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("path", path.toString());
        report.put("form", "lora " + file.format().id());
        report.put("family", lora.family().map(Family::title).orElse("unknown"));
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
        report.put("modules_by_rank", named(ranks));
        report.put("modules_by_scale", named(scales));
        if (digests) {
            report.put("files", digests(List.of(file.path())));
        }
        return report;
    }

    private static Map<String, Object> named(Map<?, Integer> counts) {
        Map<String, Object> named = new LinkedHashMap<>();
        counts.forEach((key, count) -> named.put(key.toString(), count));
        return named;
    }

    /// Returns a report as text: a line per entry, nested ones indented, sizes in GB.
    public static String text(Map<String, Object> report) {
        StringBuilder text = new StringBuilder();
        append(text, "", report);
        return text.toString();
    }

    private static void append(StringBuilder text, String indent, Map<?, ?> report) {
        report.forEach((key, value) -> {
            String name = indent + key.toString().replaceFirst("_bytes$", "");
            if (value instanceof Map<?, ?> map) {
                text.append(String.format("%s%n", name));
                append(text, indent + "  ", map);
            } else {
                text.append(String.format(Locale.ROOT, "%-24s %s%n", name, shown(key.toString(), value)));
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
                ? list.stream().map(Object::toString).collect(Collectors.joining(", "))
                : value.toString();
    }
}
