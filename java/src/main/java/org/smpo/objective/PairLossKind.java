package org.smpo.objective;

/// The formula that the native pair-loss kernel evaluates; codes and names are those of its `PairLossKind`. In
/// every kind that has a beta, it is multiplied by the pair's logit scale.
public enum PairLossKind {
    /// softplus(−u), u = −κβΔ.
    DPO(1),
    /// softplus(−u), u = −κβγ(2p − 1)Δ.
    SMPO(2),
    /// softplus(u), u = −κβΔ.
    NPO(3),
    /// KL(Bernoulli(σ(u)) ‖ Bernoulli(1 − α)).
    DMPO(4),
    /// (u − margin)², u = −κβΔ.
    IPO(5),
    /// (ΔR − u)², u = −κβΔ.
    CAPO(6),
    /// λ (1 − σ(±κβ(r − ℓ − z0))) per image, mean of the two.
    KTO(7),
    /// ℓ_w + b softplus(−T(φ(ℓ_w) − φ(ℓ_l))).
    MAPO(8),
    /// ℓ_w.
    SFT(9);

    private final int code;

    PairLossKind(int code) {
        this.code = code;
    }

    public int code() {
        return code;
    }
}
