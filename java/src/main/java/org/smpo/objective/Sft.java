package org.smpo.objective;

import java.util.Set;

/// Supervised fine-tuning on winners only: L = ℓ_w. Losers and the reference take no part.
public record Sft() implements Objective {
    @Override
    public String name() {
        return "sft";
    }

    @Override
    public double strength() {
        return 0;
    }

    @Override
    public PairLoss loss(PairInputs pair) {
        return new PairLoss(pair.errors().winner(), 0, 1, 0);
    }

    @Override
    public PairLossSpec spec() {
        return PairLossSpec.sft();
    }

    @Override
    public NoiseSource noise() {
        return NoiseSource.FORWARD_SHARED;
    }

    @Override
    public Set<PairInput> inputs() {
        return Set.of();
    }

    @Override
    public boolean needsReference() {
        return false;
    }

    @Override
    public boolean hasLogit() {
        return false;
    }
}
