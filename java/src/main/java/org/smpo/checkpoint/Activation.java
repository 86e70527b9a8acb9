package org.smpo.checkpoint;

/// The activation of a CLIP tower's multi-layer perceptrons.
public enum Activation {
    /// x Φ(x), with the error function.
    GELU("gelu"),
    /// x sigmoid(1.702 x).
    QUICK_GELU("quick_gelu");

    private final String configName;

    Activation(String configName) {
        this.configName = configName;
    }

    /// Returns the name used in `config.json`.
    public String configName() {
        return configName;
    }

    static Activation read(ConfigReader in) throws ModelException {
        String name = in.choice("hidden_act", "quick_gelu", "quick_gelu", "gelu");
        return name.equals("gelu") ? GELU : QUICK_GELU;
    }
}
