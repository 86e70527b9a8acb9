package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Tens of thousands of damaged headers, compared with a second, simple implementation of the format's
/// rules: a general JSON parser, big integers, and a map of the data area.
final class SafetensorsFuzzTest {
    private static final Path FILE = Path.of("fuzz.safetensors");
    private static final int HEADERS = 30_000;
    private static final DType[] DTYPES = DType.values();

    private static final Pattern MINUS_ZERO = Pattern.compile("[\\[,]\\s*-0");

    private static final JsonMapper MAPPER = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    /// A header and the number of data bytes that follow it.
    private static final class Sample {
        private final byte[] header;
        private final long dataBytes;

        Sample(byte[] header, long dataBytes) {
            this.header = header;
            this.dataBytes = dataBytes;
        }

        byte[] header() {
            return header;
        }

        long dataBytes() {
            return dataBytes;
        }
    }

    private static Sample valid(Random random) {
        List<String> members = new ArrayList<>();
        if (random.nextBoolean()) {
            members.add("\"__metadata__\":{\"format\":\"pt\",\"note\":\"a\\n\\u00e9\"}");
        }
        long at = 0;
        int tensors = random.nextInt(5);
        for (int i = 0; i < tensors; i++) {
            DType dtype = DTYPES[random.nextInt(DTYPES.length)];
            List<Long> shape = new ArrayList<>();
            long elements = 1;
            for (int d = random.nextInt(4); d > 0; d--) {
                long dimension = random.nextInt(6);
                shape.add(dimension);
                elements *= dimension;
            }
            if (dtype.bits() < 8) {
                shape.add(8L);
                elements *= 8;
            }
            long end = at + elements * dtype.bits() / 8;
            members.add("\"layer." + i + (random.nextInt(8) == 0 ? "é" : "") + "\":{\"dtype\":\"" + dtype
                    + "\",\"shape\":" + shape + ",\"data_offsets\":[" + at + "," + end + "]}");
            at = end;
        }
        java.util.Collections.shuffle(members, random);
        String json = "{" + String.join(",", members) + "}" + " ".repeat(random.nextInt(8));
        return new Sample(json.getBytes(StandardCharsets.UTF_8), at);
    }

    private static Sample mutate(Sample sample, Random random) {
        byte[] header = sample.header();
        long data = sample.dataBytes();
        for (int n = 1 + random.nextInt(3); n > 0 && header.length > 0; n--) {
            int at = random.nextInt(header.length);
            switch (random.nextInt(8)) {
                case 0 -> header[at] ^= (byte) (1 << random.nextInt(8));
                case 1 -> header = splice(header, at, Math.min(header.length, at + 1 + random.nextInt(8)), new byte[0]);
                case 2 -> {
                    int from = random.nextInt(header.length);
                    int to = Math.min(header.length, from + 1 + random.nextInt(60));
                    header = splice(header, at, at, java.util.Arrays.copyOfRange(header, from, to));
                }
                case 3 -> {
                    String[] tokens = {
                        " ",
                        ",",
                        "{",
                        "}",
                        "[",
                        "]",
                        "\"",
                        ":",
                        "0",
                        "-",
                        "1e3",
                        ".5",
                        "null",
                        "true",
                        "\\u0041",
                        "\\ud800",
                        "\t",
                        "\0",
                        "18446744073709551616",
                        "9223372036854775807",
                        "[[[[",
                        "{\"a\":{",
                        "\"dtype\":\"F32\","
                    };
                    byte[] token = tokens[random.nextInt(tokens.length)].getBytes(StandardCharsets.UTF_8);
                    header = splice(header, at, at, token);
                }
                case 4 -> {
                    for (int i = 0; i < 20; i++) {
                        int digit = random.nextInt(header.length);
                        if (header[digit] >= '0' && header[digit] <= '9') {
                            header[digit] = (byte) ('0' + random.nextInt(10));
                            break;
                        }
                    }
                }
                case 5 -> data = Math.max(0, data + random.nextInt(9) - 4);
                case 6 -> header = java.util.Arrays.copyOf(header, random.nextInt(4) == 0 ? at : header.length);
                default -> {
                    // Swap two stretches of equal length: numbers and names change places.
                    int length = 1 + random.nextInt(6);
                    int other = random.nextInt(header.length);
                    for (int i = 0; i < length && at + i < header.length && other + i < header.length; i++) {
                        byte b = header[at + i];
                        header[at + i] = header[other + i];
                        header[other + i] = b;
                    }
                }
            }
        }
        return new Sample(header, data);
    }

    private static byte[] splice(byte[] bytes, int from, int to, byte[] insert) {
        return ByteBuffer.allocate(bytes.length - (to - from) + insert.length)
                .put(bytes, 0, from)
                .put(insert)
                .put(bytes, to, bytes.length - to)
                .array();
    }

    /// Returns the tensors, or null when the header breaks a rule.
    private static Map<String, TensorEntry> slowCheck(Sample sample) {
        String text;
        try {
            text = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(sample.header()))
                    .toString();
        } catch (CharacterCodingException e) {
            return null;
        }
        int end = text.length();
        while (end > 0 && text.charAt(end - 1) == ' ') {
            end--;
        }
        // The general parser reads -0 as the integer 0, which is not an unsigned integer.
        if (!text.startsWith("{")
                || text.charAt(end - 1) != '}'
                || MINUS_ZERO.matcher(text).find()) {
            return null;
        }
        JsonNode root;
        try {
            root = MAPPER.readTree(text);
        } catch (JacksonException e) {
            return null;
        }
        Map<String, TensorEntry> tensors = new HashMap<>();
        for (String name : root.propertyNames()) {
            JsonNode node = root.get(name);
            if (hasLoneSurrogate(name) || !node.isObject()) {
                return null;
            }
            if (name.equals("__metadata__")) {
                for (String key : node.propertyNames()) {
                    JsonNode value = node.get(key);
                    if (!value.isString() || hasLoneSurrogate(key) || hasLoneSurrogate(value.asString())) {
                        return null;
                    }
                }
                continue;
            }
            List<BigInteger> shape = integers(node.get("shape"));
            List<BigInteger> offsets = integers(node.get("data_offsets"));
            JsonNode code = node.get("dtype");
            if (node.size() != 3 || shape == null || offsets == null || code == null || !code.isString()) {
                return null;
            }
            DType dtype = null;
            for (DType candidate : DTYPES) {
                dtype = candidate.name().equals(code.asString()) ? candidate : dtype;
            }
            if (dtype == null || offsets.size() != 2) {
                return null;
            }
            BigInteger bits = BigInteger.valueOf(dtype.bits());
            BigInteger product = BigInteger.ONE;
            for (BigInteger dimension : shape) {
                product = product.multiply(dimension);
                if (product.bitLength() > 63) {
                    return null;
                }
            }
            bits = bits.multiply(product);
            BigInteger length = offsets.get(1).subtract(offsets.get(0));
            if (bits.bitLength() > 63 || !bits.equals(length.multiply(BigInteger.valueOf(8)))) {
                return null;
            }
            tensors.put(
                    name,
                    new TensorEntry(
                            name,
                            dtype,
                            shape.stream().map(BigInteger::longValueExact).toList(),
                            offsets.get(0).longValueExact(),
                            length.longValueExact()));
        }
        return covers(tensors, sample.dataBytes()) ? tensors : null;
    }

    /// Marks every tensor's bytes: each data byte must be marked exactly once, and empty tensors must
    /// lie within the data.
    private static boolean covers(Map<String, TensorEntry> tensors, long dataBytes) {
        byte[] painted = new byte[(int) dataBytes];
        TreeMap<Long, Boolean> borders = new TreeMap<>(Map.of(0L, true));
        for (TensorEntry tensor : tensors.values()) {
            if (tensor.offset() > dataBytes || tensor.length() > dataBytes - tensor.offset()) {
                return false;
            }
            for (long i = tensor.offset(); i < tensor.offset() + tensor.length(); i++) {
                painted[(int) i]++;
            }
            borders.put(tensor.offset() + tensor.length(), true);
        }
        for (byte count : painted) {
            if (count != 1) {
                return false;
            }
        }
        return tensors.values().stream()
                .sorted(Comparator.comparing(TensorEntry::name))
                .allMatch(tensor -> borders.containsKey(tensor.offset()));
    }

    private static List<BigInteger> integers(JsonNode node) {
        if (node == null || !node.isArray()) {
            return null;
        }
        List<BigInteger> values = new ArrayList<>();
        for (JsonNode item : node) {
            if (!item.isIntegralNumber()) {
                return null;
            }
            BigInteger value = item.bigIntegerValue();
            if (value.signum() < 0 || value.bitLength() > 63) {
                return null;
            }
            values.add(value);
        }
        return values;
    }

    private static boolean hasLoneSurrogate(String text) {
        return !StandardCharsets.UTF_8.newEncoder().canEncode(text);
    }

    @Test
    void agreesWithASlowCheckerOnDamagedHeaders() throws Exception {
        Random random = new Random(20251121);
        int accepted = 0;
        int refused = 0;
        for (int i = 0; i < HEADERS; i++) {
            Sample base = valid(random);
            Sample sample = i % 50 == 0 ? base : mutate(base, random);
            Map<String, TensorEntry> expected = slowCheck(sample);
            String shown = new String(sample.header(), StandardCharsets.UTF_8) + " + " + sample.dataBytes();
            long start = 8 + (long) sample.header().length;
            SafetensorsHeader.Parsed parsed = null;
            try {
                parsed = SafetensorsHeader.parse(FILE, sample.header(), start + sample.dataBytes());
            } catch (SafetensorsException e) {
                refused++;
                assertThat(e.getMessage())
                        .startsWith(FILE + ": ")
                        .contains(": expected ")
                        .contains(", found ");
            }
            assertThat(parsed != null).as(shown).isEqualTo(expected != null);
            if (parsed == null) {
                continue;
            }
            accepted++;
            assertThat(parsed.entries()).as(shown).hasSize(expected.size());
            for (TensorEntry e : parsed.entries()) {
                TensorEntry relative = new TensorEntry(e.name(), e.dtype(), e.shape(), e.offset() - start, e.length());
                assertThat(relative).as(shown).isEqualTo(expected.get(e.name()));
            }
        }
        assertThat(accepted).isGreaterThan(HEADERS / 50);
        assertThat(refused).isGreaterThan(HEADERS / 2);
    }

    /// Wholly random bytes, and valid headers cut at every length.
    @Test
    void noiseAndTruncationsAreRefused() {
        Random random = new Random(3);
        for (int i = 0; i < 5_000; i++) {
            byte[] noise = new byte[random.nextInt(200)];
            random.nextBytes(noise);
            if (noise.length > 0 && random.nextBoolean()) {
                noise[0] = '{';
            }
            assertRefused(new Sample(noise, random.nextInt(10)));
        }
        for (int i = 0; i < 20; i++) {
            Sample base = valid(random);
            int end = new String(base.header(), StandardCharsets.ISO_8859_1).lastIndexOf('}');
            for (int length = 0; length <= end; length++) {
                assertRefused(new Sample(java.util.Arrays.copyOf(base.header(), length), base.dataBytes()));
            }
        }
    }

    private static void assertRefused(Sample sample) {
        try {
            SafetensorsHeader.parse(FILE, sample.header(), 8 + sample.header().length + sample.dataBytes());
        } catch (SafetensorsException e) {
            return;
        }
        throw new AssertionError("accepted: " + new String(sample.header(), StandardCharsets.UTF_8));
    }
}
