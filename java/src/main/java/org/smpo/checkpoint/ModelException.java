package org.smpo.checkpoint;

import java.io.IOException;

/// A model file that is broken or not supported. The message names the place, what was expected, what was found
/// and, where something helps, what to do.
public final class ModelException extends IOException {
    private static final long serialVersionUID = 1L;

    public ModelException(String message) {
        super(message);
    }

    /// A message of the form `file: where: expected ..., found ...`.
    public ModelException(Object file, String where, String expected, Object found) {
        super(file + ": " + where + ": expected " + expected + ", found " + found);
    }
}
