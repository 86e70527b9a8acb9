package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.smpo.io.DType;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;

/// LoRA files of sd-scripts (kohya), which the web UIs read: `lora_unet_<module>.lora_down.weight`,
/// `.lora_up.weight` and `.alpha`, with the module's dots turned into underscores. For SDXL the UNet's
/// modules have the names of Stability's code; diffusers' names are read there too.
public final class KohyaFile {
    /// Names that contain underscores; every other underscore was a dot.
    private static final Set<String> WORDS = Set.of(
            "down_blocks",
            "up_blocks",
            "mid_block",
            "transformer_blocks",
            "to_q",
            "to_k",
            "to_v",
            "to_out",
            "proj_in",
            "proj_out",
            "conv_in",
            "conv_out",
            "conv_shortcut",
            "time_embedding",
            "add_embedding",
            "linear_1",
            "linear_2",
            "time_emb_proj",
            "text_model",
            "self_attn",
            "q_proj",
            "k_proj",
            "v_proj",
            "out_proj",
            "text_projection",
            "token_embedding",
            "position_embedding",
            "input_blocks",
            "middle_block",
            "output_blocks",
            "in_layers",
            "out_layers",
            "emb_layers",
            "skip_connection",
            "time_embed",
            "label_emb");

    private static final Set<String> SIMPLE_WORDS = Set.of(
            "attentions",
            "resnets",
            "downsamplers",
            "upsamplers",
            "attn1",
            "attn2",
            "ff",
            "net",
            "proj",
            "conv",
            "conv1",
            "conv2",
            "encoder",
            "layers",
            "mlp",
            "fc1",
            "fc2",
            "embeddings",
            "op",
            "out");

    private static final Map<String, String> PREFIXES = Map.of(
            "lora_unet_",
            "unet",
            "lora_te_",
            "text_encoder",
            "lora_te1_",
            "text_encoder",
            "lora_te2_",
            "text_encoder_2");

    private KohyaFile() {}

    /// @param unet Config of the base model's UNet, which decides the block numbers in SDXL's own names;
    ///     null: that of the published SDXL
    /// @param notices Receives what is left out, one line each
    static Lora read(TensorFile file, UNetConfig unet, Set<String> notices) throws IOException {
        Map<String, LoraTensors> parts = new TreeMap<>();
        for (TensorEntry entry : file.entries()) {
            Optional<String> embedding = LoraTensors.embedding(entry.name());
            if (embedding.isPresent()) {
                notices.add(LoraFile.embeddingNotice(embedding.get()));
                continue;
            }
            int dot = entry.name().indexOf('.');
            String module = dot < 0 ? entry.name() : entry.name().substring(0, dot);
            LoraTensors.Part part = switch (dot < 0 ? "" : entry.name().substring(dot + 1)) {
                case "lora_down.weight", "lora_A.weight" -> LoraTensors.Part.DOWN;
                case "lora_up.weight", "lora_B.weight" -> LoraTensors.Part.UP;
                case "alpha" -> LoraTensors.Part.ALPHA;
                default ->
                    throw LoraTensors.unexpected(
                            file.path(),
                            entry.name(),
                            "a tensor named <module>.lora_down.weight, .lora_up.weight or .alpha");
            };
            parts.computeIfAbsent(module, m -> new LoraTensors()).add(file.path(), part, Weight.of(file, entry));
        }
        Names names = new Names(file, unet);
        List<Lora.Module> modules = new ArrayList<>();
        for (Map.Entry<String, LoraTensors> entry : parts.entrySet()) {
            entry.getValue().requireComplete(file.path(), entry.getKey(), "lora_down", "lora_up");
            modules.add(names.module(entry.getKey(), entry.getValue()));
        }
        Map<String, String> metadata = new TreeMap<>(file.metadata());
        metadata.remove("format");
        return new Lora(Lora.index(file.path(), modules), metadata);
    }

    /// Translates the names of one file's modules.
    private static final class Names {
        private final TensorFile file;
        private final UNetConfig unet;
        private LdmNames sgm;

        Names(TensorFile file, UNetConfig unet) {
            this.file = file;
            this.unet = unet;
        }

        Lora.Module module(String name, LoraTensors tensors) throws IOException {
            String prefix = PREFIXES.keySet().stream()
                    .filter(name::startsWith)
                    .findFirst()
                    .orElseThrow(() -> new ModelException(
                            file.path(),
                            name,
                            "a module under one of "
                                    + PREFIXES.keySet().stream().sorted().toList(),
                            "another prefix"));
            String path = dotted(file.path(), name, name.substring(prefix.length()));
            String component = PREFIXES.get(prefix);
            if (component.equals("unet") && isSgm(path)) {
                if (sgm == null) {
                    sgm = LdmNames.unet(unet != null ? unet : published(Family.SDXL));
                }
                path = sgm.toDiffusers(path)
                        .orElseThrow(() -> new ModelException(
                                file.path(),
                                name,
                                "a module of SDXL's UNet",
                                "another; is it for another base model?"));
            }
            // sd-scripts takes the rank for an absent alpha, and for zero.
            double rank = tensors.down().shape().isEmpty()
                    ? 0
                    : tensors.down().shape().get(0);
            double alpha = tensors.alpha().filter(stored -> stored != 0).orElse(rank);
            return Lora.Module.of(component, path, tensors.down(), tensors.up(), alpha, false);
        }
    }

    private static boolean isSgm(String path) {
        return path.startsWith("input_blocks.")
                || path.startsWith("middle_block.")
                || path.startsWith("output_blocks.")
                || path.startsWith("time_embed.")
                || path.startsWith("label_emb.")
                || path.startsWith("out.");
    }

    private static UNetConfig published(Family family) throws IOException {
        return (UNetConfig) BuiltIn.of(family).configs().get("unet").config();
    }

    /// Turns the underscores that were dots back into dots.
    private static String dotted(Object file, String name, String flat) throws ModelException {
        String[] pieces = flat.split("_", -1);
        List<String> words = new ArrayList<>();
        int i = 0;
        while (i < pieces.length) {
            int taken = 0;
            for (int length = Math.min(3, pieces.length - i); length >= 2 && taken == 0; length--) {
                if (WORDS.contains(String.join("_", List.of(pieces).subList(i, i + length)))) {
                    taken = length;
                }
            }
            if (taken == 0 && (SIMPLE_WORDS.contains(pieces[i]) || pieces[i].matches("\\d{1,3}"))) {
                taken = 1;
            }
            if (taken == 0) {
                throw new ModelException(file, name, "the name of a module", "\"" + pieces[i] + "\" in it");
            }
            words.add(String.join("_", List.of(pieces).subList(i, i + taken)));
            i += taken;
        }
        return String.join(".", words);
    }

    /// Writes adapters for the web UIs, whole or not at all.
    ///
    /// kohya's format has no rank-stabilized scale: such an alpha is written times sqrt(rank), which is
    /// equivalent.
    ///
    /// @param family Family of the base model, which decides the names
    /// @param unet Config of the base model's UNet; null: that of the family's published model
    /// @param dtype Dtype of the tensors; null keeps the dtype of each. An alpha is F32, or F64 where
    ///     that holds it and F32 not
    /// @throws ModelException when a module has no name in this format, or an element is not finite
    /// @throws IOException when the file cannot be written; an old one is then untouched
    public static void write(Lora lora, Path target, Family family, UNetConfig unet, DType dtype) throws IOException {
        boolean xl = family == Family.SDXL || family == Family.SDXL_REFINER;
        LdmNames sgm = xl ? LdmNames.unet(unet != null ? unet : published(family)) : null;
        List<Weight.Output> weights = new ArrayList<>();
        List<Weight.Output> alphas = new ArrayList<>();
        for (Lora.Module module : lora.modules().values()) {
            String name = name(module, xl, sgm);
            weights.add(new Weight.Output(module.down().named(name + ".lora_down.weight"), dtype));
            weights.add(new Weight.Output(module.up().named(name + ".lora_up.weight"), dtype));
            double alpha = module.rankStabilized() ? module.alpha() * Math.sqrt(module.rank()) : module.alpha();
            alphas.add(new Weight.Output(scalar(name + ".alpha", alpha), null));
        }
        weights.addAll(alphas);
        Weight.writeAll(target, weights, metadata(lora, family));
    }

    private static Weight scalar(String name, double value) {
        boolean narrow = (float) value == value;
        ByteBuffer bytes = ByteBuffer.allocate(narrow ? 4 : 8).order(ByteOrder.LITTLE_ENDIAN);
        if (narrow) {
            bytes.putFloat((float) value);
        } else {
            bytes.putDouble(value);
        }
        return Weight.of(name, narrow ? DType.F32 : DType.F64, List.of(), bytes.array());
    }

    private static String name(Lora.Module module, boolean xl, LdmNames sgm) throws ModelException {
        String path = module.path();
        String prefix = switch (module.component()) {
            case "unet" -> "lora_unet_";
            case "text_encoder" -> xl ? "lora_te1_" : "lora_te_";
            case "text_encoder_2" -> "lora_te2_";
            default ->
                throw new ModelException(
                        module.down().origin(),
                        module.component(),
                        "unet, text_encoder or text_encoder_2",
                        "this component");
        };
        if (sgm != null && module.component().equals("unet")) {
            Optional<String> translated = sgm.toLdm(path);
            path = translated.orElseThrow(() -> new ModelException(
                    module.down().origin(), module.path(), "a module of this family's UNet", "this one"));
        }
        String name = prefix + path.replace('.', '_');
        if (!dotted(module.down().origin(), name, path.replace('.', '_')).equals(path)) {
            throw new ModelException(
                    module.down().origin(), module.path(), "a module whose kohya name can be read back", name);
        }
        return name;
    }

    /// The metadata that sd-scripts and the web UIs look for; the adapters' own metadata stays.
    private static Map<String, String> metadata(Lora lora, Family family) {
        Map<String, String> metadata = new TreeMap<>();
        Set<Integer> ranks = new HashSet<>();
        Set<Double> alphas = new HashSet<>();
        lora.modules().values().forEach(module -> {
            ranks.add(module.rank());
            alphas.add(module.alpha());
        });
        metadata.put("ss_network_module", "networks.lora");
        metadata.put(
                "ss_network_dim", ranks.size() == 1 ? ranks.iterator().next().toString() : "Dynamic");
        metadata.put(
                "ss_network_alpha",
                alphas.size() == 1 ? alphas.iterator().next().toString() : "Dynamic");
        metadata.put(Lora.BASE, Lora.baseVersion(family));
        metadata.put("modelspec.sai_model_spec", "1.0.1");
        metadata.put(
                "modelspec.architecture",
                switch (family) {
                    case SD1 -> "stable-diffusion-v1/lora";
                    case SD2 -> "stable-diffusion-v2/lora";
                    case SDXL -> "stable-diffusion-xl-v1-base/lora";
                    case SDXL_REFINER -> "stable-diffusion-xl-v1-refiner/lora";
                });
        boolean xl = family == Family.SDXL || family == Family.SDXL_REFINER;
        metadata.put(
                "modelspec.implementation", xl ? "https://github.com/Stability-AI/generative-models" : "diffusers");
        metadata.putAll(lora.metadata());
        return metadata;
    }
}
