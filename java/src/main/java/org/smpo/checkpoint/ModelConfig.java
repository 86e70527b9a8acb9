package org.smpo.checkpoint;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// A component's `config.json`, parsed and checked: each value is one that we support.
public sealed interface ModelConfig
        permits UNetConfig,
                VaeConfig,
                ClipTextConfig,
                ClipVisionConfig,
                ClipModelConfig,
                BlipVisionConfig,
                BertConfig,
                OpaqueConfig {
    /// Parses a component's `config.json`.
    ///
    /// @param className Class of the component
    /// @throws ModelException for a class or a value that we do not support, naming the file, the key and the
    ///     value
    /// @throws IOException when the file does not have the structure of a config
    static ModelConfig parse(JsonObject json, String className) throws IOException {
        return switch (className) {
            case "UNet2DConditionModel" -> UNetConfig.parse(json);
            case "AutoencoderKL" -> VaeConfig.parse(json);
            case "CLIPTextModel", "CLIPTextModelWithProjection" -> ClipTextConfig.parse(json, className);
            case "CLIPVisionModel", "CLIPVisionModelWithProjection" -> ClipVisionConfig.parse(json, className);
            case ClipModelConfig.CLASS -> ClipModelConfig.parse(json);
            case "StableDiffusionSafetyChecker" -> new OpaqueConfig(className, json);
            default ->
                throw new ModelException(
                        json.source(),
                        "class",
                        "UNet2DConditionModel, AutoencoderKL, CLIPTextModel, CLIPTextModelWithProjection,"
                                + " CLIPVisionModel, CLIPVisionModelWithProjection, CLIPModel or"
                                + " StableDiffusionSafetyChecker",
                        "\"" + className + "\"");
        };
    }

    /// The parsed file, unknown keys included.
    JsonObject json();

    /// Keys that the class does not take. They are ignored, as diffusers and transformers do, and kept for
    /// writing.
    List<String> unknownKeys();

    /// Every parameter of such a model: diffusers' or transformers' name and the shape, in torch's order.
    Map<String, List<Long>> parameters();

    /// Number of elements of all [#parameters].
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
