package org.smpo.checkpoint;

import java.io.IOException;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Pattern;

/// Low-rank adapters of a model. The weight W of an adapted module becomes W + scale · up · down.
///
/// @param modules Adapted modules by `component.path`, such as `unet.mid_block.attentions.0.proj_in`
/// @param metadata Metadata of the file other than the adapters' configs
public record Lora(SortedMap<String, Module> modules, Map<String, String> metadata) {
    /// Key of the base model in the metadata.
    public static final String BASE = "ss_base_model_version";

    /// One adapted module, linear or convolution.
    ///
    /// @param component `unet`, `text_encoder` or `text_encoder_2`
    /// @param path Path of the module in the component, in diffusers' names
    /// @param down Matrix A of PEFT: [rank, in] or [rank, in, kh, kw]
    /// @param up Matrix B of PEFT: [out, rank] or [out, rank, 1, 1]
    /// @param alpha Numerator of the scale, alpha / rank
    /// @param rankStabilized Whether the scale is alpha / sqrt(rank) instead
    public record Module(String component, String path, Weight down, Weight up, double alpha, boolean rankStabilized) {
        /// Modules that are linear in every supported model; the others may be 1x1 convolutions or linear.
        private static final Pattern LINEAR = Pattern.compile(
                "(.*\\.)?(to_[qkv]|to_out\\.0|ff\\.net\\.\\d+(\\.proj)?|[qkv]_proj|out_proj|fc[12]|linear_[12]|time_emb_proj"
                        + "|text_projection)");

        /// Checks the shapes. Matrices of linear modules lose dimensions of 1 at their ends.
        ///
        /// @throws ModelException naming the tensor that does not fit
        static Module of(String component, String path, Weight down, Weight up, double alpha, boolean rankStabilized)
                throws ModelException {
            List<Long> a = down.shape();
            List<Long> b = up.shape();
            boolean fits = (a.size() == 2 || a.size() == 4)
                    && (b.size() == 2 || (b.size() == 4 && b.get(2) == 1 && b.get(3) == 1));
            if (!fits) {
                throw new ModelException(
                        up.origin(),
                        "shape",
                        "[out, rank] with [rank, in], or [out, rank, 1, 1] with [rank, in, kh, kw]",
                        b + " with " + a);
            }
            if (!a.get(0).equals(b.get(1)) || a.get(0) == 0) {
                throw new ModelException(up.origin(), "shape", "rank " + a.get(0) + ", like " + down.origin(), b);
            }
            for (Weight weight : List.of(down, up)) {
                if (!Floats.TYPES.contains(weight.dtype())) {
                    throw new ModelException(weight.origin(), "dtype", "one of " + Floats.TYPES, weight.dtype());
                }
            }
            if (!Double.isFinite(alpha)) {
                throw new ModelException(down.origin(), "alpha", "a finite number", alpha);
            }
            if (LINEAR.matcher(path).matches()) {
                return new Module(component, path, matrix(down), matrix(up), alpha, rankStabilized);
            }
            return new Module(component, path, down, up, alpha, rankStabilized);
        }

        private static Weight matrix(Weight weight) {
            List<Long> shape = weight.shape();
            boolean pointwise = shape.size() == 4 && shape.get(2) == 1 && shape.get(3) == 1;
            return pointwise ? weight.reshaped(shape.subList(0, 2)) : weight;
        }

        /// The same change of the module with scale 1: the scale is multiplied into [#up], and alpha is the rank.
        /// Readers that ignore alpha apply it at the right strength.
        Module withUnitScale() throws IOException {
            if (scale() == 1) {
                return new Module(component, path, down, up, rank(), false);
            }
            return new Module(component, path, down, up.scaled(scale()), rank(), false);
        }

        /// This module with matrices of other shapes and the same elements, such as a convolution's for a matrix's.
        ///
        /// @throws ModelException when the number of elements differs
        public Module reshaped(List<Long> downShape, List<Long> upShape) throws ModelException {
            if (ModelConfig.elements(downShape) != down.elements() || ModelConfig.elements(upShape) != up.elements()) {
                throw new ModelException(
                        down.origin(),
                        "shape",
                        downShape + " and " + upShape + ", as the module of the model has it",
                        down.shape() + " and " + up.shape() + "; is the LoRA for another model?");
            }
            return new Module(component, path, down.reshaped(downShape), up.reshaped(upShape), alpha, rankStabilized);
        }

        /// Rank: the inner dimension.
        public int rank() {
            return Math.toIntExact(down.shape().get(0));
        }

        /// Factor of up · down.
        public double scale() {
            return alpha / (rankStabilized ? Math.sqrt(rank()) : rank());
        }

        /// `component.path`.
        public String key() {
            return component + "." + path;
        }
    }

    public Lora {
        modules = Collections.unmodifiableSortedMap(new TreeMap<>(modules));
        metadata = Collections.unmodifiableMap(new TreeMap<>(metadata));
    }

    /// The adapters of one component alone.
    public Lora only(String component) {
        SortedMap<String, Module> kept = new TreeMap<>(modules);
        kept.values().removeIf(module -> !module.component().equals(component));
        return new Lora(kept, metadata);
    }

    /// Number of elements of all matrices.
    public long parameterCount() {
        return modules.values().stream()
                .mapToLong(m -> m.down().elements() + m.up().elements())
                .sum();
    }

    /// The name of a base model in the metadata of kohya's scripts, under the key [#BASE].
    public static String baseVersion(Family family) {
        return switch (family) {
            case SD1 -> "sd_v1";
            case SD2 -> "sd_v2";
            case SDXL -> "sdxl_base_v1-0";
            case SDXL_REFINER -> "sdxl_refiner_v1-0";
        };
    }

    /// The family that the adapters fit, where widths or metadata show it.
    public Optional<Family> family() {
        String base = metadata.getOrDefault(BASE, "");
        boolean secondEncoder =
                modules.values().stream().anyMatch(m -> m.component().equals("text_encoder_2"));
        for (Module module : modules.values()) {
            if (module.component().equals("unet") && module.path().endsWith(".attn2.to_k")) {
                switch (Math.toIntExact(module.down().shape().get(1))) {
                    case 768 -> {
                        return Optional.of(Family.SD1);
                    }
                    case 1024 -> {
                        return Optional.of(Family.SD2);
                    }
                    case 1280 -> {
                        return Optional.of(Family.SDXL_REFINER);
                    }
                    case 2048 -> {
                        return Optional.of(Family.SDXL);
                    }
                    default -> {
                        // A model of another size.
                    }
                }
            }
        }
        if (base.startsWith("sdxl") || secondEncoder) {
            return Optional.of(Family.SDXL);
        }
        if (base.startsWith("sd_v1") || base.startsWith("sd_v2")) {
            return Optional.of(base.startsWith("sd_v1") ? Family.SD1 : Family.SD2);
        }
        return Optional.empty();
    }

    /// Reads every element.
    ///
    /// @throws ModelException when one is NaN or infinite, naming the tensor
    public void requireFinite() throws IOException {
        for (Module module : modules.values()) {
            module.down().requireFinite();
            module.up().requireFinite();
        }
    }

    /// Sorts modules by their keys.
    ///
    /// @throws ModelException when two have the same
    static SortedMap<String, Module> index(Object file, List<Module> modules) throws ModelException {
        SortedMap<String, Module> index = new TreeMap<>();
        for (Module module : modules) {
            Module twin = index.put(module.key(), module);
            if (twin != null) {
                throw new ModelException(
                        file,
                        module.key(),
                        "one adapter",
                        twin.down().origin() + " and " + module.down().origin());
            }
        }
        if (index.isEmpty()) {
            throw new ModelException(file, "tensors", "LoRA adapters", "none");
        }
        return index;
    }
}
