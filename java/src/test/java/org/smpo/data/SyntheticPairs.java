package org.smpo.data;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageTypeSpecifier;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.smpo.io.Json;
import org.smpo.objective.HumanChoice;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// Synthetic pairs of images as real JPEG and PNG files, and writers for every dataset format.
final class SyntheticPairs {
    private static final String[] COLOURS = {"red", "green", "blue", "yellow", "white"};
    private static final Color[] PAINTS = {Color.RED, Color.GREEN, Color.BLUE, Color.YELLOW, Color.WHITE};

    private SyntheticPairs() {}

    /// One pair before it is written: `label` of [PairFields], or null.
    record Synthetic(
            String id,
            String caption,
            EncodedImage image0,
            EncodedImage image1,
            Object label,
            double score0,
            double score1) {
        String extension(int which) {
            return (which == 0 ? image0 : image1).bytes()[0] == (byte) 0xff ? "jpg" : "png";
        }

        /// `probability_0` of every second pair that has a label: one that agrees with it.
        Double probability0() {
            if (label == null || Integer.parseInt(id.replaceAll("\\D", "")) % 2 == 0) {
                return null;
            }
            return switch (people()) {
                case IMAGE_0 -> 0.875;
                case IMAGE_1 -> 0.25;
                default -> 0.5;
            };
        }

        HumanChoice people() {
            return switch (label) {
                case null -> HumanChoice.UNKNOWN;
                case Long number -> number == 0 ? HumanChoice.IMAGE_0 : HumanChoice.IMAGE_1;
                default -> HumanChoice.TIE;
            };
        }
    }

    static List<Synthetic> create(int count) throws IOException {
        List<Synthetic> pairs = new ArrayList<>(count);
        Philox philox = new Philox(2026);
        for (int i = 0; i < count; i++) {
            PhiloxStream random = philox.stream(Purpose.BOOTSTRAP, 1, i);
            int colour = random.nextInt(COLOURS.length);
            String caption = "a " + COLOURS[colour] + " disc, number " + i + (i % 7 == 0 ? ", naïve 猫" : "");
            EncodedImage image0 = image(random, colour, "pair " + i + " image 0");
            EncodedImage image1 = image(random, random.nextInt(COLOURS.length), "pair " + i + " image 1");
            Object label = i % 11 == 0 ? (Object) 0.5 : i % 13 == 0 ? null : (Object) (long) random.nextInt(2);
            pairs.add(new Synthetic("p" + i, caption, image0, image1, label, random.nextDouble(), random.nextDouble()));
        }
        return pairs;
    }

    private static EncodedImage image(PhiloxStream random, int colour, String name) throws IOException {
        int width = 64 + random.nextInt(60);
        int height = 64 + random.nextInt(60);
        BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = image.createGraphics();
        graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        graphics.setColor(new Color(random.nextInt(90), random.nextInt(90), random.nextInt(90)));
        graphics.fill(new Rectangle2D.Double(0, 0, width, height));
        graphics.setColor(Color.GRAY);
        graphics.setStroke(new BasicStroke(3));
        graphics.drawLine(0, random.nextInt(height), width, random.nextInt(height));
        graphics.setColor(PAINTS[colour]);
        double radius = 10 + random.nextInt(20);
        graphics.fill(new Ellipse2D.Double(random.nextInt(40), random.nextInt(40), 2 * radius, 2 * radius));
        graphics.dispose();
        return EncodedImage.of(name, random.nextInt(2) == 0 ? jpeg(image, random.nextInt(2) == 0) : png(image));
    }

    static byte[] png(BufferedImage image) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        ImageIO.write(image, "png", bytes);
        return bytes.toByteArray();
    }

    private static byte[] jpeg(BufferedImage image, boolean progressive) throws IOException {
        ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (MemoryCacheImageOutputStream out = new MemoryCacheImageOutputStream(bytes)) {
            writer.setOutput(out);
            ImageWriteParam parameters = writer.getDefaultWriteParam();
            parameters.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
            parameters.setCompressionQuality(0.9f);
            if (progressive) {
                parameters.setProgressiveMode(ImageWriteParam.MODE_DEFAULT);
            }
            writer.write(
                    null,
                    new IIOImage(
                            image,
                            null,
                            writer.getDefaultImageMetadata(
                                    ImageTypeSpecifier.createFromRenderedImage(image), parameters)),
                    parameters);
        } finally {
            writer.dispose();
        }
        return bytes.toByteArray();
    }

    static Path folder(Path folder, List<Synthetic> pairs) throws IOException {
        Files.createDirectories(folder.resolve("images"));
        StringBuilder lines = new StringBuilder();
        for (Synthetic pair : pairs) {
            Map<String, Object> line = new LinkedHashMap<>();
            for (int which = 0; which < 2; which++) {
                String name = "images/" + pair.id + "_" + which + "." + pair.extension(which);
                Files.write(folder.resolve(name), (which == 0 ? pair.image0 : pair.image1).bytes());
                line.put("image_" + which, name);
            }
            line.put("id", pair.id);
            line.put("caption", pair.caption);
            line.put("label", pair.label);
            if (pair.probability0() != null) {
                line.put("probability_0", pair.probability0());
            }
            line.put("score_0", pair.score0);
            line.put("score_1", pair.score1);
            lines.append(Json.canonical(line).replace("\n", " ").strip()).append('\n');
        }
        Files.writeString(folder.resolve("pairs.jsonl"), lines);
        return folder;
    }

    /// Pick-a-Pic's columns in shards of `perFile` rows.
    static Path parquet(Path folder, List<Synthetic> pairs, int perFile) throws IOException, SQLException {
        Files.createDirectories(folder);
        try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
                Statement statement = connection.createStatement()) {
            for (int first = 0; first < pairs.size(); first += perFile) {
                statement.execute("CREATE OR REPLACE TABLE pairs (are_different BOOLEAN, best_image_uid VARCHAR,"
                        + " caption VARCHAR, has_label BOOLEAN, image_0_uid VARCHAR, image_1_uid VARCHAR, jpg_0 BLOB,"
                        + " jpg_1 BLOB, label_0 DOUBLE, label_1 DOUBLE, id VARCHAR, score_0 DOUBLE, score_1 DOUBLE,"
                        + " probability_0 DOUBLE)");
                try (PreparedStatement insert = connection.prepareStatement(
                        "INSERT INTO pairs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")) {
                    for (Synthetic pair : pairs.subList(first, Math.min(first + perFile, pairs.size()))) {
                        insert(insert, pair);
                    }
                }
                statement.execute("COPY pairs TO '" + folder.resolve(String.format("train-%05d.parquet", first))
                        + "' (FORMAT parquet, ROW_GROUP_SIZE 2048)");
            }
        }
        return folder;
    }

    private static void insert(PreparedStatement insert, Synthetic pair) throws SQLException {
        HumanChoice people = pair.people();
        Double label0 = switch (people) {
            case IMAGE_0 -> 1.0;
            case IMAGE_1 -> 0.0;
            case TIE -> 0.5;
            case UNKNOWN -> null;
        };
        insert.setObject(1, people != HumanChoice.TIE);
        insert.setObject(2, people == HumanChoice.IMAGE_0 ? "u0" : people == HumanChoice.IMAGE_1 ? "u1" : "tie");
        insert.setObject(3, pair.caption);
        insert.setObject(4, people != HumanChoice.UNKNOWN);
        insert.setObject(5, "u0");
        insert.setObject(6, "u1");
        insert.setBytes(7, pair.image0.bytes());
        insert.setBytes(8, pair.image1.bytes());
        insert.setObject(9, label0);
        insert.setObject(10, label0 == null ? null : 1 - label0);
        insert.setObject(11, pair.id);
        insert.setObject(12, pair.score0);
        insert.setObject(13, pair.score1);
        insert.setObject(14, pair.probability0());
        insert.execute();
    }

    /// Shards of `perFile` pairs.
    static Path tar(Path folder, List<Synthetic> pairs, int perFile) throws IOException {
        Files.createDirectories(folder);
        for (int first = 0; first < pairs.size(); first += perFile) {
            Path file = folder.resolve(String.format("%05d.tar", first));
            try (OutputStream out = Files.newOutputStream(file);
                    TarArchiveOutputStream tar = new TarArchiveOutputStream(out)) {
                for (Synthetic pair : pairs.subList(first, Math.min(first + perFile, pairs.size()))) {
                    put(tar, pair.id + ".0." + pair.extension(0), pair.image0.bytes());
                    put(tar, pair.id + ".1." + pair.extension(1), pair.image1.bytes());
                    put(tar, pair.id + ".caption.txt", (pair.caption + "\n").getBytes(StandardCharsets.UTF_8));
                    Map<String, Object> fields = new LinkedHashMap<>();
                    fields.put("label", pair.label);
                    fields.put("probability_0", pair.probability0());
                    fields.put("score_0", pair.score0);
                    fields.put("score_1", pair.score1);
                    put(tar, pair.id + ".json", Json.canonical(fields).getBytes(StandardCharsets.UTF_8));
                }
            }
        }
        return folder;
    }

    static void put(TarArchiveOutputStream tar, String name, byte[] bytes) throws IOException {
        TarArchiveEntry entry = new TarArchiveEntry(name);
        entry.setSize(bytes.length);
        tar.putArchiveEntry(entry);
        tar.write(bytes);
        tar.closeArchiveEntry();
    }
}
