package org.smpo.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import java.util.stream.StreamSupport;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// The golden files beside this package, and the comparisons with them.
final class Golden {
    private static final JsonMapper JSON = new JsonMapper();

    private Golden() {}

    static byte[] bytes(String file) {
        try (InputStream stream = Golden.class.getResourceAsStream(file)) {
            assertThat(stream).as(file).isNotNull();
            return stream.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static List<JsonNode> cases(String file) {
        return list(JSON.readTree(bytes(file)).get("cases"));
    }

    static List<JsonNode> list(JsonNode array) {
        return StreamSupport.stream(array.spliterator(), false).toList();
    }

    static Map<String, Object> config(JsonNode node) {
        return JSON.convertValue(node, new TypeReference<>() {});
    }

    static double[] doubles(JsonNode array) {
        return list(array).stream().mapToDouble(JsonNode::asDouble).toArray();
    }

    static int[] ints(JsonNode array) {
        return list(array).stream().mapToInt(JsonNode::asInt).toArray();
    }

    /// The largest |got - want| / (1 + |want|), or NaN if there is one.
    static double distance(double[] got, double[] want) {
        assertThat(got).hasSameSizeAs(want);
        double largest = 0;
        for (int i = 0; i < got.length; i++) {
            largest = Math.max(largest, Math.abs(got[i] - want[i]) / (1 + Math.abs(want[i])));
        }
        return largest;
    }

    static boolean close(double[] got, double[] want, double tolerance) {
        return distance(got, want) <= tolerance;
    }

    static void assertClose(double[] got, double[] want, double tolerance, String what) {
        assertThat(distance(got, want)).as(what).isLessThanOrEqualTo(tolerance);
    }
}
