package org.smpo.io;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/// The precision in which a network computes: the dtype of its weights and activations.
public enum Precision {
    FP32(DType.F32),
    BF16(DType.BF16);

    private final DType dtype;

    Precision(DType dtype) {
        this.dtype = dtype;
    }

    /// Returns the precision of a name that people give: `fp32` or `bf16`.
    ///
    /// @throws IllegalArgumentException for any other name
    public static Precision parse(String name) {
        for (Precision precision : values()) {
            if (precision.id().equals(name)) {
                return precision;
            }
        }
        String ids = Arrays.stream(values()).map(Precision::id).collect(Collectors.joining(" or "));
        throw new IllegalArgumentException("precision: expected " + ids + ", got " + name);
    }

    /// Name in recipes and on command lines.
    public String id() {
        return name().toLowerCase(Locale.ROOT);
    }

    /// Dtype of the tensors.
    public DType dtype() {
        return dtype;
    }
}
