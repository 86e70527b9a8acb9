package org.smpo.data;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

/// The columns of a table that make up a pair, found by their names.
///
/// @param images names of the columns of image 0 and image 1
/// @param fields names of the columns that [PairFields] understands
/// @param chosenFirst whether image 0 is the chosen one by the name of its column
record PairColumns(List<String> images, List<String> fields, boolean chosenFirst) {
    /// @throws IOException when a column that every pair needs is missing
    static PairColumns of(Path file, Collection<String> columns) throws IOException {
        if (PairFields.CAPTIONS.stream().noneMatch(columns::contains)) {
            throw missing(file, "caption", columns);
        }
        List<String> images = new ArrayList<>();
        for (int which = 0; which < 2; which++) {
            String image = PairFields.imageField(which, columns);
            if (image == null) {
                throw missing(file, "jpg_" + which, columns);
            }
            images.add(image);
        }
        List<String> fields = new ArrayList<>();
        for (Collection<String> names : List.of(PairFields.NAMES, PairFields.CAPTIONS, PairFields.LABELS)) {
            names.stream().filter(columns::contains).forEach(fields::add);
        }
        return new PairColumns(images, fields, PairFields.isChosen(images.getFirst()));
    }

    /// The columns of single images.
    ///
    /// @throws IOException when a column that every image needs is missing
    static PairColumns single(Path file, Collection<String> columns) throws IOException {
        if (PairFields.CAPTIONS.stream().noneMatch(columns::contains)) {
            throw missing(file, "text", columns);
        }
        String image = PairFields.singleImageField(columns);
        if (image == null) {
            throw missing(file, "image", columns);
        }
        List<String> fields = new ArrayList<>();
        for (Collection<String> names : List.of(PairFields.NAMES, PairFields.CAPTIONS, List.of("label"))) {
            names.stream().filter(columns::contains).forEach(fields::add);
        }
        return new PairColumns(List.of(image), fields, false);
    }

    private static IOException missing(Path file, String column, Collection<String> columns) {
        return new IOException(file + ": expected a column " + column + ", found " + String.join(", ", columns));
    }
}
