package org.smpo.checkpoint;

import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// What a component's `config.json` says, checked: each value is one that we support.
public sealed interface ModelConfig
        permits UNetConfig, VaeConfig, ClipTextConfig, ClipVisionConfig, ClipModelConfig, OpaqueConfig {
    /// The file as it was read, with the keys that we do not know.
    JsonObject json();

    /// Keys that the class does not take. They are ignored, as diffusers and transformers do, and kept for
    /// writing.
    List<String> unknownKeys();

    /// Every parameter of such a model: diffusers' or transformers' name and the shape, in torch's order.
    Map<String, List<Long>> parameters();

    /// How many numbers [#parameters] holds.
    default long parameterCount() {
        return parameters().values().stream().mapToLong(ModelConfig::elements).sum();
    }

    /// Product of the dimensions.
    static long elements(List<Long> shape) {
        long elements = 1;
        for (long dimension : shape) {
            elements = Math.multiplyExact(elements, dimension);
        }
        return elements;
    }
}
