package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Collectors;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;

/// LoRA files of diffusers and PEFT: `unet.<module>.lora_A.weight`, with rank and alpha in the JSON text
/// under `lora_adapter_metadata`. A file without that text has alpha = rank, as diffusers takes it.
///
/// Names that diffusers wrote before are read too: `.lora.down.weight`,
/// `.processor.to_q_lora.down.weight`, `.lora_linear_layer.down.weight`, and PEFT's own
/// `base_model.model.` beside an adapter_config.json.
public final class PeftFile {
    /// The name under which diffusers looks for adapters in a folder.
    public static final String FILE_NAME = "pytorch_lora_weights.safetensors";

    static final String METADATA = "lora_adapter_metadata";

    private static final Pattern CURRENT =
            Pattern.compile("(?<path>.+)\\.lora_(?<part>A|B|down|up)(\\.(?<adapter>[^.]+))?\\.weight");
    private static final Pattern ALPHA = Pattern.compile("(?<path>.+)\\.(?<part>alpha)");
    private static final Pattern OLDER =
            Pattern.compile("(?<path>.+)\\.(lora|lora_linear_layer)\\.(?<part>down|up)\\.weight");
    private static final Pattern OLDEST =
            Pattern.compile("(?<path>.+)\\.to_(?<projection>q|k|v|out)_lora\\.(?<part>down|up)\\.weight");

    private PeftFile() {}

    /// @param notices Receives what is left out, one line each
    static Lora read(TensorFile file, Set<String> notices) throws IOException {
        Map<String, LoraTensors> parts = new TreeMap<>();
        Set<String> adapters = new TreeSet<>();
        for (TensorEntry entry : file.entries()) {
            String name = entry.name();
            Optional<String> embedding = LoraTensors.embedding(name);
            if (embedding.isPresent()) {
                notices.add(LoraFile.embeddingNotice(embedding.get()));
                continue;
            }
            Matcher matcher = matcher(name);
            if (matcher == null) {
                throw LoraTensors.unexpected(
                        file.path(), name, "a tensor named <module>.lora_A.weight, .lora_B.weight or .alpha");
            }
            if (matcher.pattern() == CURRENT && matcher.group("adapter") != null) {
                adapters.add(matcher.group("adapter"));
            }
            LoraTensors.Part part = switch (matcher.group("part")) {
                case "A", "down" -> LoraTensors.Part.DOWN;
                case "alpha" -> LoraTensors.Part.ALPHA;
                default -> LoraTensors.Part.UP;
            };
            parts.computeIfAbsent(key(matcher), k -> new LoraTensors()).add(file.path(), part, Weight.of(file, entry));
        }
        if (adapters.size() > 1) {
            throw new ModelException(
                    file.path(), "tensors", "one adapter", adapters.size() + ", named " + String.join(", ", adapters));
        }
        Map<String, Settings> settings = settings(file);
        List<Lora.Module> modules = new ArrayList<>();
        for (Map.Entry<String, LoraTensors> entry : parts.entrySet()) {
            LoraTensors tensors = entry.getValue();
            tensors.requireComplete(file.path(), entry.getKey(), "lora_A", "lora_B");
            int dot = entry.getKey().indexOf('.');
            String component = entry.getKey().substring(0, dot);
            String path = entry.getKey().substring(dot + 1);
            Settings of = settings.getOrDefault(component, Settings.NONE);
            Optional<Double> stored = tensors.alpha();
            double alpha = stored.isPresent()
                    ? stored.get()
                    : of.alpha(path, tensors.down().shape().get(0));
            modules.add(Lora.Module.of(component, path, tensors.down(), tensors.up(), alpha, of.rankStabilized()));
        }
        Map<String, String> metadata = new TreeMap<>(file.metadata());
        metadata.remove(METADATA);
        metadata.remove("format");
        return new Lora(Lora.index(file.path(), modules), metadata);
    }

    private static Matcher matcher(String name) {
        for (Pattern pattern : List.of(CURRENT, OLDEST, OLDER, ALPHA)) {
            Matcher matcher = pattern.matcher(name);
            if (matcher.matches()) {
                return matcher;
            }
        }
        return null;
    }

    /// `component.path` of a tensor.
    private static String key(Matcher matcher) {
        String path = matcher.group("path")
                .replaceFirst("^((?:unet|text_encoder|text_encoder_2)\\.)?base_model\\.model\\.", "$1");
        String component = "unet";
        for (String name : List.of("unet", "text_encoder", "text_encoder_2")) {
            if (path.startsWith(name + ".")) {
                component = name;
                path = path.substring(name.length() + 1);
                break;
            }
        }
        boolean text = !component.equals("unet");
        path = (path + ".").replace(".processor.", ".");
        path = path.substring(0, path.length() - 1);
        if (matcher.pattern() == OLDEST) {
            String projection = matcher.group("projection");
            path += "." + (text ? projection + "_proj" : "to_" + projection + (projection.equals("out") ? ".0" : ""));
        }
        if (text && path.startsWith("encoder.")) {
            path = "text_model." + path;
        }
        return component + "." + path;
    }

    /// The PEFT config of one component's adapters.
    private record Settings(JsonObject json, String prefix, boolean rankStabilized) {
        static final Settings NONE = new Settings(null, "", false);

        static Settings of(JsonObject json, String prefix) throws IOException {
            for (String unsupported : List.of("use_dora", "lora_bias", "megatron_config", "alora_invocation_tokens")) {
                Object value = json.asMap().get(prefix + unsupported);
                if (value != null && !value.equals(false)) {
                    throw new ModelException(json.source(), prefix + unsupported, "nothing or false", value);
                }
            }
            boolean stabilized = json.has(prefix + "use_rslora") && json.bool(prefix + "use_rslora");
            return new Settings(json, prefix, stabilized);
        }

        double alpha(String path, long rank) throws IOException {
            if (json == null || !json.has(prefix + "lora_alpha")) {
                return rank;
            }
            if (json.has(prefix + "alpha_pattern")) {
                JsonObject patterns = json.object(prefix + "alpha_pattern");
                for (String pattern : patterns.keys()) {
                    if (matches(patterns, pattern, path)) {
                        return patterns.number(pattern);
                    }
                }
            }
            return json.number(prefix + "lora_alpha");
        }

        /// PEFT takes keys as regular expressions: `re.match(rf"(.*\.)?({key})$", path)`. The text
        /// encoder's paths have no `text_model.` in some versions of transformers.
        private static boolean matches(JsonObject patterns, String key, String path) throws ModelException {
            try {
                Pattern pattern = Pattern.compile("(.*\\.)?(" + key + ")");
                return pattern.matcher(new Bounded(path)).matches()
                        || pattern.matcher(new Bounded(path.replaceFirst("^text_model\\.", "")))
                                .matches();
            } catch (PatternSyntaxException e) {
                throw new ModelException(
                        patterns.source(), patterns.path(), "module names or regular expressions as keys", key);
            } catch (Bounded.Exceeded e) {
                throw new ModelException(
                        patterns.source(), patterns.path(), "a regular expression that is matched in a few steps", key);
            }
        }
    }

    /// Text whose matching ends after a bounded number of steps: expressions come from files.
    private static final class Bounded implements CharSequence {
        private static final int MAX_STEPS = 1_000_000;

        private final String text;
        private int steps;

        Bounded(String text) {
            this.text = text;
        }

        @Override
        public int length() {
            return text.length();
        }

        @Override
        public char charAt(int index) {
            if (++steps > MAX_STEPS) {
                throw new Exceeded();
            }
            return text.charAt(index);
        }

        @Override
        public CharSequence subSequence(int start, int end) {
            return text.subSequence(start, end);
        }

        @Override
        public String toString() {
            return text;
        }

        /// The number of steps is used up.
        private static final class Exceeded extends RuntimeException {
            private static final long serialVersionUID = 1L;
        }
    }

    private static Map<String, Settings> settings(TensorFile file) throws IOException {
        Map<String, Settings> settings = new TreeMap<>();
        String text = file.metadata().get(METADATA);
        Path config = file.path().resolveSibling("adapter_config.json");
        if (text != null) {
            JsonObject json = Json.parseObject(file.path() + ": " + METADATA, text);
            for (String component : List.of("unet", "text_encoder", "text_encoder_2")) {
                settings.put(component, Settings.of(json, component + "."));
            }
        } else if (file.path().getFileName().toString().startsWith("adapter_model") && Files.exists(config)) {
            settings.put("unet", Settings.of(Json.readObject(config), ""));
        }
        return settings;
    }

    /// Writes adapters for `load_lora_weights`, whole or not at all. Scales are multiplied into B and
    /// alpha is the rank, so that readers that ignore the metadata apply the adapters at the right
    /// strength.
    ///
    /// @param dtype Dtype of the tensors; null keeps the dtype of each
    /// @throws ModelException when an element is not finite, or leaves the range of the new type
    /// @throws IOException when the file cannot be written; an old one is then untouched
    public static void write(Lora lora, Path target, DType dtype) throws IOException {
        List<Weight> weights = new ArrayList<>();
        Map<String, List<Lora.Module>> components = new TreeMap<>();
        for (Lora.Module scaled : lora.modules().values()) {
            Lora.Module module = scaled.withUnitScale();
            weights.add(module.down().named(module.key() + ".lora_A.weight"));
            weights.add(module.up().named(module.key() + ".lora_B.weight"));
            components
                    .computeIfAbsent(module.component(), c -> new ArrayList<>())
                    .add(module);
        }
        Map<String, Object> config = new TreeMap<>();
        for (Map.Entry<String, List<Lora.Module>> component : components.entrySet()) {
            describe(component.getKey(), component.getValue(), config);
        }
        Map<String, String> metadata = new TreeMap<>(lora.metadata());
        metadata.put(METADATA, Json.canonical(config));
        Weight.writeAll(target, weights, dtype, metadata);
    }

    /// A LoraConfig's fields, under the component's name.
    private static void describe(String component, List<Lora.Module> modules, Map<String, Object> config) {
        int rank = mostFrequent(modules, Lora.Module::rank);
        double alpha = mostFrequent(modules, Lora.Module::alpha);
        Map<String, Object> ranks = new TreeMap<>();
        Map<String, Object> alphas = new TreeMap<>();
        for (Lora.Module module : modules) {
            if (module.rank() != rank) {
                ranks.put(configName(module), module.rank());
            }
            if (module.alpha() != alpha) {
                alphas.put(configName(module), number(module.alpha()));
            }
        }
        config.put(component + ".r", rank);
        config.put(component + ".lora_alpha", number(alpha));
        config.put(component + ".rank_pattern", ranks);
        config.put(component + ".alpha_pattern", alphas);
        config.put(component + ".use_rslora", false);
        config.put(
                component + ".target_modules",
                modules.stream().map(PeftFile::configName).toList());
    }

    /// PEFT finds modules by the ends of their paths. transformers 5 has no `text_model.` in a
    /// CLIPTextModel's, so this is the name that matches in all versions.
    private static String configName(Lora.Module module) {
        return module.path().replaceFirst("^text_model\\.", "");
    }

    /// PEFT declares alpha an integer and usually holds one.
    private static Object number(double value) {
        return value == Math.rint(value) && Math.abs(value) < 1e9 ? (Object) (long) value : (Object) value;
    }

    private static <T> T mostFrequent(List<Lora.Module> modules, Function<Lora.Module, T> property) {
        return modules.stream()
                .collect(Collectors.groupingBy(property, LinkedHashMap::new, Collectors.counting()))
                .entrySet()
                .stream()
                .max(Map.Entry.comparingByValue())
                .orElseThrow()
                .getKey();
    }
}
