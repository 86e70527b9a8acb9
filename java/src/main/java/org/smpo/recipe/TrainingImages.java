package org.smpo.recipe;

/// The images that a batch is made of.
public enum TrainingImages {
    /// Both images of each pair, compared with each other; for a method that only reads winners, those.
    PAIRS,
    /// The winners of pairs, as single images.
    WINNER,
    /// The losers of pairs, as single images.
    LOSER,
    /// Both images of pairs, as single images: winners are desirable, losers are not.
    BOTH,
    /// Images without pairs, each with a caption and, where the method asks for it, a label.
    SINGLE
}
