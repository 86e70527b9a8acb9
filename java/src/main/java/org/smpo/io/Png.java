package org.smpo.io;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.ImageTypeSpecifier;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.metadata.IIOMetadata;
import javax.imageio.metadata.IIOMetadataNode;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.w3c.dom.NodeList;

/// A PNG file: an image and text by keyword.
///
/// Equal images with equal text give equal bytes with one version of the JDK, which does the compression:
/// keywords are sorted and there is no time stamp. As in Pillow, printable Latin-1 text is stored in `tEXt` chunks,
/// which every reader knows, and other text in `iTXt` chunks.
///
/// @param image the image
/// @param text text by keyword; the last one of a repeated keyword
public record Png(RgbImage image, Map<String, String> text) {
    private static final String FORMAT = "javax_imageio_png_1.0";
    private static final int MAX_KEYWORD = 79;

    /// Checks the text.
    ///
    /// @throws IllegalArgumentException when a keyword is not 1 to 79 characters of printable ASCII without
    ///     spaces around it, or a text contains the character 0, which PNG cannot store
    public Png {
        text = Collections.unmodifiableMap(new TreeMap<>(text));
        text.forEach((keyword, value) -> {
            boolean printable = keyword.chars().allMatch(c -> c >= ' ' && c <= '~');
            if (keyword.isEmpty() || keyword.length() > MAX_KEYWORD || !printable || !keyword.equals(keyword.strip())) {
                throw new IllegalArgumentException("png: expected a keyword of 1 to " + MAX_KEYWORD
                        + " printable ASCII characters, got \"" + keyword + "\"");
            }
            if (value.indexOf('\0') >= 0) {
                throw new IllegalArgumentException("png: " + keyword + ": expected text without the character 0");
            }
        });
    }

    /// The file's bytes.
    public byte[] bytes() {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        ImageWriter writer = ImageIO.getImageWritersByFormatName("png").next();
        try (MemoryCacheImageOutputStream out = new MemoryCacheImageOutputStream(bytes)) {
            writer.setOutput(out);
            var buffered = image.toBufferedImage();
            ImageWriteParam parameters = writer.getDefaultWriteParam();
            IIOMetadata metadata =
                    writer.getDefaultImageMetadata(ImageTypeSpecifier.createFromRenderedImage(buffered), parameters);
            metadata.mergeTree(FORMAT, tree());
            writer.write(null, new IIOImage(buffered, null, metadata), parameters);
        } catch (IOException e) {
            throw new IllegalStateException("png: writing to memory failed", e);
        } finally {
            writer.dispose();
        }
        return bytes.toByteArray();
    }

    /// Writes the file, whole or not at all.
    ///
    /// @throws IOException when it cannot be written; an old file is then untouched
    public void write(Path file) throws IOException {
        AtomicFiles.write(file, bytes());
    }

    /// Reads a file.
    ///
    /// @throws IOException when it cannot be read or is not PNG, naming the file
    public static Png read(Path file) throws IOException {
        return read(file.toString(), Files.readAllBytes(file));
    }

    /// Reads a file's bytes.
    ///
    /// @param source name of the file, for messages
    /// @throws IOException when they are not PNG
    public static Png read(String source, byte[] bytes) throws IOException {
        ImageReader reader = ImageIO.getImageReadersByFormatName("png").next();
        try (ImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(bytes))) {
            reader.setInput(in);
            RgbImage image = RgbImage.of(reader.read(0));
            return new Png(image, text(reader.getImageMetadata(0)));
        } catch (IOException | RuntimeException e) {
            throw new IOException(source + ": expected a PNG, found one that cannot be read: " + e.getMessage(), e);
        } finally {
            reader.dispose();
        }
    }

    private IIOMetadataNode tree() {
        IIOMetadataNode latin = new IIOMetadataNode("tEXt");
        IIOMetadataNode unicode = new IIOMetadataNode("iTXt");
        text.forEach((keyword, value) -> {
            if (value.chars().allMatch(Png::isPrintableLatin)) {
                IIOMetadataNode entry = new IIOMetadataNode("tEXtEntry");
                entry.setAttribute("keyword", keyword);
                entry.setAttribute("value", value);
                latin.appendChild(entry);
            } else {
                IIOMetadataNode entry = new IIOMetadataNode("iTXtEntry");
                entry.setAttribute("keyword", keyword);
                entry.setAttribute("compressionFlag", "FALSE");
                entry.setAttribute("compressionMethod", "0");
                entry.setAttribute("languageTag", "");
                entry.setAttribute("translatedKeyword", "");
                entry.setAttribute("text", value);
                unicode.appendChild(entry);
            }
        });
        IIOMetadataNode root = new IIOMetadataNode(FORMAT);
        for (IIOMetadataNode chunks : new IIOMetadataNode[] {latin, unicode}) {
            if (chunks.hasChildNodes()) {
                root.appendChild(chunks);
            }
        }
        return root;
    }

    private static boolean isPrintableLatin(int c) {
        return c == '\n' || (c >= ' ' && c <= '~') || (c > 0xa0 && c <= 0xff);
    }

    private static Map<String, String> text(IIOMetadata metadata) {
        Map<String, String> text = new LinkedHashMap<>();
        IIOMetadataNode root = (IIOMetadataNode) metadata.getAsTree(FORMAT);
        collect(root, "tEXtEntry", "value", text);
        collect(root, "zTXtEntry", "text", text);
        collect(root, "iTXtEntry", "text", text);
        return text;
    }

    private static void collect(IIOMetadataNode root, String element, String attribute, Map<String, String> text) {
        NodeList entries = root.getElementsByTagName(element);
        for (int i = 0; i < entries.getLength(); i++) {
            IIOMetadataNode entry = (IIOMetadataNode) entries.item(i);
            text.put(entry.getAttribute("keyword"), entry.getAttribute(attribute));
        }
    }
}
