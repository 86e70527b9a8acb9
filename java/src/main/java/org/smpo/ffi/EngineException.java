package org.smpo.ffi;

import java.io.Serial;

/// What the engine refused or failed to do. One subclass per status, so that a caller can catch what it can
/// handle.
///
/// The message has the form "function: argument: expected ..., got ...". Unchecked: most of these are mistakes in
/// the calling code, and the few that are not ([CancelledException], [EngineOutOfMemoryException]) are caught far
/// above.
///
/// All statuses are in this one hierarchy, also where the JDK has a type of similar meaning, because one clause
/// must be able to catch whatever the border raises, with its status and detail. The exceptions are `null`, which
/// is a [NullPointerException] as everywhere in Java, and a library that is missing or does not fit, a
/// [LinkageError].
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

    /// What kind of failure this is; never [Status#OK].
    public final Status status() {
        return status;
    }

    /// The backend's own code, such as a `cudaError_t`; 0 when there is none.
    public final long detail() {
        return detail;
    }
}
