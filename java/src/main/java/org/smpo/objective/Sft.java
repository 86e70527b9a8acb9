package org.smpo.objective;

/// Supervised fine-tuning on single images: of pairs, on the winners. Losers and the reference take no part.
@MethodInfo(kind = 9, title = "SFT", arxiv = "", loss = "ℓ_w")
public record Sft() implements Objective {
    @Override
    public double strength() {
        return 0;
    }

    @Override
    public boolean needsReference() {
        return false;
    }

    @Override
    public boolean takesSingleImages() {
        return true;
    }

    @Override
    public boolean hasLogit() {
        return false;
    }
}
