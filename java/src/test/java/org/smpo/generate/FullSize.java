package org.smpo.generate;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.ModelFolder;
import org.smpo.checkpoint.Weight;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.LoraSpec;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.ParameterInfo;
import org.smpo.ffi.UNetGradients;
import org.smpo.ffi.UNetInputs;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.Precision;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;
import org.smpo.network.NativeWeights;
import org.smpo.network.UNet;

/// Counterpart of tools/golden/full_size.py: runs forward and backward of a UNet of published size once. It is not a
/// test, since it takes minutes and gigabytes.
///
///     java -cp ... org.smpo.generate.FullSize UNET_FOLDER INPUTS OUT fp32|bf16 parameters|adapters
final class FullSize {
    private static final String ADAPTERS = "adapter.";

    /// Number of evenly strided entries of each gradient that are compared one by one.
    private static final int KEPT = 4096;

    private FullSize() {}

    public static void main(String[] arguments) throws IOException {
        Precision precision = arguments[3].equals("bf16") ? Precision.BF16 : Precision.FP32;
        boolean parameters = arguments[4].equals("parameters");
        Map<String, float[]> results = new LinkedHashMap<>();
        try (ModelFiles files = ModelFolder.open(Path.of(arguments[0]));
                Safetensors inputs = Safetensors.open(Path.of(arguments[1]));
                Engine engine = Engine.open(EngineConfig.onCpu());
                UNet unet = UNet.load(
                        engine,
                        files.components().values().iterator().next(),
                        new ModelOptions(precision.dtype(), parameters, false))) {
            NativeModel network = unet.network();
            if (!parameters) {
                adapt(network, inputs);
            }
            boolean textTime = inputs.find("text_embeds").isPresent();
            try (DeviceTensor sample = tensor(engine, inputs, "sample");
                    DeviceTensor timesteps = tensor(engine, inputs, "timesteps");
                    DeviceTensor text = tensor(engine, inputs, "encoder_hidden_states");
                    DeviceTensor pooled = textTime ? tensor(engine, inputs, "text_embeds") : null;
                    DeviceTensor sizes = textTime ? tensor(engine, inputs, "time_ids") : null;
                    DeviceTensor cotangent = tensor(engine, inputs, "cotangent")) {
                UNetInputs given = new UNetInputs(sample, timesteps, text, pooled, sizes);
                long start = System.nanoTime();
                try (DeviceTensor output = network.forward(given)) {
                    results.put("output", output.toFloats());
                }
                long forward = System.nanoTime();
                try (UNetGradients gradients = network.backward(given, cotangent, true)) {
                    results.put("gradient.sample", gradients.sampleGradient().toFloats());
                }
                System.out.printf(
                        "forward %.1f s, forward and backward %.1f s%n",
                        (forward - start) / 1e9, (System.nanoTime() - forward) / 1e9);
                for (ParameterInfo parameter : network.parameters()) {
                    if (parameters || parameter.name().contains(".lora_")) {
                        results.put("gradient." + parameter.name(), strided(network.readGradient(parameter)));
                    }
                }
            }
        }
        write(Path.of(arguments[2]), results);
    }

    /// Returns the adapters in the inputs, which share one rank, with alpha = rank.
    private static void adapt(NativeModel network, Safetensors inputs) throws IOException {
        List<Weight> weights = new ArrayList<>();
        List<String> modules = new ArrayList<>();
        int rank = 0;
        for (TensorEntry entry : inputs.entries()) {
            if (!entry.name().startsWith(ADAPTERS)) {
                continue;
            }
            String name = entry.name().substring(ADAPTERS.length());
            weights.add(Weight.of(inputs, entry).named(name));
            if (name.endsWith(".lora_A.weight")) {
                modules.add(name.substring(0, name.length() - ".lora_A.weight".length()));
                rank = Math.toIntExact(entry.shape().getFirst());
            }
        }
        network.addLora(new LoraSpec(rank, rank, modules));
        for (Weight weight : weights) {
            NativeWeights.write(network, weight);
        }
    }

    private static DeviceTensor tensor(Engine engine, Safetensors file, String name) throws IOException {
        TensorEntry entry = file.entry(name);
        float[] values = new float[Math.toIntExact(entry.length() / Float.BYTES)];
        ByteView.of(file, entry).buffer().asFloatBuffer().get(values);
        return engine.fromHost(
                values, entry.shape().stream().mapToLong(Long::longValue).toArray());
    }

    private static float[] strided(float[] all) {
        int keep = Math.min(KEPT, all.length);
        float[] kept = new float[keep];
        for (int i = 0; i < keep; i++) {
            kept[i] = all[(int) ((long) i * all.length / keep)];
        }
        return kept;
    }

    private static void write(Path file, Map<String, float[]> results) throws IOException {
        List<SafetensorsWriter.Declaration> declarations = new ArrayList<>();
        results.forEach((name, values) ->
                declarations.add(new SafetensorsWriter.Declaration(name, DType.F32, List.of((long) values.length))));
        SafetensorsWriter.write(file, declarations, Map.of(), (entry, out) -> {
            float[] values = results.get(entry.name());
            ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
            bytes.asFloatBuffer().put(values);
            out.write(entry.name(), bytes);
        });
    }
}
