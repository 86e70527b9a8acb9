package org.smpo.network;

import org.smpo.ffi.DType;

/// The type of a network's weights and activations while it computes.
public enum Precision {
    FP32(DType.F32),
    BF16(DType.BF16);

    private final DType dtype;

    Precision(DType dtype) {
        this.dtype = dtype;
    }

    /// Of tensors on the device.
    public DType dtype() {
        return dtype;
    }
}
