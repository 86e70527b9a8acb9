package org.smpo.data;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/// The rows of several parts, such as files, as one sequence.
final class FileRows {
    private final int[] starts;

    /// @param counts number of rows of each part
    FileRows(List<Integer> counts) {
        starts = new int[counts.size() + 1];
        for (int part = 0; part < counts.size(); part++) {
            starts[part + 1] = Math.addExact(starts[part], counts.get(part));
        }
    }

    /// Number of rows of all parts.
    int size() {
        return starts[starts.length - 1];
    }

    /// The part that holds a row of the sequence.
    int part(int index) {
        int found = Arrays.binarySearch(starts, index);
        // Among empty parts that begin at the same index, the last one holds it.
        int part = found >= 0 ? found : -found - 2;
        while (starts[part + 1] <= index) {
            part++;
        }
        return part;
    }

    /// Index of the first row of a part.
    int start(int part) {
        return starts[part];
    }

    /// Index of a row within its part.
    int row(int index) {
        return index - starts[part(index)];
    }

    /// Describes files for messages, such as "2 Arrow files: a.arrow, ...".
    static String describe(List<Path> files, String kind) {
        boolean one = files.size() == 1;
        return files.size() + " " + kind + (one ? "" : "s") + ": " + files.get(0) + (one ? "" : ", ...");
    }
}
