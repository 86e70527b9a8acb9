package org.smpo.generate;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import org.smpo.network.Prompt;

/// Reads prompts from a table whose first line names the columns.
///
/// @param prompt Index of the column with the prompt
/// @param category Index of the column with the category; negative without one
record PromptTable(int prompt, int category) {
    private static final String QUOTE = "\"";

    /// Reads a table with tabs. A field that begins and ends with quotes and doubles those inside is unquoted; any
    /// other
    /// field is taken as it is.
    static List<Prompt> tabs(Path file, List<PromptFile.Line> lines) throws PromptFileException {
        List<Row> rows = new ArrayList<>();
        for (PromptFile.Line line : lines) {
            if (!line.text().isBlank()) {
                List<String> fields = Arrays.stream(line.text().split("\t", -1))
                        .map(PromptTable::unquoted)
                        .toList();
                rows.add(new Row(line.number(), fields));
            }
        }
        return prompts(file, rows);
    }

    /// Reads a table with commas: RFC 4180, whose quoted fields may hold commas and line breaks.
    static List<Prompt> commas(Path file, List<PromptFile.Line> lines) throws PromptFileException {
        List<Row> rows = new ArrayList<>();
        List<String> fields = new ArrayList<>();
        StringBuilder field = new StringBuilder();
        boolean quoted = false;
        int begin = 0;
        for (PromptFile.Line line : lines) {
            if (!quoted) {
                if (line.text().isBlank()) {
                    continue;
                }
                begin = line.number();
            }
            String text = line.text();
            for (int i = 0; i < text.length(); i++) {
                char c = text.charAt(i);
                if (quoted && c == '"' && i + 1 < text.length() && text.charAt(i + 1) == '"') {
                    field.append(c);
                    i++;
                } else if (c == '"' && (quoted || field.isEmpty())) {
                    quoted = !quoted;
                } else if (c == ',' && !quoted) {
                    fields.add(field.toString());
                    field.setLength(0);
                } else {
                    field.append(c);
                }
            }
            if (quoted) {
                field.append('\n');
            } else {
                fields.add(field.toString());
                field.setLength(0);
                rows.add(new Row(begin, List.copyOf(fields)));
                fields.clear();
            }
        }
        if (quoted) {
            throw new PromptFileException(
                    file + ": line " + begin + ": expected a quote at the end of a field, found the end of the file");
        }
        return prompts(file, rows);
    }

    /// The fields of a row, which begins at a line.
    private record Row(int line, List<String> fields) {}

    private static List<Prompt> prompts(Path file, List<Row> rows) throws PromptFileException {
        List<Prompt> prompts = new ArrayList<>();
        PromptTable columns = null;
        for (Row row : rows) {
            String where = file + ": line " + row.line();
            if (columns == null) {
                columns = columns(where, row.fields());
            } else {
                prompts.add(columns.prompt(where, row.fields()));
            }
        }
        return prompts;
    }

    private static PromptTable columns(String where, List<String> header) throws PromptFileException {
        List<String> names = header.stream()
                .map(name -> name.strip().toLowerCase(Locale.ROOT))
                .toList();
        for (String name : PromptFile.PROMPT) {
            if (names.contains(name)) {
                return new PromptTable(names.indexOf(name), names.indexOf(PromptFile.CATEGORY));
            }
        }
        throw new PromptFileException(
                where + ": expected the names of the columns, Prompt among them, found " + String.join(", ", header));
    }

    private Prompt prompt(String where, List<String> fields) throws PromptFileException {
        if (fields.size() <= prompt || fields.get(prompt).isBlank()) {
            throw new PromptFileException(where + ": expected a prompt in column " + (prompt + 1) + ", found "
                    + (fields.size() <= prompt ? fields.size() + " columns" : "nothing there"));
        }
        String kind = category < 0 || category >= fields.size()
                ? ""
                : fields.get(category).strip();
        return new Prompt(fields.get(prompt), null, OptionalLong.empty(), kind.isEmpty() ? null : kind);
    }

    private static String unquoted(String field) {
        if (field.length() < 2 || !field.startsWith(QUOTE) || !field.endsWith(QUOTE)) {
            return field;
        }
        String inside = field.substring(1, field.length() - 1);
        return inside.replace("\"\"", "").contains(QUOTE) ? field : inside.replace("\"\"", QUOTE);
    }
}
