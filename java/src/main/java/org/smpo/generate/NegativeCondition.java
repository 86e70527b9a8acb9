package org.smpo.generate;

import java.util.List;
import org.smpo.network.Prompt;

/// The text that conditions a negative network: the network that predicts what guidance leads away from.
public enum NegativeCondition {
    /// The negative prompt, which is empty unless one is given.
    EMPTY("empty"),
    /// The prompt itself: guidance leads away from what the negative network would generate for it
    /// (autoguidance, arXiv 2406.02507).
    PROMPT("prompt");

    private final String id;

    NegativeCondition(String id) {
        this.id = id;
    }

    /// The name in options, reports and metadata.
    public String id() {
        return id;
    }

    /// Checks that no prompt has a negative prompt which would have no effect.
    ///
    /// @throws IllegalArgumentException naming the negative prompt
    public void requireFits(List<Prompt> prompts) {
        for (Prompt prompt : prompts) {
            boolean given = prompt.negative() != null && !prompt.negative().isEmpty();
            if (this == PROMPT && given) {
                throw new IllegalArgumentException("negative condition: prompt takes the place of a negative prompt;"
                        + " expected no negative prompt, got \"" + prompt.negative() + "\"; remove it, or choose "
                        + EMPTY.id);
            }
        }
    }
}
