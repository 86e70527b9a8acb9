package org.smpo.ffi;

/// The activation function of a CLIP tower. Values match the header.
public enum ClipActivation {
    /// GELU computed with the error function, as in OpenCLIP's towers.
    GELU(1),
    /// The approximation `x sigmoid(1.702 x)`, as in OpenAI's towers.
    QUICK_GELU(2);

    private final int code;

    ClipActivation(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }
}
