package org.smpo.train;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.StringJoiner;
import org.smpo.ffi.CancelledException;
import org.smpo.ffi.EngineException;

/// Translates messages of the engine into the terms of a recipe. The engine names fields of its own
/// interface; this class adds the keys of the recipe that set them.
final class RecipeAdvice {
    /// Recipe keys by fields of native/include/smpo.h.
    private static final Map<String, String> KEYS = new LinkedHashMap<>();

    static {
        KEYS.put("micro_batch.pairs", "train.micro_batch");
        KEYS.put("options.checkpointing", "train.gradient_checkpointing");
        KEYS.put("plan.inversion_batch", "inversion.slots, or objective.slots of rollouts");
        KEYS.put("config.threads", "train.threads");
    }

    private RecipeAdvice() {}

    /// Returns the exception to throw in place of one from the engine: its message also names recipe
    /// keys. Returns the same exception if its message names no field that a recipe sets.
    static RuntimeException explain(EngineException failure) {
        StringJoiner keys = new StringJoiner(", ");
        KEYS.forEach((field, key) -> {
            if (failure.getMessage().contains(field)) {
                keys.add(field + " is " + key);
            }
        });
        return keys.length() == 0 || failure instanceof CancelledException
                ? failure
                : new IllegalStateException(failure.getMessage() + " (in the recipe, " + keys + ")", failure);
    }
}
