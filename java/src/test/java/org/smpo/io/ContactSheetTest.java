package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class ContactSheetTest {
    private static final int MARGIN = 8;

    private static RgbImage plain(int width, int height, int value) {
        byte[] rgb = new byte[3 * width * height];
        Arrays.fill(rgb, (byte) value);
        return RgbImage.of(width, height, rgb);
    }

    private static int pixel(RgbImage image, int x, int y) {
        return image.rgb()[3 * (y * image.width() + x)] & 0xff;
    }

    /// Number of pixel rows of a cell below its image.
    private static int captionRows(RgbImage sheet, int imageHeight) {
        return sheet.height() - imageHeight - 2 * MARGIN;
    }

    @Test
    void imagesAreArrangedInRowsAtTheirOwnSize() {
        List<ContactSheet.Cell> cells = List.of(
                new ContactSheet.Cell(plain(40, 30, 10), ""),
                new ContactSheet.Cell(plain(40, 30, 20), ""),
                new ContactSheet.Cell(plain(20, 30, 30), ""));
        RgbImage one = ContactSheet.draw(cells.subList(0, 1), 2, 64);
        int rows = captionRows(one, 30);
        RgbImage sheet = ContactSheet.draw(cells, 2, 64);
        assertThat(sheet.width()).isEqualTo(2 * (40 + MARGIN) + MARGIN);
        assertThat(sheet.height()).isEqualTo(2 * (30 + rows + MARGIN) + MARGIN);
        assertThat(pixel(sheet, 0, 0)).isEqualTo(255);
        assertThat(pixel(sheet, MARGIN, MARGIN)).isEqualTo(10);
        assertThat(pixel(sheet, MARGIN + 39, MARGIN + 29)).isEqualTo(10);
        assertThat(pixel(sheet, MARGIN + 40, MARGIN)).isEqualTo(255);
        assertThat(pixel(sheet, 2 * MARGIN + 40, MARGIN)).isEqualTo(20);
        int second = 2 * MARGIN + 30 + rows;
        assertThat(pixel(sheet, MARGIN + 9, second)).isEqualTo(255);
        assertThat(pixel(sheet, MARGIN + 10, second)).isEqualTo(30);
        assertThat(pixel(sheet, MARGIN + 29, second + 29)).isEqualTo(30);
        assertThat(pixel(sheet, MARGIN + 30, second)).isEqualTo(255);
        assertThat(ContactSheet.draw(cells, 2, 64)).isEqualTo(sheet);
    }

    @Test
    void largeImagesAreReduced() {
        RgbImage sheet = ContactSheet.draw(List.of(new ContactSheet.Cell(plain(200, 100, 77), "")), 3, 50);
        assertThat(sheet.width()).isEqualTo(50 + 2 * MARGIN);
        assertThat(pixel(sheet, MARGIN + 25, MARGIN + 12)).isEqualTo(77);
        assertThat(pixel(sheet, MARGIN + 25, MARGIN + 24)).isEqualTo(77);
        assertThat(pixel(sheet, MARGIN + 25, MARGIN + 25)).isEqualTo(255);
    }

    @Test
    void captionsAreWritten() {
        assumeThat(ContactSheet.canWrite())
                .as("this machine has a font for AWT; without one, sheets have no captions")
                .isTrue();
        RgbImage with = ContactSheet.draw(List.of(new ContactSheet.Cell(plain(100, 20, 255), "seed 42")), 1, 100);
        RgbImage without = ContactSheet.draw(List.of(new ContactSheet.Cell(plain(100, 20, 255), "")), 1, 100);
        assertThat(dark(with)).isGreaterThan(20);
        assertThat(dark(without)).isZero();
    }

    private static long dark(RgbImage image) {
        long dark = 0;
        for (byte value : image.rgb()) {
            dark += (value & 0xff) < 128 ? 1 : 0;
        }
        return dark;
    }

    @Test
    void longCaptionsAreWrappedAndShortened() {
        assumeThat(ContactSheet.canWrite())
                .as("this machine has a font for AWT; without one, sheets have no captions")
                .isTrue();
        Graphics2D graphics = new BufferedImage(1, 1, BufferedImage.TYPE_INT_RGB).createGraphics();
        FontMetrics metrics = graphics.getFontMetrics(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
        graphics.dispose();
        assertThat(ContactSheet.wrap("  a \n b ", 500, metrics)).containsExactly("a b");
        assertThat(ContactSheet.wrap("", 500, metrics)).isEmpty();
        int width = metrics.stringWidth("three words here");
        assertThat(ContactSheet.wrap("three words here and then", width, metrics))
                .containsExactly("three words here", "and then");
        List<String> cut = ContactSheet.wrap("word ".repeat(100), 120, metrics);
        assertThat(cut)
                .hasSize(2)
                .allSatisfy(line -> assertThat(metrics.stringWidth(line)).isLessThanOrEqualTo(120));
        assertThat(cut.get(1)).endsWith("word…");
        assertThat(ContactSheet.wrap("🔥".repeat(200), 120, metrics))
                .hasSize(2)
                .allSatisfy(line -> assertThat(metrics.stringWidth(line)).isLessThanOrEqualTo(120));
        assertThat(ContactSheet.wrap("words", 1, metrics)).isEmpty();
    }

    @Test
    void invalidSheetsAreRefused() {
        ContactSheet.Cell cell = new ContactSheet.Cell(plain(1000, 1000, 0), "");
        assertThatThrownBy(() -> ContactSheet.draw(List.of(), 1, 64)).hasMessageContaining("got 0, 1 and 64");
        assertThatThrownBy(() -> ContactSheet.draw(List.of(cell), 0, 64)).hasMessageContaining("got 1, 0 and 64");
        assertThatThrownBy(() -> ContactSheet.draw(List.of(cell), 1, 15)).hasMessageContaining("got 1, 1 and 15");
        assertThatThrownBy(() -> ContactSheet.draw(Collections.nCopies(1000, cell), 10, 1000))
                .hasMessageContaining("choose smaller cells or several sheets");
    }
}
