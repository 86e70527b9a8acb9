package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
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

    /// Takes the train split where there are several splits.
    ///
    /// @throws IOException when there are several splits and none is called train
    static DataSplit choose(Path folder, List<Path> files) throws IOException {
        TreeMap<String, List<Path>> splits = new TreeMap<>();
        for (Path file : files) {
            splits.computeIfAbsent(of(folder, file), none -> new ArrayList<>()).add(file);
        }
        if (splits.size() == 1) {
            return new DataSplit(files, "");
        }
        List<String> names = new ArrayList<>();
        splits.forEach((name, members) -> names.add(
                name.isEmpty()
                        ? "files without a split's name (" + members.get(0).getFileName() + ")"
                        : name));
        List<Path> train = splits.get(TRAIN);
        if (train == null) {
            Path first = splits.lastEntry().getValue().get(0);
            throw new IOException(folder + ": expected one split of a data set, found several: "
                    + String.join(", ", names) + "; name the files of one, as in '"
                    + first.resolveSibling(splits.lastEntry().getKey() + "*") + "'");
        }
        names.remove(TRAIN);
        return new DataSplit(
                train, folder + ": of several splits train is taken, left out: " + String.join(", ", names));
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
        List<String> tokens = List.of(name.toLowerCase(Locale.ROOT).split("[-_. ]+"));
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
