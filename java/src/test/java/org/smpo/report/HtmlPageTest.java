package org.smpo.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.json.JsonMapper;

final class HtmlPageTest {
    private static final String EVIL = "</script><b onclick=\"x\">&'\u2028\u0000";
    private static final double[] NONE = {};

    private static HtmlPage page(String text) {
        Chart chart = new Chart(
                Chart.Kind.LINES,
                text,
                text,
                text,
                text,
                List.of(),
                List.of(new Chart.Series(
                        text, 0, false, new double[] {1, 2}, new double[] {0.123456, Double.NaN}, NONE, NONE)),
                Double.NaN);
        Chart bars = new Chart(
                Chart.Kind.SHARES,
                text,
                text,
                text,
                text,
                List.of(text),
                List.of(new Chart.Series(
                        text, 1, false, NONE, new double[] {50}, new double[] {40}, new double[] {60})),
                50);
        HtmlPage page = new HtmlPage(text, text);
        page.section(
                text,
                section -> section.heading(text)
                        .text(text)
                        .finding(text)
                        .table(new HtmlTable(
                                text,
                                List.of(HtmlTable.Column.text(text), HtmlTable.Column.number(text)),
                                List.of(List.of(text, text))))
                        .charts(List.of(chart, bars))
                        .gallery(List.of(new HtmlPage.Strip(
                                text, List.of(HtmlPage.Image.of(new byte[] {1, 2, 3}, text, 8, 8, List.of(text))))))
                        .code(text, text)
                        .folded(text, folded -> folded.text(text)));
        return page;
    }

    /// Every parameter that takes text gets one that would end a script, open an element, or leave an
    /// attribute.
    @Test
    void noTextBecomesMarkup() {
        String html = page(EVIL).html();
        String plain = page("plain").html();
        assertThat(count(html, "<b onclick")).isZero();
        assertThat(count(html, "\u0000")).isZero();
        assertThat(count(html, "&lt;/script&gt;&lt;b onclick=&quot;x&quot;&gt;"))
                .isGreaterThan(20);
        for (String tag : List.of("<script", "</script", "<b>", "</b>", "<details", "<td", "<th", "<img", "<p")) {
            assertThat(count(html, tag)).as(tag).isEqualTo(count(plain, tag));
        }
        // The data are unchanged.
        Matcher data = Pattern.compile("data-chart=\"c1\">([^<]*)<").matcher(html);
        assertThat(data.find()).isTrue();
        assertThat(data.group(1)).doesNotContain("\u2028", "<", "&");
        assertThat(JsonMapper.builder()
                        .build()
                        .readTree(data.group(1))
                        .get("title")
                        .stringValue())
                .isEqualTo(EVIL);
    }

    private static int count(String text, String part) {
        return text.split(Pattern.quote(part), -1).length - 1;
    }

    @Test
    void surrogatesAndControlsBecomeTheReplacement() {
        assertThat(HtmlPage.escape("a\u202eb\u2066")).isEqualTo("a\\u202eb\\u2066");
        assertThat(HtmlPage.escape("a\ud800b\u0007c🔥\n")).isEqualTo("a\ufffdb\ufffdc🔥\n");
        assertThat(HtmlPage.script("\"\ud800<🔥\"")).isEqualTo("\"\\ud800\\u003c🔥\"");
    }

    @Test
    void thePageRequestsNothing() {
        String html = page("plain").html();
        assertThat(html)
                .contains("default-src 'none'", "Chart.js v", "width=device-width")
                .doesNotContain("sourceMappingURL")
                .doesNotContainPattern("(src|href)=\"(?!data:|#)")
                .doesNotContainPattern("@import|url\\(");
        assertThat(html).isEqualTo(page("plain").html());
        HtmlPage bare = new HtmlPage("a", "b");
        bare.section("c", section -> section.text("d"));
        assertThat(bare.html()).doesNotContain("<script");
    }

    @Test
    void aChartHasItsNumbersAsATable() {
        String html = page("plain").html();
        assertThat(html).contains("<td class=\"n\">0.1235</td>", "<td class=\"n\">–</td>", "<td class=\"n\">60</td>");
        assertThat(html).contains("role=\"img\" aria-label=\"plain. plain\"", "alt=\"plain\"", "scope=\"row\"");
    }

    @Test
    void whatDoesNotFitIsRefused() {
        assertThatThrownBy(() -> new HtmlTable("t", List.of(HtmlTable.Column.text("a")), List.of(List.of("1", "2"))))
                .hasMessageContaining("t: expected 1 texts in each row");
        assertThatThrownBy(() -> new Chart.Series("s", 0, false, new double[1], new double[2], NONE, NONE))
                .hasMessageContaining("s: expected as many positions as values (2), got 1");
        assertThatThrownBy(() -> new Chart.Series("s", 0, false, NONE, new double[2], new double[1], new double[1]))
                .hasMessageContaining("two ends for each value");
        Chart.Series one = new Chart.Series("s", 0, false, NONE, new double[1], NONE, NONE);
        assertThatThrownBy(() ->
                        new Chart(Chart.Kind.SHARES, "t", "", "", "", List.of("a", "b"), List.of(one), Double.NaN))
                .hasMessageContaining("a value for each of the 2 labels, got 1");
    }
}
