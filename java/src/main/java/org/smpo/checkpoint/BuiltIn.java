package org.smpo.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// The configs of the published models, for files that come without: `model_index.json`, each component's
/// `config.json` and `scheduler_config.json`.
public final class BuiltIn {
    private final Family family;
    private final JsonObject all;

    private BuiltIn(Family family, JsonObject all) {
        this.family = family;
        this.all = all;
    }

    public static BuiltIn of(Family family) throws IOException {
        String resource = family.id() + ".json";
        try (InputStream in = BuiltIn.class.getResourceAsStream(resource)) {
            if (in == null) {
                throw new IOException("org/smpo/checkpoint/" + resource + ": not in this jar");
            }
            String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
            return new BuiltIn(family, Json.parseObject("built-in " + resource, text));
        }
    }

    public JsonObject index() throws IOException {
        return all.object("model_index");
    }

    JsonObject scheduler() throws IOException {
        return all.object("scheduler");
    }

    /// Every component with weights, by name.
    Map<String, ComponentConfig> configs() throws IOException {
        Map<String, ComponentConfig> configs = new LinkedHashMap<>();
        for (String name : all.keys()) {
            if (name.equals("model_index") || name.equals("scheduler")) {
                continue;
            }
            List<String> pair = index().strings(name);
            configs.put(
                    name,
                    new ComponentConfig(pair.get(0), pair.get(1), ModelConfig.parse(all.object(name), pair.get(1))));
        }
        return configs;
    }

    Family family() {
        return family;
    }
}
