package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import org.smpo.io.Closer;
import org.smpo.io.Digest;
import org.smpo.io.HubCache;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.TensorFile;
import org.smpo.schedule.NoiseSchedule;

/// The open files of a model in any layout. Weights are views of memory-mapped files and end when this
/// is closed.
public final class ModelFiles implements AutoCloseable {
    /// The files of a folder other than weights: `model_index.json`, configs, tokenizers.
    ///
    /// @param copied Files to copy, by their paths within the folder
    /// @param made Documents to write, by their paths within the folder
    record Documents(Map<String, Path> copied, Map<String, JsonObject> made) {
        Documents {
            copied = Collections.unmodifiableMap(new LinkedHashMap<>(copied));
            made = Collections.unmodifiableMap(new LinkedHashMap<>(made));
        }

        /// These documents without those of some components, which `model_index.json` names as absent.
        Documents without(JsonObject index, Set<String> components) {
            if (components.isEmpty()) {
                return this;
            }
            Map<String, Object> changed = new LinkedHashMap<>(index.asMap());
            components.forEach(name -> changed.put(name, Arrays.asList(null, null)));
            Map<String, Path> copies = new LinkedHashMap<>(copied);
            copies.keySet().removeIf(path -> path.equals(INDEX) || components.contains(path.replaceFirst("/.*", "")));
            Map<String, JsonObject> documents = new LinkedHashMap<>(made);
            documents.put(INDEX, index.with(changed));
            return new Documents(copies, documents);
        }

        /// These documents with another one in place of a file.
        Documents with(String path, JsonObject document) {
            Map<String, Path> copies = new LinkedHashMap<>(copied);
            copies.remove(path);
            Map<String, JsonObject> documents = new LinkedHashMap<>(made);
            documents.put(path, document);
            return new Documents(copies, documents);
        }
    }

    static final String SCHEDULER = "scheduler/scheduler_config.json";
    private static final String INDEX = "model_index.json";

    private static final String SHA256 = "_sha256";

    private final Path path;
    private final String pipelineClass;
    private final Family family;
    private final Map<String, Component> components;
    private final JsonObject scheduler;
    private final Documents documents;
    private final Leftovers leftovers;
    private final List<Path> weightFiles;
    private final Closer files;
    private final Map<String, String> digests = new HashMap<>();

    ModelFiles(
            Path path,
            String pipelineClass,
            Family family,
            Map<String, Component> components,
            JsonObject scheduler,
            Documents documents,
            Leftovers leftovers,
            List<Path> weightFiles,
            Closer files) {
        this.path = path;
        this.pipelineClass = pipelineClass;
        this.family = family;
        this.components = Collections.unmodifiableMap(new LinkedHashMap<>(components));
        this.scheduler = scheduler;
        this.documents = documents;
        this.leftovers = leftovers;
        this.weightFiles = List.copyOf(weightFiles);
        this.files = files;
    }

    /// Opens a diffusers folder, a folder of one component, or a single-file checkpoint.
    ///
    /// @param path where it is, or the `OWNER/NAME` of a repository in the Hugging Face cache
    /// @throws ModelException when it is none of these, or not one that we support
    /// @throws IOException when it cannot be read
    public static ModelFiles open(Path path) throws IOException {
        return open(HubCache.standard().find(path, HubCache.Kind.MODEL), SingleFile.Options.none());
    }

    /// Opens a folder, or a single-file checkpoint with what it does not record itself.
    ///
    /// @param options options for a file; unused for a folder
    /// @throws ModelException when the path holds no model, or not one that we support
    /// @throws IOException when it cannot be read
    public static ModelFiles open(Path path, SingleFile.Options options) throws IOException {
        return Files.isDirectory(path) ? ModelFolder.open(path) : SingleFile.open(path, options);
    }

    /// A component's [Component#sha256()], which reads every weight: once, however often it is asked
    /// for.
    ///
    /// @throws ModelException when there is no such component, or for a value that is NaN or infinite
    public String sha256(String component) throws IOException {
        String digest = digests.get(component);
        if (digest == null) {
            digest = component(component).sha256();
            digests.put(component, digest);
        }
        return digest;
    }

    /// SHA-256 of every part that decides what the model computes, by name: each component's weights and
    /// config, the tokenizers' files, and the scheduler's config. Entries of a config that tools add for
    /// themselves, such as `_name_or_path`, do not count.
    public Map<String, String> digests() throws IOException {
        Map<String, String> all = new LinkedHashMap<>();
        for (String name : components.keySet()) {
            all.putAll(digests(component(name)));
            String tokenizer = name.replace("text_encoder", "tokenizer");
            Optional<TokenizerFiles> files =
                    tokenizer.startsWith("tokenizer") ? tokenizer(tokenizer) : Optional.empty();
            if (files.isPresent()) {
                SortedMap<String, String> digests = files.get().digests();
                digests.keySet().removeIf(file -> !file.matches(".*\\.(json|txt)"));
                all.put(tokenizer + SHA256, Digest.ofNamed(digests));
            }
        }
        if (scheduler != null) {
            all.put("scheduler" + SHA256, configDigest(samplerConfig()));
        }
        return all;
    }

    /// SHA-256 of a component's weights and of its config, by name.
    public Map<String, String> digests(Component component) throws IOException {
        Map<String, String> both = new LinkedHashMap<>();
        both.put(component.name() + SHA256, sha256(component.name()));
        if (!(component.config() instanceof OpaqueConfig)) {
            both.put(
                    component.name() + "_config" + SHA256,
                    configDigest(component.config().json().asMap()));
        }
        return both;
    }

    private static String configDigest(Map<String, Object> config) {
        Map<String, Object> kept = new LinkedHashMap<>(config);
        kept.keySet().removeIf(key -> key.startsWith("_") || key.equals("transformers_version"));
        return Digest.sha256(Json.canonical(kept).getBytes(StandardCharsets.UTF_8));
    }

    /// The UNet of a whole model, or the one component of a component's own folder.
    ///
    /// @throws ModelException when there is none
    public Component unetOrOnly() throws ModelException {
        return family().isPresent() ? component("unet") : only();
    }

    /// The one component of a component's own folder.
    ///
    /// @throws ModelException when there are several
    public Component only() throws ModelException {
        if (components.size() != 1) {
            throw new ModelException(path, "model", "one component", components.keySet());
        }
        return components.values().iterator().next();
    }

    /// This model with other weights for one of its components, from a file with the same parameter
    /// names. This one stays open, and must stay so as long as the new one is used; closing the new one
    /// closes its own file only.
    ///
    /// @throws ModelException listing missing, unexpected and misshapen tensors
    public ModelFiles withWeights(String component, Path weights) throws IOException {
        Component old = component(component);
        Closer opened = new Closer();
        try {
            TensorFile file = opened.add(TensorFile.open(weights));
            List<Weight> found = Weight.all(file);
            Component.Fitted fitted = Component.fit(
                    old.name(),
                    new ComponentConfig(old.library(), old.className(), old.config()),
                    found,
                    List.of(weights),
                    weights,
                    "");
            if (!fitted.extra().isEmpty()) {
                throw new ModelException(
                        weights,
                        fitted.extra().getFirst().name(),
                        "only the parameters of " + component,
                        fitted.extra().size() + " other tensors");
            }
            Map<String, Component> changed = new LinkedHashMap<>(components);
            changed.put(component, fitted.component());
            return new ModelFiles(
                    path, pipelineClass, family, changed, scheduler, documents, leftovers, List.of(weights), opened);
        } catch (IOException | RuntimeException e) {
            opened.closeAfter(e);
            throw e;
        }
    }

    /// The folder or file.
    public Path path() {
        return path;
    }

    /// The diffusers pipeline, or the component's class where there is only one component.
    public String pipelineClass() {
        return pipelineClass;
    }

    /// Empty where there is only one component.
    public Optional<Family> family() {
        return Optional.ofNullable(family);
    }

    /// By name, in the order of `model_index.json`.
    public Map<String, Component> components() {
        return components;
    }

    /// The component of that name.
    ///
    /// @throws ModelException when there is none
    public Component component(String name) throws ModelException {
        Component component = components.get(name);
        if (component == null) {
            throw new ModelException(path, name, "a component of that name", "none among " + components.keySet());
        }
        return component;
    }

    public UNetConfig unet() throws ModelException {
        return (UNetConfig) component("unet").config();
    }

    public VaeConfig vae() throws ModelException {
        return (VaeConfig) component("vae").config();
    }

    /// The scheduler's config as the family's pipeline takes it. For SD 1 and 2, diffusers mends what
    /// old configs have wrong before anything samples: timesteps are counted from 1, and latents are not
    /// clamped, whatever they say.
    ///
    /// @throws ModelException when there is none
    public Map<String, Object> samplerConfig() throws ModelException {
        if (scheduler == null) {
            throw new ModelException(path, "scheduler", "a scheduler_config.json", "none");
        }
        Map<String, Object> config = new LinkedHashMap<>(scheduler.asMap());
        if (family == Family.SD1 || family == Family.SD2) {
            config.put("steps_offset", 1L);
            config.put("clip_sample", false);
        }
        return Collections.unmodifiableMap(config);
    }

    /// The schedule that the model was trained with.
    ///
    /// @throws ModelException when there is none, or one that we do not support, naming key and value
    public NoiseSchedule schedule() throws ModelException {
        Map<String, Object> config = samplerConfig();
        try {
            return NoiseSchedule.fromConfig(config);
        } catch (IllegalArgumentException e) {
            throw new ModelException(scheduler.source() + ": " + e.getMessage());
        }
    }

    /// The files of a tokenizer (`tokenizer`, `tokenizer_2`): those of the model's folder or, where the
    /// model came without, CLIP's own if its text encoder has a vocabulary of that size. Empty
    /// otherwise.
    public Optional<TokenizerFiles> tokenizer(String name) {
        for (String file : List.of("vocab.json", "tokenizer.json")) {
            Path copied = documents.copied().get(name + "/" + file);
            if (copied != null) {
                return Optional.of(new TokenizerFiles.InFolder(copied.getParent()));
            }
        }
        String encoder = name.replace("tokenizer", "text_encoder");
        return family != null
                        && components.containsKey(encoder)
                        && components.get(encoder).config() instanceof ClipTextConfig text
                        && text.vocabSize() == TokenizerFiles.Clip.TOKENS
                ? Optional.of(new TokenizerFiles.Clip(
                        SingleFileLayout.isOpenClip(family, encoder)
                                ? TokenizerFiles.Clip.EXCLAMATION_MARK
                                : TokenizerFiles.Clip.END))
                : Optional.empty();
    }

    /// Tensors of the files that are not parameters of the model, such as position ids or EMA weights.
    public List<String> ignored() {
        return leftovers.ignored();
    }

    /// Notices about the files, one line each: content that is ignored, values that are assumed.
    public List<String> notices() {
        List<String> all = new ArrayList<>(leftovers.notices());
        if (scheduler != null) {
            all.addAll(NoiseSchedule.notices(scheduler.asMap()));
        }
        return Collections.unmodifiableList(all);
    }

    /// The content of `model_index.json`; empty for one component.
    ///
    /// @throws IOException when it cannot be read
    public Optional<JsonObject> index() throws IOException {
        JsonObject made = documents.made().get(INDEX);
        Path file = documents.copied().get(INDEX);
        return Optional.ofNullable(made == null && file != null ? Json.readObject(file) : made);
    }

    Documents documents() {
        return documents;
    }

    /// Every file that holds weights.
    public List<Path> weightFiles() {
        return weightFiles;
    }

    @Override
    public void close() {
        files.closeUnchecked();
    }
}
