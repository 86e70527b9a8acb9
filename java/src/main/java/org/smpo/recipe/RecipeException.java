package org.smpo.recipe;

import java.io.IOException;

/// A recipe that cannot be used: the message names the source, the line and the key, such as `run.yaml: line
/// 12: train.stepz: unknown key; did you mean train.steps?`.
public final class RecipeException extends IOException {
    private static final long serialVersionUID = 1L;

    RecipeException(String message) {
        super(message);
    }

    RecipeException(String message, Throwable cause) {
        super(message, cause);
    }
}
