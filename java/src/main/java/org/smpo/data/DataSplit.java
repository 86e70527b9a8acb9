package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/// The files of one split of a data set, such as train. Splits are told apart by the names of files and
/// folders, as Hugging Face's `datasets` does.
///
/// @param files files of the split, in order
/// @param note what was chosen and left out, or empty when there was nothing to choose
record DataSplit(List<Path> files, String note) {
    private static final String TRAIN = "train";

    /// Words for splits and the split that they name.
    private static final Map<String, String> WORDS = Map.of(
            "train", TRAIN,
            "training", TRAIN,
            "validation", "validation",
            "valid", "validation",
            "val", "validation",
            "dev", "validation",
            "test", "test",
            "testing", "test",
            "eval", "test",
            "evaluation", "test");

    /// Takes one split of the files of a folder.
    ///
    /// @param chosen name of the split; empty: train, where there are several
    /// @throws IOException when there is no such split
    static DataSplit choose(Path folder, List<Path> files, Optional<String> chosen) throws IOException {
        TreeMap<String, List<Path>> splits = new TreeMap<>();
        for (Path file : files) {
            splits.computeIfAbsent(of(folder, file), none -> new ArrayList<>()).add(file);
        }
        if (splits.size() == 1 && chosen.isEmpty()) {
            return new DataSplit(files, "");
        }
        List<String> names = List.copyOf(splits.keySet());
        String name = named(folder, names, chosen);
        return new DataSplit(splits.get(name), names.size() == 1 ? "" : note(folder, names, name));
    }

    /// The chosen one of several splits, or train when none is chosen.
    ///
    /// @throws IOException when there is no such split, listing those that there are
    static String named(Path folder, List<String> names, Optional<String> chosen) throws IOException {
        String name = chosen.orElse(TRAIN);
        if (names.contains(name)) {
            return name;
        }
        if (names.contains(of(name))) {
            return of(name);
        }
        if (chosen.isEmpty() && names.size() == 1) {
            return names.getFirst();
        }
        List<String> shown = names.stream().map(DataSplit::shown).toList();
        throw new IOException(
                folder + ": expected " + (chosen.isPresent() ? "a split " + name : "one split of a data set")
                        + ", found " + String.join(", ", shown)
                        + "; choose one of the splits with data.split or --split, or name"
                        + " files, as in '" + folder.resolve("*") + "'");
    }

    /// What was chosen and left out.
    static String note(Path folder, List<String> names, String name) {
        List<String> others = names.stream()
                .filter(other -> !other.equals(name))
                .map(DataSplit::shown)
                .toList();
        return folder + ": of several splits " + shown(name) + " is taken, left out: " + String.join(", ", others);
    }

    private static String shown(String name) {
        return name.isEmpty() ? "files without a split's name" : name;
    }

    /// Name of the split that a file belongs to, or empty when neither its name nor a folder's tells.
    static String of(Path folder, Path file) {
        String name = file.getFileName().toString();
        String split = of(name.substring(0, name.lastIndexOf('.')).replaceFirst("-\\d{5}-of-\\d{5}.*", ""));
        Path parent = folder.relativize(file).getParent();
        while (split.isEmpty() && parent != null) {
            split = of(parent.getFileName().toString());
            parent = parent.getParent();
        }
        return split;
    }

    /// The part of a name that begins with a word for a split: `test_unique` of `pairs_test_unique_07`.
    private static String of(String name) {
        List<String> tokens = List.of(name.toLowerCase(Locale.ROOT).split("[-_=. ]+"));
        for (int i = 0; i < tokens.size(); i++) {
            String split = WORDS.get(tokens.get(i));
            if (split != null) {
                List<String> rest = tokens.subList(i + 1, tokens.size()).stream()
                        .filter(token -> !token.matches("\\d*"))
                        .toList();
                return rest.isEmpty() ? split : split + "_" + String.join("_", rest);
            }
        }
        return "";
    }
}
