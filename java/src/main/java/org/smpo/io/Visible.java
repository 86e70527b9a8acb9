package org.smpo.io;

import java.util.Locale;

/// Makes characters visible that would steer a terminal or reorder text: control characters, and
/// Unicode's controls of direction and of hidden text. Names, captions and prompts of strangers may
/// contain them.
///
/// Each becomes an escape as in Java, such as `\u001b` or `\u202e`. Line ends and tabs stay.
public final class Visible {
    private static final int DELETE = 0x7f;
    private static final int LAST_CONTROL = 0x9f;

    private Visible() {}

    /// Returns text in which every such character is an escape.
    public static String of(CharSequence text) {
        StringBuilder shown = new StringBuilder(text.length());
        for (int i = 0; i < text.length(); i++) {
            append(shown, text.charAt(i));
        }
        return shown.toString();
    }

    /// Appends a character, or its escape.
    static void append(StringBuilder shown, char c) {
        if (isHidden(c)) {
            shown.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
        } else {
            shown.append(c);
        }
    }

    /// Whether a character is shown as an escape.
    public static boolean isHidden(char c) {
        if (c == '\n' || c == '\t') {
            return false;
        }
        return c < ' '
                || (c >= DELETE && c <= LAST_CONTROL)
                || c == '\u061c' // Arabic letter mark
                || (c >= '\u200b' && c <= '\u200f') // zero width, direction marks
                || (c >= '\u2028' && c <= '\u202e') // line separators, embeddings, overrides
                || (c >= '\u2060' && c <= '\u206f') // invisible operators, isolates
                || c == '\ufeff';
    }
}
