package org.smpo.io;

import java.util.List;
import java.util.stream.Collectors;

/// Words of a command, as a person types them into a shell.
public final class ShellWords {
    private ShellWords() {}

    /// Returns the command as one line, in which words with special characters stand in quotes.
    public static String join(List<String> words) {
        return words.stream()
                .map(word -> word.matches("[A-Za-z0-9_./:=,+@%-]+") ? word : "'" + word.replace("'", "'\\''") + "'")
                .collect(Collectors.joining(" "));
    }
}
