package org.smpo.io;

import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.Image;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.List;

/// A grid of images on white with a caption below each.
///
/// It is painted with AWT and needs no display. On a machine without fonts, such as a bare container, the
/// captions are left out; [#canWrite] tells. AWT writes a list of the machine's fonts to `~/.java/fonts`
/// when the first caption is measured, which the JDK cannot turn off.
public final class ContactSheet {
    private static final int MARGIN = 8;
    private static final int CAPTION_LINES = 2;
    private static final int MAX_PIXELS = 1 << 28;
    private static final String ELLIPSIS = "…";
    private static final Font FONT = new Font(Font.SANS_SERIF, Font.PLAIN, 12);

    /// An image and its caption.
    ///
    /// @param image the image
    /// @param caption text below the image, wrapped to two lines and shortened if necessary
    public record Cell(RgbImage image, String caption) {}

    private ContactSheet() {}

    /// Returns an image as a sheet with this size of cells shows it. Shrinking it again changes nothing.
    ///
    /// @param cellSide longest side in pixels
    public static RgbImage shrunk(RgbImage image, int cellSide) {
        int w = scaled(image, image.width(), cellSide);
        int h = scaled(image, image.height(), cellSide);
        if (w == image.width() && h == image.height()) {
            return image;
        }
        BufferedImage small = new BufferedImage(w, h, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = small.createGraphics();
        try {
            graphics.drawImage(image.toBufferedImage().getScaledInstance(w, h, Image.SCALE_AREA_AVERAGING), 0, 0, null);
        } finally {
            graphics.dispose();
        }
        return RgbImage.of(small);
    }

    /// Paints a sheet. Cells are as large as the largest image, but at most `cellSide`; an image keeps its
    /// proportions and is never enlarged.
    ///
    /// @param cells cells row by row, at least one
    /// @param columns number of columns, at least one; fewer when there are fewer cells
    /// @param cellSide longest side of an image on the sheet in pixels, at least 16
    /// @throws IllegalArgumentException when there are no cells, a number is too small, or the sheet would
    ///     have more than 2^28 pixels
    public static RgbImage draw(List<Cell> cells, int columns, int cellSide) {
        if (cells.isEmpty() || columns < 1 || cellSide < 16) {
            throw new IllegalArgumentException("contact sheet: expected an image, a column and 16 pixels at least, got "
                    + cells.size() + ", " + columns + " and " + cellSide);
        }
        int width = 1;
        int height = 1;
        for (Cell cell : cells) {
            width = Math.max(width, scaled(cell.image(), cell.image().width(), cellSide));
            height = Math.max(height, scaled(cell.image(), cell.image().height(), cellSide));
        }
        boolean captions = canWrite();
        int lineHeight = captions ? metrics().getHeight() : 0;
        int across = Math.min(columns, cells.size());
        int down = Math.ceilDiv(cells.size(), across);
        int stepX = width + MARGIN;
        int stepY = height + CAPTION_LINES * lineHeight + MARGIN;
        long pixels = ((long) across * stepX + MARGIN) * ((long) down * stepY + MARGIN);
        if (pixels > MAX_PIXELS) {
            throw new IllegalArgumentException("contact sheet: " + cells.size() + " images of up to " + width + "x"
                    + height + " make " + pixels + " pixels, more than " + MAX_PIXELS
                    + ": choose smaller cells or several sheets");
        }
        BufferedImage sheet =
                new BufferedImage(across * stepX + MARGIN, down * stepY + MARGIN, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = sheet.createGraphics();
        try {
            graphics.setColor(Color.WHITE);
            graphics.fillRect(0, 0, sheet.getWidth(), sheet.getHeight());
            graphics.setRenderingHint(RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
            for (int i = 0; i < cells.size(); i++) {
                int x = MARGIN + i % across * stepX;
                int y = MARGIN + i / across * stepY;
                drawImage(graphics, cells.get(i).image(), cellSide, x, y, width, height);
                if (captions) {
                    drawCaption(graphics, cells.get(i).caption(), x, y + height, width, lineHeight);
                }
            }
        } finally {
            graphics.dispose();
        }
        return RgbImage.of(sheet);
    }

    /// Whether this machine has a font for captions.
    public static boolean canWrite() {
        try {
            return metrics().getHeight() > 0;
        } catch (RuntimeException | LinkageError | InternalError e) {
            // How AWT fails without fontconfig, fonts or freetype differs from release to release.
            return false;
        }
    }

    private static FontMetrics metrics() {
        Graphics2D graphics = new BufferedImage(1, 1, BufferedImage.TYPE_INT_RGB).createGraphics();
        try {
            return graphics.getFontMetrics(FONT);
        } finally {
            graphics.dispose();
        }
    }

    private static int scaled(RgbImage image, int side, int cellSide) {
        int longest = Math.max(image.width(), image.height());
        return longest <= cellSide ? side : Math.max(1, Math.round((float) side * cellSide / longest));
    }

    /// Paints an image centred in its cell. An image of the size of its place is copied, a larger one is
    /// averaged.
    private static void drawImage(
            Graphics2D graphics, RgbImage image, int cellSide, int x, int y, int width, int height) {
        RgbImage shown = shrunk(image, cellSide);
        graphics.drawImage(
                shown.toBufferedImage(), x + (width - shown.width()) / 2, y + (height - shown.height()) / 2, null);
    }

    private static void drawCaption(Graphics2D graphics, String caption, int x, int y, int width, int lineHeight) {
        graphics.setColor(Color.BLACK);
        graphics.setFont(FONT);
        FontMetrics metrics = graphics.getFontMetrics();
        int baseline = y + metrics.getAscent();
        for (String line : wrap(caption, width, metrics)) {
            graphics.drawString(line, x, baseline);
            baseline += lineHeight;
        }
    }

    /// Breaks text into lines at spaces, or inside a word that is wider than a line.
    static List<String> wrap(String caption, int width, FontMetrics metrics) {
        List<String> lines = new ArrayList<>();
        String rest = caption.strip().replaceAll("\\s+", " ");
        while (!rest.isEmpty() && lines.size() < CAPTION_LINES) {
            if (metrics.stringWidth(rest) <= width) {
                lines.add(rest);
                return lines;
            }
            boolean last = lines.size() == CAPTION_LINES - 1;
            String fitting = prefix(rest, width - (last ? metrics.stringWidth(ELLIPSIS) : 0), metrics);
            int space = rest.startsWith(" ", fitting.length()) ? fitting.length() : fitting.lastIndexOf(' ');
            String line = space > 0 ? rest.substring(0, space) : fitting;
            if (line.isEmpty()) {
                return lines; // not even one character fits
            }
            lines.add(last ? line + ELLIPSIS : line);
            rest = rest.substring(line.length()).strip();
        }
        return lines;
    }

    /// The longest prefix that fits, cut between code points.
    private static String prefix(String text, int width, FontMetrics metrics) {
        int end = 0;
        while (end < text.length()) {
            int next = text.offsetByCodePoints(end, 1);
            if (metrics.stringWidth(text.substring(0, next)) > width) {
                break;
            }
            end = next;
        }
        return text.substring(0, end);
    }
}
