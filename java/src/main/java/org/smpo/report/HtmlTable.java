package org.smpo.report;

import java.util.List;

/// A table of an [HtmlPage].
///
/// @param caption what it shows, in a sentence
/// @param columns from the left; the first names the row
/// @param rows a text for each column
public record HtmlTable(String caption, List<Column> columns, List<List<String>> rows) {
    /// A column.
    ///
    /// @param name at its head
    /// @param number whether it holds numbers, which stand to the right
    public record Column(String name, boolean number) {
        public static Column text(String name) {
            return new Column(name, false);
        }

        public static Column number(String name) {
            return new Column(name, true);
        }
    }

    /// @throws IllegalArgumentException when a row has more or fewer texts than there are columns
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
