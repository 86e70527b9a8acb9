package org.smpo.objective;

import java.util.Locale;

/// The image that loses to a tournament's champion.
public enum TournamentLoser {
    /// A random one of the others.
    RANDOM,
    /// The one that a second tournament finds to be the worst.
    WORST;

    /// Returns the name on command lines.
    public String id() {
        return name().toLowerCase(Locale.ROOT);
    }
}
