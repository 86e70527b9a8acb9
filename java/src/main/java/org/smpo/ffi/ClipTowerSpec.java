package org.smpo.ffi;

import java.util.Objects;

/// The fields that the architectures of CLIP's two towers share.
sealed interface ClipTowerSpec permits ClipTextSpec, ClipVisionSpec {
    int hiddenSize();

    int intermediateSize();

    int attentionHeads();

    int layers();

    ClipActivation activation();

    int projectionDim();

    double layerNormEps();

    /// Checks, for the constructors, that the activation is not null.
    static void check(ClipActivation activation) {
        Objects.requireNonNull(activation, "activation");
    }

    /// Sets the common fields of both towers' structs.
    default void writeTower(Struct spec) {
        spec.set("hidden_size", hiddenSize());
        spec.set("intermediate_size", intermediateSize());
        spec.set("attention_heads", attentionHeads());
        spec.set("layers", layers());
        spec.set("activation", activation().code());
        spec.set("projection_dim", projectionDim());
        spec.set("layer_norm_eps", layerNormEps());
    }
}
