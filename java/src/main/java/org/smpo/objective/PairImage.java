package org.smpo.objective;

/// One of the two images of a pair.
public enum PairImage {
    WINNER("winner"),
    LOSER("loser");

    private final String word;

    PairImage(String word) {
        this.word = word;
    }

    /// The image's name in messages.
    public String word() {
        return word;
    }

    /// The other image of the pair.
    public PairImage other() {
        return this == WINNER ? LOSER : WINNER;
    }
}
