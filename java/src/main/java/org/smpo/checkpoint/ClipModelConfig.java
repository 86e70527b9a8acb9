package org.smpo.checkpoint;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// The `config.json` of transformers' `CLIPModel`: both towers with their projections.
///
/// @param text Text tower with its projection
/// @param vision Vision tower with its projection, of the same width
/// @param json Parsed file
/// @param unknownKeys Keys that neither CLIPConfig nor its towers take; those of a tower follow its section's name
public record ClipModelConfig(ClipTextConfig text, ClipVisionConfig vision, JsonObject json, List<String> unknownKeys)
        implements ModelConfig {
    /// The class of such a model.
    static final String CLASS = "CLIPModel";

    /// Default width of the embeddings, the same in CLIPConfig and in both towers' configs.
    static final int PROJECTION = 512;

    /// Name of the logarithm of the factor that multiplies cosines.
    public static final String LOGIT_SCALE = "logit_scale";

    private static final List<String> SECTIONS = List.of("text_config", "vision_config");

    public ClipModelConfig {
        unknownKeys = List.copyOf(unknownKeys);
    }

    /// Reads a config.
    ///
    /// @throws ModelException for a value that we do not support, naming the file, the key, the value and what is
    ///     supported
    /// @throws IOException when the file does not have the structure of a config
    public static ClipModelConfig parse(JsonObject json) throws IOException {
        ClipTextConfig text = ClipTextConfig.parse(json, CLASS);
        ClipVisionConfig vision = ClipVisionConfig.parse(json, CLASS);
        ConfigReader in = new ConfigReader(json);
        in.tolerate(ClipTextConfig.TOLERATED);
        in.tolerate("projection_dim", "text_config", "text_config_dict", "vision_config", "vision_config_dict");
        List<String> unknown = new ArrayList<>(in.unknown());
        text.unknownKeys().forEach(key -> unknown.add("text_config." + key));
        vision.unknownKeys().forEach(key -> unknown.add("vision_config." + key));
        return new ClipModelConfig(text, vision, json, unknown);
    }

    /// The part of a config that describes one tower.
    ///
    /// Old files describe a tower twice: where there is a `text_config_dict`, transformers takes it, with the
    /// defaults of the class for absent keys, and ignores `text_config`.
    ///
    /// @param whole Whether the file must be the config of both towers; otherwise the config of one tower is
    ///     returned as it is
    static JsonObject section(JsonObject json, String name, boolean whole) throws IOException {
        if (!SECTIONS.contains(name)) {
            throw new IllegalArgumentException(name);
        }
        if (whole && json.has(name + "_dict")) {
            return json.object(name + "_dict");
        }
        if (json.has(name)) {
            return json.object(name);
        }
        return whole ? Json.parseObject(json.source() + " (without " + name + ")", "{}") : json;
    }

    @Override
    public Map<String, List<Long>> parameters() {
        Map<String, List<Long>> all = new LinkedHashMap<>();
        all.put(LOGIT_SCALE, List.of());
        all.putAll(text.parameters());
        all.putAll(vision.parameters());
        return all;
    }
}
