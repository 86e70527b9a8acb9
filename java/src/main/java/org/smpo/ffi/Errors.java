package org.smpo.ffi;

/// The mapping from statuses to exceptions. It is defined only here.
final class Errors {
    private Errors() {}

    /// Returns if `status` is `SMPO_OK`; otherwise throws the exception that the status and the error
    /// struct describe. `error` may be null for calls that were made without one; the message then names
    /// only `function`.
    static void check(int status, Struct error, String function) {
        if (status != 0) {
            throw of(status, error, function);
        }
    }

    private static EngineException of(int code, Struct error, String function) {
        Status status = Status.of(code);
        if (error == null) {
            return exception(status, function + ": " + status, 0);
        }
        String message = error.getString("message");
        return exception(status, message.isEmpty() ? function + ": " + status : message, error.getLong("detail"));
    }

    /// Returns the exception for a status that is not [Status#OK].
    static EngineException exception(Status status, String message, long detail) {
        return switch (status) {
            case INVALID_ARGUMENT -> new InvalidArgumentException(message, detail);
            case SHAPE_MISMATCH -> new ShapeMismatchException(message, detail);
            case DTYPE_MISMATCH -> new DTypeMismatchException(message, detail);
            case INVALID_HANDLE -> new InvalidHandleException(message, detail);
            case WRONG_THREAD -> new NotOwnerThreadException(message, detail);
            case UNSUPPORTED -> new NotSupportedException(message, detail);
            case OUT_OF_MEMORY -> new EngineOutOfMemoryException(message, detail);
            case DEVICE_FAULT -> new DeviceFaultException(message, detail);
            case SESSION_POISONED -> new PoisonedSessionException(message, detail);
            case CANCELLED -> new CancelledException(message, detail);
            case NON_FINITE -> new NonFiniteException(message, detail);
            case INTERNAL -> new InternalEngineException(message, detail);
            case PEER_LOST -> new PeerLostException(message, detail);
            case OK -> throw new AssertionError("no error to raise: " + message);
        };
    }
}
