package org.smpo.checkpoint;

/// The activation of a CLIP tower's multi-layer perceptrons.
public enum Activation {
    /// x Φ(x), with the error function.
    GELU,
    /// x sigmoid(1.702 x).
    QUICK_GELU;

    static Activation read(ConfigReader in) throws ModelException {
        String name = in.choice("hidden_act", "quick_gelu", "quick_gelu", "gelu");
        return name.equals("gelu") ? GELU : QUICK_GELU;
    }
}
