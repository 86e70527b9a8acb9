package org.smpo.ffi;

import java.io.Serial;

/// Thrown when a shape, a length or a byte count differs from what the operation needs. Nothing was
/// done.
public final class ShapeMismatchException extends EngineException {
    @Serial
    private static final long serialVersionUID = 1;

    ShapeMismatchException(String message, long detail) {
        super(Status.SHAPE_MISMATCH, message, detail);
    }
}
