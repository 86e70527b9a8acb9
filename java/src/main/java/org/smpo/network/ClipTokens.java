package org.smpo.network;

/// One prompt as ids: the start token, the text, the end token, and padding up to the row's length.
public final class ClipTokens {
    private final int[] ids;
    private final int count;
    private final String cut;

    ClipTokens(int[] ids, int count, String cut) {
        this.ids = ids;
        this.count = count;
        this.cut = cut;
    }

    /// The whole row, [length of the tokenizer].
    public int[] ids() {
        return ids.clone();
    }

    /// Number of ids that are not padding, start and end included.
    public int count() {
        return count;
    }

    /// The end of the prompt that did not fit, as written; empty when all of it fitted. Its first word may have been
    /// cut in two, and part of its first character may still be in the ids.
    public String cut() {
        return cut;
    }

    /// Whether part of the prompt was cut off.
    public boolean truncated() {
        return !cut.isEmpty();
    }
}
