package org.smpo.checkpoint;

import java.io.IOException;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;

/// Low-rank adapters of a model: each adapted module's weight W becomes W + scale · up · down.
///
/// @param modules by `component.path`, such as `unet.mid_block.attentions.0.proj_in`
/// @param metadata what the file says of its making, other than about the adapters
public record Lora(SortedMap<String, Module> modules, Map<String, String> metadata) {
    /// One adapted module, linear or convolution.
    ///
    /// @param component `unet`, `text_encoder` or `text_encoder_2`
    /// @param path of the module in the component, in diffusers' names
    /// @param down PEFT's A: [rank, in] or [rank, in, kh, kw]
    /// @param up PEFT's B: [out, rank] or [out, rank, 1, 1]
    /// @param alpha scale is alpha / rank
    /// @param rankStabilized scale is alpha / sqrt(rank) instead
    public record Module(String component, String path, Weight down, Weight up, double alpha, boolean rankStabilized) {
        /// Checks the shapes.
        ///
        /// @throws ModelException naming the tensor that does not fit
        static Module of(String component, String path, Weight down, Weight up, double alpha, boolean rankStabilized)
                throws ModelException {
            List<Long> a = down.shape();
            List<Long> b = up.shape();
            boolean linear = a.size() == 2 && b.size() == 2;
            boolean convolution = a.size() == 4 && b.size() == 4 && b.get(2) == 1 && b.get(3) == 1;
            if (!linear && !convolution) {
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
            return new Module(component, path, down, up, alpha, rankStabilized);
        }

        /// Inner dimension.
        public int rank() {
            return Math.toIntExact(down.shape().get(0));
        }

        /// What up · down is multiplied by.
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

    /// How many numbers the adapters hold.
    public long parameterCount() {
        return modules.values().stream()
                .mapToLong(m -> m.down().elements() + m.up().elements())
                .sum();
    }

    /// Which models the adapters fit, as far as widths or metadata tell.
    public Optional<Family> family() {
        String base = metadata.getOrDefault("ss_base_model_version", "");
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

    /// Puts modules under their keys.
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
