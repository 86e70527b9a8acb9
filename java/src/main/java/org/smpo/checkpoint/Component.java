package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.smpo.io.DType;
import org.smpo.io.Digest;

/// One network of a pipeline: its class, its config and its weights.
///
/// @param name Name in the pipeline, such as `unet` or `text_encoder_2`
/// @param library Library that has the class: `diffusers`, `transformers`, or the pipeline's own
/// @param className Name of the class, such as `UNet2DConditionModel`
/// @param config Parsed and checked config
/// @param weights Weights by diffusers' parameter names, in the config's order: complete, with the right shapes
/// @param files Files that hold the weights
public record Component(
        String name,
        String library,
        String className,
        ModelConfig config,
        Map<String, Weight> weights,
        List<Path> files) {
    private static final int NAMES_IN_MESSAGE = 8;

    public Component {
        weights = Collections.unmodifiableMap(new LinkedHashMap<>(weights));
        files = List.copyOf(files);
    }

    /// A component and the tensors of its files that are not parameters of it.
    record Fitted(Component component, List<Weight> extra) {}

    /// Sorts the tensors of a file by the parameters that the config asks for.
    ///
    /// @param found Weights under diffusers' names
    /// @param source Place named in messages
    /// @param hint What to do when the weights do not fit, appended to the message
    /// @throws ModelException listing missing and misshapen tensors
    static Fitted fit(
            String name, ComponentConfig type, Collection<Weight> found, List<Path> files, Object source, String hint)
            throws ModelException {
        String library = type.library();
        String className = type.className();
        ModelConfig config = type.config();
        Map<String, Weight> byName = new LinkedHashMap<>();
        for (Weight weight : found) {
            Weight twin = byName.put(weight.name(), weight);
            if (twin != null) {
                throw new ModelException(
                        source, name, "one tensor for " + weight.name(), twin.origin() + " and " + weight.origin());
            }
        }
        if (config instanceof OpaqueConfig) {
            return new Fitted(new Component(name, library, className, config, byName, files), List.of());
        }
        Map<String, Weight> ordered = new LinkedHashMap<>();
        List<String> missing = new ArrayList<>();
        List<String> wrong = new ArrayList<>();
        Set<DType> unsupported = EnumSet.noneOf(DType.class);
        config.parameters().forEach((parameter, shape) -> {
            Weight weight = byName.remove(parameter);
            if (weight == null) {
                missing.add(parameter);
            } else if (!weight.shape().equals(shape)) {
                wrong.add(parameter + " is " + weight.shape() + ", expected " + shape);
            } else if (!Floats.TYPES.contains(weight.dtype())) {
                unsupported.add(weight.dtype());
            } else {
                ordered.put(parameter, weight);
            }
        });
        if (!unsupported.isEmpty()) {
            boolean fp8 = unsupported.stream().anyMatch(dtype -> dtype.name().startsWith("F8_"));
            throw new ModelException(
                    source,
                    name,
                    "weights in F16, BF16, F32 or F64",
                    unsupported + (fp8 ? ": fp8 weights are not supported; use the fp16 version of the model" : ""));
        }
        if (!missing.isEmpty() || !wrong.isEmpty()) {
            List<String> unexpected =
                    byName.values().stream().map(Component::storedName).toList();
            throw new ModelException(source + ": " + name + ": the weights do not fit the config ("
                    + config.json().source() + "):" + listed("missing", missing) + listed("unexpected", unexpected)
                    + listed("wrong", wrong) + hint);
        }
        return new Fitted(
                new Component(name, library, className, config, ordered, files), List.copyOf(byName.values()));
    }

    /// The name that a weight has in its file.
    static String storedName(Weight weight) {
        return weight.origin().substring(weight.origin().lastIndexOf(": ") + 2);
    }

    private static String listed(String what, List<String> names) {
        if (names.isEmpty()) {
            return "";
        }
        String more = names.size() > NAMES_IN_MESSAGE ? ", ..." : "";
        return "\n  " + names.size() + " " + what + ": "
                + names.stream().limit(NAMES_IN_MESSAGE).collect(Collectors.joining(", ")) + more;
    }

    /// Number of elements of all weights.
    public long parameterCount() {
        return weights.values().stream().mapToLong(Weight::elements).sum();
    }

    /// Size of the weights as stored, in bytes.
    public long bytes() {
        return weights.values().stream().mapToLong(Weight::bytes).sum();
    }

    /// Number of elements of each dtype.
    public Map<DType, Long> parametersByType() {
        return weights.values().stream()
                .collect(Collectors.groupingBy(Weight::dtype, TreeMap::new, Collectors.summingLong(Weight::elements)));
    }

    /// SHA-256 over every parameter's name, dtype, shape and bytes in the order of their names: the same
    /// however the weights are divided among files, and in either layout. Every element is read, and a value that
    /// is not finite is an error.
    ///
    /// @throws ModelException for a value that is NaN or infinite, naming the tensor
    public String sha256() throws IOException {
        Digest digest = new Digest();
        for (Weight weight : new TreeMap<>(weights).values()) {
            String header = weight.name() + " " + weight.dtype() + " " + weight.shape() + "\n";
            digest.update(java.nio.ByteBuffer.wrap(header.getBytes(StandardCharsets.UTF_8)));
            weight.writeTo(null, digest::update);
        }
        return digest.hex();
    }
}
