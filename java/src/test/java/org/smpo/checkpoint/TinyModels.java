package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.io.DType;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Safetensors;
import org.smpo.io.TorchWriter;

/// Models of the four families with the sizes of the tiny goldens. Their configs and parameters are
/// those of diffusers and transformers. All weights are different numbers.
public final class TinyModels {
    public static final Path GOLDEN = Path.of(System.getProperty("smpo.root"), "native/test/golden");

    /// Number of tokens of the small vocabulary.
    private static final long VOCABULARY = 3314;

    private TinyModels() {}

    public static JsonObject golden(String name) throws IOException {
        return Json.readObject(GOLDEN.resolve(name + ".json"));
    }

    /// Writes a folder in diffusers' layout.
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

    public static void component(Path folder, JsonObject config, String className) throws IOException {
        Files.createDirectories(folder);
        Json.write(folder.resolve("config.json"), config);
        String stem = className.startsWith("CLIP") ? "model" : "diffusion_pytorch_model";
        List<Weight> weights = new ArrayList<>();
        ModelConfig.parse(config, className).parameters().forEach((name, shape) -> weights.add(weight(name, shape)));
        Weight.writeAll(folder.resolve(stem + ".safetensors"), weights, null, Map.of());
    }

    /// Values between −1 and 1 with all bits in use.
    public static Weight weight(String name, List<Long> shape) {
        int count = Math.toIntExact(ModelConfig.elements(shape));
        ByteBuffer bytes = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
        int state = name.hashCode() | 1;
        for (int i = 0; i < count; i++) {
            state = state * 1664525 + 1013904223;
            bytes.putFloat(4 * i, state * 0x1p-31f);
        }
        return Weight.of(name, DType.F32, shape, bytes.array());
    }

    /// Writes a small, runnable Stable Diffusion 1: a real vocabulary, a text tower of the width that
    /// the UNet expects, and weights with bounded activations.
    public static Path writeRunnable(Path folder) throws IOException {
        return writeRunnable(folder, VOCABULARY);
    }

    private static Path writeRunnable(Path folder, long tokens) throws IOException {
        write(folder, Family.SD1);
        Path vocabulary =
                Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/network/tokenizer");
        for (String file : List.of("vocab.json", "merges.txt")) {
            Files.copy(
                    vocabulary.resolve(file), folder.resolve("tokenizer/" + file), StandardCopyOption.REPLACE_EXISTING);
        }
        Map<String, Object> text =
                new LinkedHashMap<>(golden("clip/vit_l").object("config").asMap());
        text.put("vocab_size", tokens);
        text.put("hidden_size", 20L);
        text.put("projection_dim", 20L);
        text.put("num_attention_heads", 4L);
        calm(folder.resolve("text_encoder"), Json.parseObject("config", Json.canonical(text)), "CLIPTextModel");
        calm(folder.resolve("unet"), golden("unet/sd1").object("config"), "UNet2DConditionModel");
        calm(folder.resolve("vae"), golden("vae/f8").object("config"), "AutoencoderKL");
        return folder;
    }

    /// The smallest Stable Diffusion 1 that has every kind of layer: its steps take milliseconds.
    public static Path writeTrainable(Path folder) throws IOException {
        return writeTrainable(folder, VOCABULARY);
    }

    /// The same with room for another number of tokens.
    public static Path writeTrainable(Path folder, long tokens) throws IOException {
        writeRunnable(folder, tokens);
        Map<String, Object> unet =
                new LinkedHashMap<>(golden("unet/sd1").object("config").asMap());
        unet.put("sample_size", 2L);
        unet.put("down_block_types", List.of("CrossAttnDownBlock2D", "DownBlock2D"));
        unet.put("up_block_types", List.of("UpBlock2D", "CrossAttnUpBlock2D"));
        unet.put("block_out_channels", List.of(8L, 8L));
        unet.put("layers_per_block", 1L);
        unet.put("norm_num_groups", 4L);
        calm(folder.resolve("unet"), Json.parseObject("config", Json.canonical(unet)), "UNet2DConditionModel");
        Map<String, Object> vae =
                new LinkedHashMap<>(golden("vae/f8").object("config").asMap());
        vae.put("block_out_channels", List.of(8L, 8L, 8L, 8L));
        vae.put("layers_per_block", 1L);
        vae.put("norm_num_groups", 4L);
        calm(folder.resolve("vae"), Json.parseObject("config", Json.canonical(vae)), "AutoencoderKL");
        return folder;
    }

    private static void calm(Path folder, JsonObject config, String className) throws IOException {
        Json.write(folder.resolve("config.json"), config);
        List<Weight> weights = new ArrayList<>();
        ModelConfig.parse(config, className).parameters().forEach((name, shape) -> {
            boolean gain = shape.size() == 1 && name.endsWith(".weight");
            byte[] values = new byte[Math.toIntExact(Float.BYTES * ModelConfig.elements(shape))];
            weight(name, shape).data().copyTo(0, values, 0, values.length);
            ByteBuffer bytes = ByteBuffer.wrap(values).order(ByteOrder.LITTLE_ENDIAN);
            for (int at = 0; at < bytes.capacity(); at += Float.BYTES) {
                float value = bytes.getFloat(at);
                bytes.putFloat(at, gain ? 1 + 0.1f * value : 0.1f * value);
            }
            weights.add(Weight.of(name, DType.F32, shape, bytes.array()));
        });
        String stem = className.startsWith("CLIP") ? "model" : "diffusion_pytorch_model";
        Weight.writeAll(folder.resolve(stem + ".safetensors"), weights, null, Map.of());
    }

    /// Returns the tensors of a safetensors file, to be written as `torch.save` does.
    public static Map<String, TorchWriter.Tensor> torchTensors(Path file) throws IOException {
        Map<String, TorchWriter.Tensor> tensors = new LinkedHashMap<>();
        try (Safetensors open = Safetensors.open(file)) {
            for (Weight weight : Weight.all(open)) {
                ByteBuffer buffer = weight.buffer();
                byte[] bytes = new byte[buffer.remaining()];
                buffer.get(bytes);
                tensors.put(weight.name(), new TorchWriter.Tensor(weight.dtype(), weight.shape(), bytes));
            }
        }
        return tensors;
    }
}
