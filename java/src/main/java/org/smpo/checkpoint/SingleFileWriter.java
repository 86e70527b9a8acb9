package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.smpo.io.DType;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.PredictionType;

/// Writes models as single-file checkpoints.
public final class SingleFileWriter {
    private SingleFileWriter() {}

    /// Writes a model as one checkpoint, whole or not at all.
    ///
    /// @param dtype Dtype of the weights; null keeps the dtype of each
    /// @param metadata Metadata of the file, besides that which names the family
    /// @throws ModelException when the model has no such layout, a weight is not finite or leaves the new type's
    ///     range
    /// @throws IOException when the file cannot be written; an old one is then untouched
    public static void write(ModelFiles model, Path target, DType dtype, Map<String, String> metadata)
            throws IOException {
        Family family = model.family()
                .orElseThrow(() -> new ModelException(
                        model.path(), "model", "a whole pipeline", "one component, " + model.pipelineClass()));
        List<Weight> weights = new ArrayList<>();
        for (String name : SingleFileLayout.componentNames(family)) {
            Component component = model.component(name);
            String prefix = SingleFileLayout.prefix(family, name);
            for (Weight weight : checkpointWeights(component, SingleFileLayout.isOpenClip(family, name))) {
                weights.add(weight.named(prefix + weight.name()));
            }
        }
        NoiseSchedule schedule = model.schedule();
        boolean v = schedule.predictionType() == PredictionType.V_PREDICTION;
        if (v) {
            weights.add(mark(SingleFileMarks.V_PREDICTION));
        }
        if (schedule.zeroTerminalSnr()) {
            weights.add(mark(SingleFileMarks.ZERO_TERMINAL_SNR));
        }
        Map<String, String> all = new TreeMap<>(metadata);
        all.put("modelspec.sai_model_spec", "1.0.1");
        all.put("modelspec.architecture", architecture(family, v));
        all.put("modelspec.prediction_type", v ? "v" : "epsilon");
        Weight.writeAll(target, weights, dtype, all);
    }

    /// An empty tensor, which the web UIs look for by its name.
    private static Weight mark(String name) {
        return Weight.of(name, DType.F32, List.of(0L), new byte[0]);
    }

    private static String architecture(Family family, boolean v) {
        return switch (family) {
            case SD1 -> "stable-diffusion-v1";
            case SD2 -> v ? "stable-diffusion-v2-768-v" : "stable-diffusion-v2-512";
            case SDXL -> "stable-diffusion-xl-v1-base";
            case SDXL_REFINER -> "stable-diffusion-xl-v1-refiner";
        };
    }

    /// A component's tensors in the checkpoint's names, without prefix, and forms.
    static List<Weight> checkpointWeights(Component component, boolean openClip) throws ModelException {
        return switch (component.config()) {
            case UNetConfig unet -> renamed(LdmNames.unet(unet), component);
            case VaeConfig vae -> {
                List<Weight> weights = renamed(LdmNames.vae(vae), component);
                weights.replaceAll(
                        w -> w.name().contains(".attn_1.") && w.shape().size() == 2
                                ? w.reshaped(List.of(w.shape().get(0), w.shape().get(1), 1L, 1L))
                                : w);
                yield weights;
            }
            case ClipTextConfig text when openClip -> openClipWeights(text, component);
            default -> new ArrayList<>(component.weights().values());
        };
    }

    private static List<Weight> renamed(LdmNames names, Component component) throws ModelException {
        List<Weight> weights = new ArrayList<>();
        for (Weight weight : component.weights().values()) {
            weights.add(weight.named(names.toLdm(weight.name())
                    .orElseThrow(() -> new ModelException(
                            weight.origin(), weight.name(), "a parameter that checkpoints have a name for", "none"))));
        }
        return weights;
    }

    private static List<Weight> openClipWeights(ClipTextConfig config, Component component) throws ModelException {
        LdmNames names = LdmNames.openClip(config);
        List<Weight> weights = new ArrayList<>();
        for (Weight weight : component.weights().values()) {
            Optional<String> name = names.toLdm(weight.name());
            if (name.isPresent()) {
                Weight renamed = weight.named(name.get());
                weights.add(name.get().equals("text_projection") ? renamed.transpose() : renamed);
            }
        }
        for (int i = 0; i < config.layers(); i++) {
            for (String kind : List.of("weight", "bias")) {
                List<Weight> parts = new ArrayList<>();
                for (String projection : List.of("q_proj", "k_proj", "v_proj")) {
                    parts.add(component
                            .weights()
                            .get("text_model.encoder.layers." + i + ".self_attn." + projection + "." + kind));
                }
                weights.add(Weight.joined("transformer.resblocks." + i + ".attn.in_proj_" + kind, parts));
            }
        }
        return weights;
    }
}
