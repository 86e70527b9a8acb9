package org.smpo.ffi;

import java.io.Serial;

/// An operation that the engine refused or failed to complete. There is one subclass per status, so that
/// a caller can catch what it can handle.
///
/// The message has the form "function: argument: expected ..., got ...". The exception is unchecked:
/// most cases are mistakes in the calling code, and the few that are not ([CancelledException],
/// [EngineOutOfMemoryException]) are caught far up the call stack.
///
/// All statuses share this one hierarchy, even where the JDK has a type of similar meaning, because one
/// clause must be able to catch every failure of a native call, with its status and detail. Two failures
/// are outside it: a `null` argument is a [NullPointerException], as everywhere in Java, and a library
/// that is missing or does not match is a [LinkageError].
public abstract sealed class EngineException extends RuntimeException
        permits InvalidArgumentException,
                ShapeMismatchException,
                DTypeMismatchException,
                InvalidHandleException,
                NotOwnerThreadException,
                NotSupportedException,
                EngineOutOfMemoryException,
                DeviceFaultException,
                PoisonedSessionException,
                CancelledException,
                NonFiniteException,
                InternalEngineException,
                PeerLostException {
    @Serial
    private static final long serialVersionUID = 1;

    private final Status status;
    private final long detail;

    EngineException(Status status, String message, long detail) {
        super(message);
        this.status = status;
        this.detail = detail;
    }

    /// Returns the status that describes this failure; never [Status#OK].
    public final Status status() {
        return status;
    }

    /// Returns the backend's own code, such as a `cudaError_t`; 0 when there is none.
    public final long detail() {
        return detail;
    }
}
