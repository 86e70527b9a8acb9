package org.smpo.checkpoint;

import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// The config of a component that is copied but never run, such as a safety checker.
///
/// @param className Class of the component
/// @param json Parsed file
public record OpaqueConfig(String className, JsonObject json) implements ModelConfig {
    @Override
    public List<String> unknownKeys() {
        return List.of();
    }

    /// Empty: the parameters are not known.
    @Override
    public Map<String, List<Long>> parameters() {
        return Map.of();
    }
}
