package org.smpo.model;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// Models of the four families with the sizes of the tiny goldens, whose configs and parameters are diffusers'
/// and
/// transformers' own. Weights are numbers that differ from each other.
public final class TinyModels {
    static final Path GOLDEN = Path.of(System.getProperty("smpo.root"), "native/test/golden");

    private TinyModels() {}

    static JsonObject golden(String name) throws IOException {
        return Json.readObject(GOLDEN.resolve(name + ".json"));
    }

    /// A diffusers folder as diffusers lays it out.
    public static Path write(Path folder, Family family) throws IOException {
        BuiltIn builtIn = BuiltIn.of(family);
        Files.createDirectories(folder);
        Json.write(folder.resolve("model_index.json"), builtIn.index());
        Files.createDirectories(folder.resolve("scheduler"));
        Json.write(folder.resolve("scheduler/scheduler_config.json"), builtIn.scheduler());
        String unet = switch (family) {
            case SD1 -> "sd1";
            case SD2 -> "sd2";
            case SDXL -> "sdxl";
            case SDXL_REFINER -> "refiner";
        };
        component(folder.resolve("unet"), golden("unet/" + unet).object("config"), "UNet2DConditionModel");
        component(folder.resolve("vae"), golden("vae/f8").object("config"), "AutoencoderKL");
        for (String name : family.textEncoders()) {
            String tokenizer = name.replace("text_encoder", "tokenizer");
            Files.createDirectories(folder.resolve(tokenizer));
            Files.writeString(folder.resolve(tokenizer + "/vocab.json"), "{\"a\": 0}");
            Files.writeString(folder.resolve(tokenizer + "/merges.txt"), "#version: 0.2\n");
            boolean openClip = family == Family.SD2 || name.equals("text_encoder_2");
            Map<String, Object> config = new LinkedHashMap<>(golden(openClip ? "clip/open_clip" : "clip/vit_l")
                    .object("config")
                    .asMap());
            config.put("a_key_of_tomorrow", List.of(1L, 2.5));
            config.put("torch_dtype", "float32");
            component(
                    folder.resolve(name),
                    Json.parseObject("config", Json.canonical(config)),
                    name.equals("text_encoder_2") ? "CLIPTextModelWithProjection" : "CLIPTextModel");
        }
        return folder;
    }

    static void component(Path folder, JsonObject config, String className) throws IOException {
        Files.createDirectories(folder);
        Json.write(folder.resolve("config.json"), config);
        String stem = className.startsWith("CLIP") ? "model" : "diffusion_pytorch_model";
        List<Weight> weights = new ArrayList<>();
        ModelFolder.config(config, className).parameters().forEach((name, shape) -> weights.add(weight(name, shape)));
        ModelFolder.writeFile(folder.resolve(stem + ".safetensors"), weights, null, Map.of());
    }

    /// Values between −1 and 1 with all bits in use.
    static Weight weight(String name, List<Long> shape) {
        int count = Math.toIntExact(ModelConfig.elements(shape));
        ByteBuffer bytes = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
        int state = name.hashCode() | 1;
        for (int i = 0; i < count; i++) {
            state = state * 1664525 + 1013904223;
            bytes.putFloat(4 * i, state * 0x1p-31f);
        }
        return Weight.of(name, DType.F32, shape, bytes.array());
    }
}
