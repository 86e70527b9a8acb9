package org.smpo.data;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;
import org.smpo.data.SyntheticPairs.Synthetic;
import org.smpo.io.Json;

/// A folder of good pairs, followed by one record for every kind of problem.
public final class BadRecords {
    private BadRecords() {}

    /// Writes the folder.
    ///
    /// @param good number of good pairs
    /// @return the problems of the records after them, in order
    public static List<Problem> write(Path folder, int good) throws IOException {
        List<Synthetic> synthetic = new ArrayList<>();
        for (Synthetic pair : SyntheticPairs.create(good)) {
            // All of them have a winner.
            synthetic.add(new Synthetic(pair.id(), pair.caption(), pair.image0(), pair.image1(), 1L, 0.5, 0.25));
        }
        SyntheticPairs.folder(folder, synthetic);
        byte[] lines = Files.readAllBytes(folder.resolve("pairs.jsonl"));
        List<byte[]> more = new ArrayList<>();
        List<Problem> problems = new ArrayList<>();
        for (Problem problem : Problem.values()) {
            more.add(line(folder, problem, more.size() + 1, synthetic));
            problems.add(problem);
        }
        byte[] all = lines;
        for (byte[] line : more) {
            int length = all.length;
            all = Arrays.copyOf(all, length + line.length + 1);
            System.arraycopy(line, 0, all, length, line.length);
            all[all.length - 1] = '\n';
        }
        Files.write(folder.resolve("pairs.jsonl"), all);
        return problems;
    }

    private static byte[] line(Path folder, Problem problem, int seed, List<Synthetic> good) throws IOException {
        String name = problem.id();
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("id", name);
        fields.put("caption", "a bad record: " + name);
        fields.put("label", 0);
        fields.put("image_0", image(folder, name + "_0.png", 80, 70, seed));
        fields.put("image_1", image(folder, name + "_1.png", 70, 80, seed));
        Path broken = folder.resolve(name + "_1.png");
        byte[] png = Files.readAllBytes(broken);
        switch (problem) {
            case MALFORMED_RECORD -> {
                return "{\"id\": \"malformed\", \"caption\": ".getBytes(StandardCharsets.UTF_8);
            }
            case BAD_TEXT -> {
                byte[] line = Json.canonical(fields).replace("\n", " ").getBytes(StandardCharsets.UTF_8);
                line[new String(line, StandardCharsets.ISO_8859_1).indexOf("a bad record")] = (byte) 0xe9;
                return line;
            }
            case MISSING_FIELD -> fields.remove("caption");
            case WRONG_TYPE -> fields.put("image_0", 7);
            case BAD_LABEL -> fields.put("label", 3);
            case SCORE_NOT_FINITE -> {
                String line = Json.canonical(fields).replace("\n", " ").strip();
                return (line.substring(0, line.length() - 1) + ", \"score_0\": NaN, \"score_1\": 0.5}")
                        .getBytes(StandardCharsets.UTF_8);
            }
            case PATH_OUTSIDE -> fields.put("image_1", "../" + folder.getFileName() + "_elsewhere.png");
            case MISSING_FILE -> Files.delete(broken);
            case UNREADABLE_FILE -> {
                Files.delete(broken);
                Files.createDirectories(broken);
            }
            case EMPTY_IMAGE -> Files.write(broken, new byte[0]);
            case UNKNOWN_FORMAT -> Files.writeString(broken, "GIF89a and nothing else");
            case TRUNCATED_IMAGE -> Files.write(broken, Arrays.copyOf(png, png.length / 2));
            case CORRUPT_IMAGE -> {
                png[png.length / 2] ^= 0x55;
                Files.write(broken, png);
            }
            case IMAGE_TOO_LARGE -> {
                // 60000 x 60000 with a matching checksum.
                Arrays.fill(png, 16, 24, (byte) 0);
                png[18] = (byte) 0xea;
                png[19] = 0x60;
                png[22] = (byte) 0xea;
                png[23] = 0x60;
                CRC32 crc = new CRC32();
                crc.update(png, 12, 17);
                for (int i = 0; i < 4; i++) {
                    png[29 + i] = (byte) (crc.getValue() >> (24 - 8 * i));
                }
                Files.write(broken, png);
            }
            case TIE -> fields.put("label", "tie");
            case MISSING_LABEL -> fields.remove("label");
            case EMPTY_CAPTION -> fields.put("caption", " ");
            case LONG_CAPTION -> fields.put("caption", "word ".repeat(300));
            case IDENTICAL_IMAGES -> fields.put("image_1", fields.get("image_0"));
            case TINY_IMAGE -> image(folder, name + "_1.png", 20, 30, 500);
            case EXTREME_ASPECT -> image(folder, name + "_1.png", 500, 100, 501);
            case TURNED_IMAGE -> Files.write(broken, withOrientation(png, 6));
            case TRANSPARENT_IMAGE -> {
                BufferedImage image = new BufferedImage(70, 80, BufferedImage.TYPE_INT_ARGB);
                image.setRGB(3, 5, 0x80ff0000);
                Files.write(broken, SyntheticPairs.png(image));
            }
            case WIDE_GREY_IMAGE -> {
                BufferedImage image = new BufferedImage(70, 80, BufferedImage.TYPE_USHORT_GRAY);
                image.getRaster().setSample(3, 5, 0, 40000);
                Files.write(broken, SyntheticPairs.png(image));
            }
            case DUPLICATE_ID -> fields.put("id", good.get(0).id());
            case DUPLICATE_PAIR, CONTRADICTING_PAIR -> {
                Synthetic twin = good.get(1);
                fields.put("caption", twin.caption());
                fields.put("image_0", "images/" + twin.id() + "_0." + twin.extension(0));
                fields.put("image_1", "images/" + twin.id() + "_1." + twin.extension(1));
                fields.put("label", problem == Problem.DUPLICATE_PAIR ? 1 : 0);
            }
            case DUPLICATE_IMAGE -> {
                Synthetic twin = good.get(2);
                fields.put("image_0", "images/" + twin.id() + "_0." + twin.extension(0));
            }
        }
        return Json.canonical(fields).replace("\n", " ").strip().getBytes(StandardCharsets.UTF_8);
    }

    /// A PNG file with an `eXIf` chunk after its header.
    static byte[] withOrientation(byte[] png, int orientation) {
        int header = 33;
        byte[] exif = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, (byte) orientation, 0, 0};
        ByteBuffer chunk = ByteBuffer.allocate(12 + exif.length);
        chunk.putInt(exif.length)
                .put("eXIf".getBytes(StandardCharsets.US_ASCII))
                .put(exif);
        CRC32 crc = new CRC32();
        crc.update(chunk.array(), 4, 4 + exif.length);
        chunk.putInt((int) crc.getValue());
        return ByteBuffer.allocate(png.length + chunk.capacity())
                .put(png, 0, header)
                .put(chunk.array())
                .put(png, header, png.length - header)
                .array();
    }

    private static String image(Path folder, String name, int width, int height, int seed) throws IOException {
        BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                image.setRGB(x, y, x * seed * 40503 + y * 69069 + seed);
            }
        }
        Files.write(folder.resolve(name), SyntheticPairs.png(image));
        return name;
    }
}
