package org.smpo.checkpoint;

import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// The config of a component that we only carry along, such as a safety checker.
///
/// @param className of the component
/// @param json the file
public record OpaqueConfig(String className, JsonObject json) implements ModelConfig {
    @Override
    public List<String> unknownKeys() {
        return List.of();
    }

    /// Empty: nothing is known about the parameters.
    @Override
    public Map<String, List<Long>> parameters() {
        return Map.of();
    }
}
