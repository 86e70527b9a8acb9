package org.smpo.checkpoint;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;

/// The towers of OpenCLIP under transformers' names and in transformers' form: there, attention has
/// three input projections instead of one, and the projections into the common space are transposed.
final class OpenClip {
    private static final List<String> PROJECTIONS = List.of("q_proj", "k_proj", "v_proj");
    private static final List<String> KINDS = List.of("weight", "bias");

    /// Beginning of the names of a tower's layers.
    static final String BLOCKS = "transformer.resblocks.";

    private OpenClip() {}

    /// Removes a text tower's tensors from `file` and returns them as transformers has them.
    ///
    /// @param prefix beginning of the tower's names
    static List<Weight> takeText(ClipTextConfig config, String prefix, Map<String, Weight> file) {
        List<Weight> weights =
                takeAttention("text_model", config.layers(), config.hiddenSize(), i -> inputs(prefix, i), file);
        weights.addAll(LdmNames.openClip(config).take(config, prefix, file));
        return transposed(weights, "text_projection.weight");
    }

    /// Removes a vision tower's tensors from `file` and returns them as transformers has them.
    ///
    /// @param prefix beginning of the tower's names
    static List<Weight> takeVision(ClipVisionConfig config, String prefix, Map<String, Weight> file) {
        List<Weight> weights =
                takeAttention("vision_model", config.layers(), config.hiddenSize(), i -> inputs(prefix, i), file);
        weights.addAll(LdmNames.openClipVision(config).take(config, prefix, file));
        return transposed(weights, "visual_projection.weight");
    }

    private static String inputs(String prefix, int layer) {
        return prefix + BLOCKS + layer + ".attn.in_proj_";
    }

    /// Removes the input projections of a tower's attention from `file` and returns them in three parts.
    ///
    /// @param inputs beginning of the names of a layer's projection, before `weight` and `bias`
    static List<Weight> takeAttention(
            String tower, int layers, long hidden, IntFunction<String> inputs, Map<String, Weight> file) {
        List<Weight> weights = new ArrayList<>();
        for (int i = 0; i < layers; i++) {
            for (String kind : KINDS) {
                Weight all = file.get(inputs.apply(i) + kind);
                if (all == null || all.shape().isEmpty() || all.shape().get(0) != 3 * hidden) {
                    continue; // stays, and is reported
                }
                file.remove(all.name());
                for (int part = 0; part < PROJECTIONS.size(); part++) {
                    weights.add(all.rows(part * hidden, hidden)
                            .named(tower + ".encoder.layers." + i + ".self_attn." + PROJECTIONS.get(part) + "."
                                    + kind));
                }
            }
        }
        return weights;
    }

    private static List<Weight> transposed(List<Weight> weights, String name) {
        weights.replaceAll(w -> w.name().equals(name) && w.shape().size() == 2 ? w.transpose() : w);
        return weights;
    }
}
