package org.smpo.checkpoint;

import java.io.IOException;

/// A model file that is broken, or holds what we do not support: where, what was expected, what is there and, where
/// there is something, what to do.
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
