package org.smpo.report;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.function.Consumer;
import tools.jackson.databind.json.JsonMapper;

/// One HTML file that needs nothing else: style, scripts, numbers and pictures are in it, and it asks the network for
/// nothing.
///
/// Every text is escaped; there is no way to hand it markup. It reads on a telephone, in light and dark, by keyboard
/// and by ear: charts have a description and a table, pictures have words. Equal contents make equal bytes. Not for
/// several threads.
public final class HtmlPage {
    private static final JsonMapper JSON = JsonMapper.builder().build();
    private static final String CHART_JS = "META-INF/maven/org.webjars.npm/chart.js/pom.properties";

    /// Pixels between pictures, and around a strip of them.
    private static final int GAP = 13;

    private final String title;
    private final String lead;
    private final List<String> headings = new ArrayList<>();
    private final StringBuilder body = new StringBuilder();
    private int charts;

    /// @param title of the page
    /// @param lead what it is, in a sentence or two below the title
    public HtmlPage(String title, String lead) {
        this.title = title;
        this.lead = lead;
    }

    /// A picture.
    ///
    /// @param base64 the bytes of its PNG file
    /// @param words what it is, for who does not see it
    /// @param width in pixels
    /// @param height likewise
    /// @param notes below it, a line each
    public record Picture(String base64, String words, int width, int height, List<String> notes) {
        public Picture {
            notes = List.copyOf(notes);
        }

        /// The picture of a PNG file.
        public static Picture of(byte[] png, String words, int width, int height, List<String> notes) {
            return new Picture(Base64.getEncoder().encodeToString(png), words, width, height, notes);
        }
    }

    /// Pictures side by side.
    ///
    /// @param caption above them
    public record Strip(String caption, List<Picture> pictures) {
        public Strip {
            pictures = List.copyOf(pictures);
        }
    }

    /// Adds a section; the page's head links to it.
    public void section(String heading, Consumer<Section> content) {
        headings.add(heading);
        String id = "s" + headings.size();
        body.append("<section aria-labelledby=\"").append(id).append("\">\n<h2 id=\"");
        body.append(id).append("\">").append(escape(heading)).append("</h2>\n");
        content.accept(new Section());
        body.append("</section>\n");
    }

    /// What stands in a section, in order.
    public final class Section {
        private Section() {}

        /// A heading within the section.
        public Section heading(String text) {
            body.append("<h3>").append(escape(text)).append("</h3>\n");
            return this;
        }

        /// A paragraph.
        public Section text(String text) {
            body.append("<p>").append(escape(text)).append("</p>\n");
            return this;
        }

        /// A paragraph that catches the eye.
        public Section finding(String text) {
            body.append("<p class=\"finding\">").append(escape(text)).append("</p>\n");
            return this;
        }

        public Section table(HtmlTable table) {
            write(table);
            return this;
        }

        /// Charts beside one another where there is room.
        public Section charts(List<Chart> all) {
            body.append("<div class=\"charts\">\n");
            all.forEach(this::write);
            body.append("</div>\n");
            return this;
        }

        /// Pictures, a strip each.
        public Section gallery(List<Strip> strips) {
            int widest = strips.stream()
                    .mapToInt(strip -> strip.pictures().stream()
                            .mapToInt(picture -> picture.width() + GAP)
                            .sum())
                    .max()
                    .orElse(0);
            body.append("<div class=\"gallery\" style=\"--strip:")
                    .append(widest + GAP)
                    .append("px\">\n");
            strips.forEach(this::write);
            body.append("</div>\n");
            return this;
        }

        /// Text as it is, such as a recipe or a command.
        public Section code(String label, String text) {
            body.append("<pre tabindex=\"0\" role=\"region\" aria-label=\"")
                    .append(escape(label))
                    .append("\"><code>")
                    .append(escape(text))
                    .append("</code></pre>\n");
            return this;
        }

        /// Content that is folded until somebody asks for it.
        public Section folded(String summary, Consumer<Section> content) {
            body.append("<details><summary>").append(escape(summary)).append("</summary>\n");
            content.accept(this);
            body.append("</details>\n");
            return this;
        }

        private void write(HtmlTable table) {
            body.append("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"")
                    .append(escape(table.caption()))
                    .append("\"><table>\n<caption>")
                    .append(escape(table.caption()))
                    .append("</caption>\n<thead><tr>");
            for (HtmlTable.Column column : table.columns()) {
                body.append("<th scope=\"col\"").append(number(column)).append('>');
                body.append(escape(column.name())).append("</th>");
            }
            body.append("</tr></thead>\n<tbody>\n");
            for (List<String> row : table.rows()) {
                body.append("<tr>");
                for (int i = 0; i < row.size(); i++) {
                    String tag = i == 0 ? "th" : "td";
                    body.append('<').append(tag).append(i == 0 ? " scope=\"row\"" : "");
                    body.append(number(table.columns().get(i))).append('>');
                    body.append(escape(row.get(i))).append("</").append(tag).append('>');
                }
                body.append("</tr>\n");
            }
            body.append("</tbody></table></div>\n");
        }

        private static String number(HtmlTable.Column column) {
            return column.number() ? " class=\"n\"" : "";
        }

        private void write(Chart chart) {
            String id = "c" + ++charts;
            boolean bars = chart.kind() == Chart.Kind.SHARES;
            // A bar needs its room, however many there are.
            double height = bars ? 5.5 + 2.1 * chart.labels().size() : 17;
            body.append("<figure class=\"chart\"><figcaption><b>")
                    .append(escape(chart.title()))
                    .append("</b> ")
                    .append(escape(chart.description()))
                    .append("</figcaption>\n<div class=\"canvas\" style=\"height:")
                    .append(height)
                    .append("rem\"><canvas id=\"")
                    .append(id)
                    .append("\" role=\"img\" aria-label=\"")
                    .append(escape(chart.title() + ". " + chart.description()))
                    .append("\"></canvas></div>\n<script type=\"application/json\" data-chart=\"")
                    .append(id)
                    .append("\">")
                    .append(script(JSON.writeValueAsString(chart.json())))
                    .append("</script>\n<details><summary>The numbers</summary>\n");
            write(chart.table());
            body.append("</details></figure>\n");
        }

        private void write(Strip strip) {
            body.append("<figure class=\"strip\"><figcaption>")
                    .append(escape(strip.caption()))
                    .append("</figcaption><div>\n");
            for (Picture picture : strip.pictures()) {
                body.append("<div class=\"picture\" style=\"width:")
                        .append(picture.width())
                        .append("px\"><img src=\"data:image/png;base64,")
                        .append(escape(picture.base64()))
                        .append("\" alt=\"")
                        .append(escape(picture.words()))
                        .append("\" width=\"")
                        .append(picture.width())
                        .append("\" height=\"")
                        .append(picture.height())
                        .append("\">");
                picture.notes()
                        .forEach(note ->
                                body.append("<span>").append(escape(note)).append("</span>"));
                body.append("</div>\n");
            }
            body.append("</div></figure>\n");
        }
    }

    /// The file.
    public String html() {
        StringBuilder html =
                new StringBuilder("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        html.append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        html.append("<meta name=\"color-scheme\" content=\"light dark\">\n");
        // Nothing is fetched, whatever stands in it.
        html.append("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; ");
        html.append("style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n");
        html.append("<title>").append(escape(title)).append("</title>\n");
        html.append("<link rel=\"icon\" href=\"data:,\">\n");
        html.append("<style>\n").append(resource("page.css")).append("</style>\n</head>\n<body>\n");
        html.append("<a class=\"skip\" href=\"#main\">To the content</a>\n<header>\n<h1>");
        html.append(escape(title)).append("</h1>\n<p class=\"lead\">").append(escape(lead));
        html.append("</p>\n<nav aria-label=\"Sections\"><ul>\n");
        for (int i = 0; i < headings.size(); i++) {
            html.append("<li><a href=\"#s").append(i + 1).append("\">");
            html.append(escape(headings.get(i))).append("</a></li>\n");
        }
        html.append("</ul></nav>\n</header>\n<main id=\"main\">\n").append(body).append("</main>\n");
        if (charts > 0) {
            html.append("<script>\n").append(chartLibrary()).append("</script>\n");
            html.append("<script>\n").append(resource("page.js")).append("</script>\n");
        }
        return html.append("</body>\n</html>\n").toString();
    }

    /// Text as HTML, in an element or in an attribute's quotes. What no HTML file may hold becomes U+FFFD.
    static String escape(String text) {
        StringBuilder out = new StringBuilder(text.length());
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '&' -> out.append("&amp;");
                case '<' -> out.append("&lt;");
                case '>' -> out.append("&gt;");
                case '"' -> out.append("&quot;");
                case '\'' -> out.append("&#39;");
                default -> {
                    boolean control = c < ' ' && c != '\n' && c != '\t';
                    if (Character.isHighSurrogate(c)
                            && i + 1 < text.length()
                            && Character.isLowSurrogate(text.charAt(i + 1))) {
                        out.append(c).append(text.charAt(++i));
                    } else {
                        out.append(control || Character.isSurrogate(c) ? '\ufffd' : c);
                    }
                }
            }
        }
        return out.toString();
    }

    /// JSON within a script element: no `<` stands in it, so no text can end the element or begin a comment. A
    /// surrogate without its other half has no form in UTF-8.
    static String script(String json) {
        StringBuilder out = new StringBuilder(json.length());
        for (int i = 0; i < json.length(); i++) {
            char c = json.charAt(i);
            boolean pair = Character.isHighSurrogate(c)
                    && i + 1 < json.length()
                    && Character.isLowSurrogate(json.charAt(i + 1));
            if (pair) {
                out.append(c).append(json.charAt(++i));
            } else if (c == '<' || c == '>' || c == '&' || c == '\u2028' || c == '\u2029' || Character.isSurrogate(c)) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.toString();
    }

    /// Chart.js as its WebJar has it, without the last line, which makes developer tools ask for another file.
    private static String chartLibrary() {
        Properties jar = new Properties();
        ClassLoader loader = HtmlPage.class.getClassLoader();
        try (InputStream in = loader.getResourceAsStream(CHART_JS)) {
            if (in == null) {
                throw new IllegalStateException("Chart.js is not on the class path: lib/chart.js-*.jar belongs to it");
            }
            jar.load(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        String path = "META-INF/resources/webjars/chart.js/" + jar.getProperty("version") + "/dist/chart.umd.min.js";
        String source = text(loader.getResourceAsStream(path), path);
        String inlined = source.replaceAll("(?m)^//# sourceMappingURL=.*$", "");
        if (inlined.toLowerCase(java.util.Locale.ROOT).contains("</script")) {
            throw new IllegalStateException(path + ": holds the end of a script element and cannot be inlined");
        }
        return inlined;
    }

    private static String resource(String name) {
        return text(HtmlPage.class.getResourceAsStream(name), name);
    }

    private static String text(InputStream stream, String name) {
        if (stream == null) {
            throw new IllegalStateException(name + " is not on the class path");
        }
        try (stream) {
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
