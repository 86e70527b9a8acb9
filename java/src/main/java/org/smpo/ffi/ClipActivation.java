package org.smpo.ffi;

/// Nonlinearity of a CLIP tower. Values are the header's.
public enum ClipActivation {
    /// With the error function, as OpenCLIP's towers have it.
    GELU(1),
    /// `x sigmoid(1.702 x)`, as OpenAI's towers have it.
    QUICK_GELU(2);

    private final int code;

    ClipActivation(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }
}
