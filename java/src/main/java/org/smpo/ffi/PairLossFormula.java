package org.smpo.ffi;

/// Which loss of a pair; names and codes are the header's. `org.smpo.objective` has the formulas.
public enum PairLossFormula {
    /// InPO's as well, on inverted latents.
    DPO(1),
    SMPO(2),
    NPO(3),
    DMPO(4),
    IPO(5),
    CAPO(6),
    KTO(7),
    MAPO(8),
    SFT(9);

    private final int code;

    PairLossFormula(int code) {
        this.code = code;
    }

    public int code() {
        return code;
    }
}
