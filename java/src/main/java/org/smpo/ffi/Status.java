package org.smpo.ffi;

/// The status that a function of the border returns: the constants of `smpo_status`, in the header's
/// order and with its values.
public enum Status {
    OK(0),
    INVALID_ARGUMENT(1),
    SHAPE_MISMATCH(2),
    DTYPE_MISMATCH(3),
    INVALID_HANDLE(4),
    WRONG_THREAD(5),
    UNSUPPORTED(6),
    OUT_OF_MEMORY(7),
    DEVICE_FAULT(8),
    SESSION_POISONED(9),
    CANCELLED(10),
    NON_FINITE(11),
    INTERNAL(12),
    PEER_LOST(13);

    private final int code;

    Status(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }

    /// Returns the status with this value. An unknown value can only be a bug, since the header's hash
    /// was compared.
    static Status of(int code) {
        for (Status status : values()) {
            if (status.code == code) {
                return status;
            }
        }
        throw new AssertionError("unknown status " + code + " from the native library");
    }
}
