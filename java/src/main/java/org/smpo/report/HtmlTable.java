package org.smpo.report;

import java.util.List;

/// A table of an [HtmlPage].
///
/// @param caption one sentence about what the table shows
/// @param columns columns from left to right; the first names the row
/// @param rows rows with one text per column
public record HtmlTable(String caption, List<Column> columns, List<List<String>> rows) {
    /// A column.
    ///
    /// @param name heading of the column
    /// @param number whether the column holds numbers, which are aligned to the right
    public record Column(String name, boolean number) {
        public static Column text(String name) {
            return new Column(name, false);
        }

        public static Column number(String name) {
            return new Column(name, true);
        }
    }

    /// @throws IllegalArgumentException when a row does not have one text per column
    public HtmlTable {
        columns = List.copyOf(columns);
        rows = rows.stream().map(List::copyOf).toList();
        for (List<String> row : rows) {
            if (row.size() != columns.size()) {
                throw new IllegalArgumentException(
                        caption + ": expected " + columns.size() + " texts in each row, got " + row);
            }
        }
    }
}
