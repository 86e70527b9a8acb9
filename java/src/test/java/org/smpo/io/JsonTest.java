package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class JsonTest {
    private static final String CONFIG = """
        {
          "_class_name": "UNet2DConditionModel",
          "block_out_channels": [320, 640, 1280, 1280],
          "center_input_sample": false,
          "norm_eps": 1e-05,
          "scale": 1,
          "dropout": null,
          "types": ["DownBlock2D"],
          "parts": [{"x": 1}, {"x": "two"}],
          "nested": {"deep": {"flag": true}}
        }
        """;

    @Test
    void readsInOrderWithTypes() throws IOException {
        JsonObject config = Json.parseObject("config.json", CONFIG);
        assertThat(config.keys()).startsWith("_class_name", "block_out_channels", "center_input_sample", "norm_eps");
        assertThat(config.string("_class_name")).isEqualTo("UNet2DConditionModel");
        assertThat(config.integers("block_out_channels")).containsExactly(320L, 640L, 1280L, 1280L);
        assertThat(config.numbers("block_out_channels")).containsExactly(320.0, 640.0, 1280.0, 1280.0);
        assertThat(config.bool("center_input_sample")).isFalse();
        assertThat(config.number("norm_eps")).isEqualTo(1e-5);
        assertThat(config.number("scale")).isEqualTo(1.0);
        assertThat(config.integer("scale")).isEqualTo(1);
        assertThat(config.has("dropout")).isFalse();
        assertThat(config.has("missing")).isFalse();
        assertThat(config.strings("types")).containsExactly("DownBlock2D");
        assertThat(config.object("nested").object("deep").bool("flag")).isTrue();
        assertThat(config.object("nested").object("deep").path()).isEqualTo("$.nested.deep");
        assertThat(config.objects("parts").get(0).integer("x")).isEqualTo(1);
    }

    @Test
    void saysWhereAndWhat() throws IOException {
        JsonObject config = Json.parseObject("config.json", CONFIG);
        assertThatThrownBy(() -> config.integer("_class_name"))
                .isInstanceOf(JsonException.class)
                .hasMessage("config.json: $._class_name: expected an integer, found \"UNet2DConditionModel\"");
        assertThatThrownBy(() -> config.string("missing"))
                .hasMessage("config.json: $.missing: expected text, found nothing");
        assertThatThrownBy(() -> config.integer("norm_eps"))
                .hasMessage("config.json: $.norm_eps: expected an integer, found 1.0E-5");
        assertThatThrownBy(() -> config.strings("block_out_channels"))
                .hasMessage("config.json: $.block_out_channels[0]: expected text, found 320");
        assertThatThrownBy(() -> config.objects("parts").get(1).integer("x"))
                .hasMessage("config.json: $.parts[1].x: expected an integer, found \"two\"");
        assertThatThrownBy(() -> config.object("types")).hasMessageEndingWith("expected an object, found a list of 1");
        assertThatThrownBy(() -> config.asMap().put("x", 1)).isInstanceOf(UnsupportedOperationException.class);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                " ",
                "[]",
                "1",
                "null",
                "{",
                "{}}",
                "{} {}",
                "{}x",
                "{'a':1}",
                "{a:1}",
                "{\"a\":1,}",
                "{\"a\":1,\"a\":1}",
                "{\"b\":{\"a\":1,\"a\":2}}",
                "{\"b\":[{\"a\":1,\"a\":2}]}",
                "{\"a\":01}",
                "{\"a\":+1}",
                "{\"a\":INF}",
                "{\"a\":.5}",
                "{\"a\":1.}",
                "{\"a\":1e999}",
                "{\"a\":tru}",
                "{\"a\":\"\t\"}",
                "{\"a\":\"\\x\"}",
                "{/* no */}",
                "{\"a\":1}//"
            })
    void refuses(String text) {
        assertThatThrownBy(() -> Json.parseObject("bad.json", text))
                .isInstanceOf(JsonException.class)
                .hasMessageStartingWith("bad.json: ");
    }

    /// Python's json module writes them, in scheduler configs for instance.
    @Test
    void readsPythonsNumbersThatAreNotFiniteAndWritesThemBack() throws IOException {
        JsonObject object = Json.parseObject("python.json", "{\"a\": -Infinity, \"b\": NaN, \"c\": [Infinity]}");
        assertThat(object.asMap().get("a")).isEqualTo(Double.NEGATIVE_INFINITY);
        assertThat(Json.canonical(object)).contains("\"a\": -Infinity", "\"b\": NaN", "Infinity");
        assertThatThrownBy(() -> object.number("b"))
                .hasMessage("python.json: $.b: expected a finite number, found NaN");
        assertThatThrownBy(() -> object.numbers("c"))
                .hasMessage("python.json: $.c[0]: expected a finite number, found Infinity");
        assertThatThrownBy(() -> object.string("b")).hasMessageContaining("expected text, found NaN");
        assertThat(object.with(Map.of("a", 1L)).asMap()).containsOnlyKeys("a");
    }

    /// As in the tokenizer_config.json of many models.
    @Test
    void keepsIntegersOfMoreThan64Bits() throws IOException {
        String text = "{\n  \"model_max_length\": 1000000000000000019884624838656\n}\n";
        JsonObject config = Json.parseObject("config.json", text);
        assertThat(Json.canonical(config)).isEqualTo(text);
        assertThat(config.number("model_max_length")).isEqualTo(1e30);
        assertThatThrownBy(() -> config.integer("model_max_length"))
                .hasMessage("config.json: $.model_max_length: expected an integer within 64 bits, found "
                        + "1000000000000000019884624838656");
    }

    @Test
    void refusesDepthAndBytesThatAreNotUtf8(@TempDir Path folder) throws IOException {
        assertThatThrownBy(() -> Json.parseObject("deep.json", "{\"a\":" + "[".repeat(100_000)))
                .isInstanceOf(JsonException.class)
                .hasMessageContaining("depth");
        Path file = Files.write(folder.resolve("x.json"), "{\"a\":\"é\"}".getBytes(StandardCharsets.ISO_8859_1));
        assertThatThrownBy(() -> Json.readObject(file)).hasMessageContaining("x.json: expected UTF-8");
        Files.write(file, "{\"a\":1}".getBytes(StandardCharsets.UTF_16));
        assertThatThrownBy(() -> Json.readObject(file)).isInstanceOf(JsonException.class);
    }

    @Test
    void writesOneFormOnly(@TempDir Path folder) throws IOException {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("z", List.of(1, 2L, 0.1, 1e300, 0.1f));
        value.put("a", new LinkedHashMap<>(Map.of("k", "text \"q\" \\ \n é \ud83d\ude00 \ud83d /")));
        value.put("m", Arrays.asList(null, true, List.of(), Map.of()));
        String text = Json.canonical(value);
        assertThat(text).isEqualTo("""
            {
              "a": {
                "k": "text \\"q\\" \\\\ \\n é \ud83d\ude00 \\ud83d /"
              },
              "m": [
                null,
                true,
                [],
                {}
              ],
              "z": [
                1,
                2,
                0.1,
                1.0E300,
                0.1
              ]
            }
            """);
        Path file = folder.resolve("manifest.json");
        Json.write(file, value);
        JsonObject back = Json.readObject(file);
        assertThat(Json.canonical(back)).isEqualTo(text);
        assertThat(back.numbers("z")).containsExactly(1.0, 2.0, 0.1, 1e300, 0.1);
    }

    @Test
    void writesNothingThatJsonLacks() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Json.canonical(Map.of("a", List.of(1.0, Double.NaN))))
                .withMessage("json: $.a[1]: expected a finite number, got NaN");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Json.canonical(Map.of("a", new Object())))
                .withMessageStartingWith("json: $.a: expected a map");
        assertThatIllegalArgumentException().isThrownBy(() -> Json.canonical(Map.of(1, 2)));
    }
}
