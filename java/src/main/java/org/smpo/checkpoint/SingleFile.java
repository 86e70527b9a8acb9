package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.smpo.io.Closer;
import org.smpo.io.JsonObject;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;
import org.smpo.schedule.PredictionType;

/// Reads single-file checkpoints: a whole model in one safetensors or torch file (`.ckpt`), under the
/// names of CompVis' (Stable Diffusion 1.x, 2.x) and Stability's code (SDXL), which the web UIs read and
/// write.
///
/// Diffusers stores some tensors differently: the VAE's attention as matrices instead of 1x1
/// convolutions, and OpenCLIP's text towers with three input projections instead of one and another
/// projection transposed. SD 2's diffusers folder leaves out the tower's last layer, which the model
/// never uses, so a file written from it lacks it.
public final class SingleFile {
    /// Tensors that are not parameters of the model: schedules, EMA copies, losses, marks.
    private static final Pattern BUFFERS = Pattern.compile("model_ema\\..*"
            + "|(betas|alphas_cumprod|alphas_cumprod_prev|sqrt_.*|log_one_minus_.*|posterior_.*|logvar|lvlb_weights)"
            + "|(scale_factor|global_step|denoiser\\.sigmas|denoiser\\.log_sigmas)"
            + "|first_stage_model\\.(loss\\..*|model_ema\\..*)"
            + "|.*\\.(position_ids|logit_scale|attn_mask)");

    private SingleFile() {}

    /// Whether a tensor of this name is never a parameter of the model.
    static boolean isBuffer(String name) {
        return BUFFERS.matcher(name).matches();
    }

    /// Properties that the file itself does not record.
    ///
    /// @param config Diffusers folder whose configs, tokenizers and scheduler belong to these weights
    ///     (its weights are not read, except those of the VAE for a file without one); null: the configs
    ///     of the family's published model
    /// @param predictionType Prediction type of the UNet; null: as the file is marked, otherwise as `config`
    ///     says, otherwise as the weights suggest (SD 2) or as the published model does
    /// @param vae Folder of diffusers, or file, whose VAE is taken in place of the file's own; null: the
    ///     file's own
    /// @param prefix Beginning of the options or recipe keys that set these, such as `--`, for messages;
    ///     null: none
    public record Options(Path config, PredictionType predictionType, Path vae, String prefix) {
        public static Options none() {
            return new Options(null, null, null, null);
        }

        /// Options without another VAE.
        public Options(Path config, PredictionType predictionType, String prefix) {
            this(config, predictionType, null, prefix);
        }

        /// These options, with those of `others` where these say nothing.
        public Options or(Options others) {
            return new Options(
                    config == null ? others.config : config,
                    predictionType == null ? others.predictionType : predictionType,
                    vae == null ? others.vae : vae,
                    prefix == null ? others.prefix : prefix);
        }

        private String how(String name) {
            return prefix == null ? "" : " (" + prefix + name + ")";
        }
    }

    /// Opens a checkpoint with the configs of its family's published model.
    public static ModelFiles open(Path path) throws IOException {
        return open(path, Options.none());
    }

    /// Opens a checkpoint.
    ///
    /// @throws ModelException when it is no checkpoint of a whole model, or not one that we support
    /// @throws IOException when it cannot be read
    public static ModelFiles open(Path path, Options options) throws IOException {
        requireFile(path);
        Closer opened = new Closer();
        try {
            return open(path, opened.add(TensorFile.open(path)), options, opened);
        } catch (IOException | RuntimeException e) {
            opened.closeAfter(e);
            throw e;
        }
    }

    /// Requires a file before anything reads it.
    static void requireFile(Path path) throws NoSuchFileException {
        if (!Files.isRegularFile(path)) {
            throw new NoSuchFileException(path + ": expected a file, found " + FolderLayout.whatIs(path));
        }
    }

    /// Detects the family from names and shapes in the file.
    static Family detect(TensorFile file) throws ModelException {
        List<String> names = file.entries().stream().map(TensorEntry::name).toList();
        if (file.find(SingleFileLayout.CONV_IN).isEmpty()) {
            throw notACheckpoint(file.path(), names);
        }
        List<Long> convIn = file.find(SingleFileLayout.CONV_IN).orElseThrow().shape();
        long channels = convIn.size() == 4 ? convIn.get(1) : -1;
        if (channels == 9 || channels == 8) {
            throw new ModelException(
                    file.path(),
                    SingleFileLayout.CONV_IN,
                    "a text-to-image model with 4 input channels",
                    channels == 9 ? "9: an inpainting model" : "8: an editing model");
        }
        if (file.find("edm_mean").isPresent()) {
            throw new ModelException(
                    file.path(), "edm_mean", "a model of the families that we know", "Playground 2.5, an EDM model");
        }
        if (names.stream().anyMatch(n -> n.startsWith(SingleFileLayout.XL_TEXT_2))) {
            return Family.SDXL;
        }
        if (names.stream().anyMatch(n -> n.startsWith(SingleFileLayout.REFINER_TEXT))) {
            return Family.SDXL_REFINER;
        }
        if (names.stream().anyMatch(n -> n.startsWith(SingleFileLayout.SD2_TEXT))) {
            return Family.SD2;
        }
        if (names.stream().anyMatch(n -> n.startsWith(SingleFileLayout.SD1_TEXT))) {
            return Family.SD1;
        }
        throw new ModelException(
                file.path(),
                "text encoder",
                "one of "
                        + List.of(
                                SingleFileLayout.SD1_TEXT,
                                SingleFileLayout.SD2_TEXT,
                                SingleFileLayout.XL_TEXT_1,
                                SingleFileLayout.XL_TEXT_2,
                                SingleFileLayout.REFINER_TEXT),
                "none: this file holds no text encoder");
    }

    private static ModelException notACheckpoint(Path path, List<String> names) {
        String found =
                "a file of " + names.size() + " other tensors, such as " + (names.isEmpty() ? "none" : names.get(0));
        if (names.stream().anyMatch(n -> n.contains("lora"))) {
            found = "a LoRA file; it goes with a model, not in its place";
        } else if (names.stream().anyMatch(n -> n.startsWith("down_blocks.") || n.startsWith("encoder.down_blocks."))) {
            found = "the weights of one diffusers component; give its folder instead";
        } else if (names.stream().anyMatch(n -> n.contains("double_blocks.") || n.contains("joint_blocks."))) {
            found = "a transformer (SD 3 or FLUX), not a UNet";
        }
        return new ModelException(path, "checkpoint", "tensors under " + SingleFileLayout.UNET + "input_blocks", found);
    }

    private static ModelFiles open(Path path, TensorFile file, Options options, Closer opened) throws IOException {
        Family family = detect(file);
        Leftovers leftovers = new Leftovers();
        Map<String, ComponentConfig> configs;
        JsonObject index;
        JsonObject scheduler;
        String pipelineClass;
        ModelFiles.Documents documents;
        if (options.config() != null) {
            FolderLayout layout = FolderLayout.read(options.config());
            if (layout.family() != family) {
                throw new ModelException(
                        path,
                        "config",
                        "configs of " + family.title(),
                        layout.family().title() + " in " + options.config());
            }
            configs = layout.configs();
            pipelineClass = layout.pipelineClass();
            index = layout.index();
            scheduler = layout.scheduler();
            documents = layout.documents();
        } else {
            BuiltIn builtIn = BuiltIn.of(family);
            configs = builtIn.configs();
            pipelineClass = family.pipelineClass();
            index = builtIn.index();
            scheduler = builtIn.scheduler();
            Map<String, JsonObject> made = new TreeMap<>();
            made.put("model_index.json", index);
            made.put(ModelFiles.SCHEDULER, scheduler);
            configs.forEach((name, config) ->
                    made.put(name + "/config.json", config.config().json()));
            documents = new ModelFiles.Documents(Map.of(), made);
        }
        JsonObject marked = new SingleFileMarks(file, family, leftovers)
                .applyTo(scheduler, options.predictionType(), options.config() != null);
        if (!marked.asMap().equals(scheduler.asMap())) {
            documents = documents.with(ModelFiles.SCHEDULER, marked);
            String className = marked.string("_class_name");
            if (!className.equals(scheduler.asMap().get("_class_name"))) {
                Map<String, Object> changed = new LinkedHashMap<>(index.asMap());
                changed.put("scheduler", List.of("diffusers", className));
                index = index.with(changed);
                documents = documents.with("model_index.json", index);
            }
        }
        // Components that only a folder has, such as a safety checker, have no weights here.
        Set<String> others = new TreeSet<>(configs.keySet());
        SingleFileLayout.componentNames(family).forEach(others::remove);
        Map<String, Component> components = components(path, file, family, configs, options, leftovers, opened);
        if (options.vae() != null) {
            documents = documents.with(
                    "vae/config.json", components.get("vae").config().json());
        }
        return new ModelFiles(
                path,
                pipelineClass,
                family,
                components,
                marked,
                documents.without(index, others),
                leftovers,
                List.of(path),
                opened);
    }

    private static Map<String, Component> components(
            Path path,
            TensorFile file,
            Family family,
            Map<String, ComponentConfig> configs,
            Options options,
            Leftovers leftovers,
            Closer opened)
            throws IOException {
        Map<String, Weight> rest = new LinkedHashMap<>();
        for (TensorEntry entry : file.entries()) {
            if (SingleFileMarks.NAMES.contains(entry.name())) {
                continue;
            }
            if (isBuffer(entry.name())) {
                leftovers.ignore(entry.name());
            } else {
                rest.put(entry.name(), Weight.of(file, entry));
            }
        }
        String hint = options.config() != null
                ? ""
                : "\n  If this is a " + family.title() + " model of another size, name a diffusers folder "
                        + "that has its configs" + options.how("config") + ".";
        Map<String, Component> components = new LinkedHashMap<>();
        for (String name : SingleFileLayout.componentNames(family)) {
            ComponentConfig config = configs.get(name);
            String prefix = SingleFileLayout.prefix(family, name);
            if (name.equals("vae") && options.vae() != null) {
                rest.keySet().removeIf(n -> n.startsWith(prefix));
                components.put(name, SingleFileVae.open(options.vae(), config, leftovers, opened));
                leftovers.notice("vae: taken from " + options.vae());
                continue;
            }
            if (name.equals("vae") && rest.keySet().stream().noneMatch(n -> n.startsWith(prefix))) {
                components.put(name, vaeOfConfig(path, config, options, leftovers, opened));
                continue;
            }
            List<Weight> weights = take(config.config(), prefix, rest, leftovers);
            // What is left under the prefix has no place in the model, or explains what is missing.
            rest.values().stream().filter(w -> w.name().startsWith(prefix)).forEach(weights::add);
            rest.keySet().removeIf(n -> n.startsWith(prefix));
            Component.Fitted fitted = Component.fit(name, config, weights, List.of(path), path, hint);
            leftovers.extra(
                    name, fitted.extra().stream().map(Component::storedName).toList());
            components.put(name, fitted.component());
        }
        leftovers.extra("checkpoint", List.copyOf(rest.keySet()));
        return components;
    }

    /// The VAE of the folder with the configs, for a file that has none.
    private static Component vaeOfConfig(
            Path path, ComponentConfig config, Options options, Leftovers leftovers, Closer opened) throws IOException {
        if (options.config() == null) {
            throw new ModelException(
                    path,
                    "vae",
                    "tensors under " + SingleFileLayout.VAE,
                    "none: this file has no VAE; name a folder or a file whose VAE belongs to it" + options.how("vae"));
        }
        Path folder = options.config().resolve("vae");
        leftovers.notice("vae: the file has none; taken from " + folder);
        return SingleFileVae.open(folder, config, leftovers, opened);
    }

    /// Removes a component's tensors from `file` and gives them diffusers' names and forms.
    private static List<Weight> take(ModelConfig config, String prefix, Map<String, Weight> file, Leftovers leftovers) {
        return switch (config) {
            case UNetConfig unet -> LdmNames.unet(unet).take(unet, prefix, file);
            case VaeConfig vae -> takeVae(vae, prefix, file);
            case ClipTextConfig text when prefix.endsWith(".model.") -> takeOpenClip(text, prefix, file, leftovers);
            default -> takeClip(config, prefix, file);
        };
    }

    /// Removes a VAE's tensors from `file` and returns them under diffusers' names.
    static List<Weight> takeVae(VaeConfig config, String prefix, Map<String, Weight> file) {
        List<Weight> weights = LdmNames.vae(config).take(config, prefix, file);
        weights.replaceAll(weight -> {
            List<Long> shape = weight.shape();
            boolean attention = weight.name().contains(".attentions.") && shape.size() > 2;
            boolean pointwise = shape.stream().skip(2).allMatch(d -> d == 1);
            return attention && pointwise ? weight.reshaped(shape.subList(0, 2)) : weight;
        });
        return weights;
    }

    private static List<Weight> takeClip(ModelConfig config, String prefix, Map<String, Weight> file) {
        List<Weight> weights = new ArrayList<>();
        for (String parameter : config.parameters().keySet()) {
            Weight weight = file.remove(prefix + parameter);
            if (weight == null) {
                weight = file.remove(prefix + parameter.replaceFirst("^text_model\\.", ""));
            }
            if (weight != null) {
                weights.add(weight.named(parameter));
            }
        }
        return weights;
    }

    private static List<Weight> takeOpenClip(
            ClipTextConfig config, String prefix, Map<String, Weight> file, Leftovers leftovers) {
        List<Weight> weights = OpenClip.takeText(config, prefix, file);
        // SD 2 reads the penultimate layer, so its diffusers folder has one layer less than the tower; and a tower
        // without projection does not need the file's.
        String unused = prefix + OpenClip.BLOCKS + config.layers() + ".";
        String further = prefix + OpenClip.BLOCKS + (config.layers() + 1) + ".";
        boolean oneMore = file.keySet().stream().noneMatch(n -> n.startsWith(further));
        List<String> dropped = file.keySet().stream()
                .filter(n -> (oneMore && n.startsWith(unused))
                        || (config.projectionDim() == 0 && n.equals(prefix + "text_projection")))
                .toList();
        dropped.forEach(file::remove);
        dropped.forEach(leftovers::ignore);
        return weights;
    }
}
