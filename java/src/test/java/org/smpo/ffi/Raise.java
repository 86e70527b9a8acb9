package org.smpo.ffi;

/// The kinds of failure that `smpo_debug_raise` can cause. Only tests cause them.
enum Raise {
    NOTHING(0),
    ENGINE_ERROR(1),
    INVALID_ARGUMENT(2),
    BAD_ALLOC(3),
    RUNTIME_ERROR(4),
    TORCH_ERROR(5),
    TORCH_OUT_OF_MEMORY(6),
    FOREIGN(7),
    DEVICE_FAULT(8);

    private final int code;

    Raise(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }
}
