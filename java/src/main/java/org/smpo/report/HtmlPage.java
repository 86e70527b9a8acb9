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
import org.smpo.io.Visible;
import tools.jackson.databind.json.JsonMapper;

/// A self-contained HTML file: styles, scripts, data and images are inline, and the page makes no network
/// request.
///
/// All text is escaped; markup cannot be passed in. The page works on a telephone, in light and dark mode,
/// by keyboard and with a screen reader: charts have a description and a table, images have alternative
/// text. Equal contents produce equal bytes. Not thread-safe.
public final class HtmlPage {
    private static final JsonMapper JSON = JsonMapper.builder().build();
    private static final String CHART_JS = "META-INF/maven/org.webjars.npm/chart.js/pom.properties";

    /// Pixels between images and around a strip.
    private static final int GAP = 13;

    private final String title;
    private final String lead;
    private final List<String> headings = new ArrayList<>();
    private final StringBuilder body = new StringBuilder();
    private int charts;

    /// Creates an empty page.
    ///
    /// @param title title of the page
    /// @param lead one or two sentences below the title
    public HtmlPage(String title, String lead) {
        this.title = title;
        this.lead = lead;
    }

    /// An image with notes below it.
    ///
    /// @param base64 PNG file, base64-encoded
    /// @param words alternative text
    /// @param width width on the page in pixels
    /// @param height height on the page in pixels
    /// @param notes lines below the image
    public record Image(String base64, String words, int width, int height, List<String> notes) {
        public Image {
            notes = List.copyOf(notes);
        }

        /// Returns an image from the bytes of a PNG file.
        public static Image of(byte[] png, String words, int width, int height, List<String> notes) {
            return new Image(Base64.getEncoder().encodeToString(png), words, width, height, notes);
        }
    }

    /// Images side by side.
    ///
    /// @param caption text above the images
    /// @param images images from left to right
    public record Strip(String caption, List<Image> images) {
        public Strip {
            images = List.copyOf(images);
        }
    }

    /// Adds a section with an entry in the page's navigation.
    public void section(String heading, Consumer<Section> content) {
        headings.add(heading);
        String id = "s" + headings.size();
        body.append("<section aria-labelledby=\"").append(id).append("\">\n<h2 id=\"");
        body.append(id).append("\">").append(escape(heading)).append("</h2>\n");
        content.accept(new Section());
        body.append("</section>\n");
    }

    /// Content of a section, in order.
    public final class Section {
        private Section() {}

        /// Adds a heading within the section.
        public Section heading(String text) {
            body.append("<h3>").append(escape(text)).append("</h3>\n");
            return this;
        }

        /// Adds a paragraph.
        public Section text(String text) {
            body.append("<p>").append(escape(text)).append("</p>\n");
            return this;
        }

        /// Adds a highlighted paragraph.
        public Section finding(String text) {
            body.append("<p class=\"finding\">").append(escape(text)).append("</p>\n");
            return this;
        }

        /// Adds a table.
        public Section table(HtmlTable table) {
            write(table);
            return this;
        }

        /// Adds charts, side by side where there is room.
        public Section charts(List<Chart> all) {
            body.append("<div class=\"charts\">\n");
            all.forEach(this::write);
            body.append("</div>\n");
            return this;
        }

        /// Adds strips of images.
        public Section gallery(List<Strip> strips) {
            int widest = strips.stream()
                    .mapToInt(strip -> strip.images().stream()
                            .mapToInt(image -> image.width() + GAP)
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

        /// Adds preformatted text, such as a recipe or a command.
        public Section code(String label, String text) {
            body.append("<pre tabindex=\"0\" role=\"region\" aria-label=\"")
                    .append(escape(label))
                    .append("\"><code>")
                    .append(escape(text))
                    .append("</code></pre>\n");
            return this;
        }

        /// Adds content that is collapsed until a reader opens it.
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
            // Each bar needs the same height, however many there are.
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
                    .append("</script>\n<details><summary>Data</summary>\n");
            write(chart.table());
            body.append("</details></figure>\n");
        }

        private void write(Strip strip) {
            body.append("<figure class=\"strip\"><figcaption>")
                    .append(escape(strip.caption()))
                    .append("</figcaption><div>\n");
            for (Image image : strip.images()) {
                body.append("<div class=\"image\" style=\"width:")
                        .append(image.width())
                        .append("px\"><img src=\"data:image/png;base64,")
                        .append(escape(image.base64()))
                        .append("\" alt=\"")
                        .append(escape(image.words()))
                        .append("\" width=\"")
                        .append(image.width())
                        .append("\" height=\"")
                        .append(image.height())
                        .append("\">");
                image.notes()
                        .forEach(note ->
                                body.append("<span>").append(escape(note)).append("</span>"));
                body.append("</div>\n");
            }
            body.append("</div></figure>\n");
        }
    }

    /// Returns the file.
    public String html() {
        StringBuilder html =
                new StringBuilder("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        html.append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        html.append("<meta name=\"color-scheme\" content=\"light dark\">\n");
        // The browser fetches nothing, whatever the page contains.
        html.append("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; ");
        html.append("style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n");
        html.append("<title>").append(escape(title)).append("</title>\n");
        html.append("<link rel=\"icon\" href=\"data:,\">\n");
        html.append("<style>\n").append(resource("page.css")).append("</style>\n</head>\n<body>\n");
        html.append("<a class=\"skip\" href=\"#main\">Skip to content</a>\n<header>\n<h1>");
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

    /// Escapes text for an element or a quoted attribute. Characters that HTML forbids become U+FFFD.
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
                    } else if (!control && Visible.isHidden(c)) {
                        out.append(Visible.of(String.valueOf(c)));
                    } else {
                        out.append(control || Character.isSurrogate(c) ? '\ufffd' : c);
                    }
                }
            }
        }
        return out.toString();
    }

    /// Escapes JSON for a script element. Without `<`, no text can end the element or begin a comment; an
    /// unpaired surrogate has no UTF-8 encoding.
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

    /// Returns Chart.js from its WebJar, without the source map comment, which makes developer tools
    /// request a file.
    private static String chartLibrary() {
        Properties jar = new Properties();
        ClassLoader loader = HtmlPage.class.getClassLoader();
        try (InputStream in = loader.getResourceAsStream(CHART_JS)) {
            if (in == null) {
                throw new IllegalStateException("Chart.js is not on the class path: add lib/chart.js-*.jar");
            }
            jar.load(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        String path = "META-INF/resources/webjars/chart.js/" + jar.getProperty("version") + "/dist/chart.umd.min.js";
        String source = text(loader.getResourceAsStream(path), path);
        String inlined = source.replaceAll("(?m)^//# sourceMappingURL=.*$", "");
        if (inlined.toLowerCase(java.util.Locale.ROOT).contains("</script")) {
            throw new IllegalStateException(path + ": contains the end of a script element and cannot be inlined");
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
