package org.smpo.reward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.SyntheticWeights;
import org.smpo.checkpoint.TinyModels;
import org.smpo.checkpoint.Weight;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.ParameterInfo;
import org.smpo.ffi.UNetGradients;
import org.smpo.ffi.UNetInputs;
import org.smpo.io.ByteView;
import org.smpo.io.Closer;
import org.smpo.io.DType;
import org.smpo.io.FloatTensor;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.io.Safetensors;
import org.smpo.network.TinyBlip;
import org.smpo.network.TinyClip;
import org.smpo.network.UNet;
import org.smpo.network.Vae;

/// Gradients of rewards with respect to latents, against autograd (tools/golden/reward_gradient.py).
final class RewardGradientTest {
    private static final Path GOLDEN = Path.of(
            System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/reward/gradient/reward_gradient.json");
    private static final double TOLERANCE = 1e-5;

    @TempDir
    private Path temporary;

    private final Closer opened = new Closer();
    private JsonObject golden;
    private List<String> captions;
    private Engine engine;
    private Vae vae;

    @BeforeEach
    void open() throws IOException {
        golden = Json.readObject(GOLDEN);
        captions = golden.strings("captions");
        engine = opened.add(Engine.open(EngineConfig.onCpu().withThreads(2)));
        ModelFiles files = opened.add(ModelFiles.open(component("vae/f8", "AutoencoderKL")));
        vae = opened.add(Vae.load(engine, files.only()));
    }

    @AfterEach
    void close() throws IOException {
        opened.close();
    }

    /// Writes a component of the golden models.
    private Path component(String name, String className) throws IOException {
        JsonObject model = TinyModels.golden(name);
        Path folder = Files.createDirectories(temporary.resolve(className));
        Map<String, Object> config = new LinkedHashMap<>(model.object("config").asMap());
        config.put("_class_name", className);
        Json.write(folder.resolve("config.json"), config);
        List<Weight> weights = new ArrayList<>();
        JsonObject parameters = model.object("parameters");
        for (String parameter : parameters.keys()) {
            weights.add(TinyClip.weight(parameter, parameters.integers(parameter)));
        }
        Weight.writeAll(folder.resolve("diffusion_pytorch_model.safetensors"), weights, null, Map.of());
        return folder;
    }

    private UNet unet(boolean trainable) throws IOException {
        ModelFiles files = opened.add(ModelFiles.open(component("unet/sd1", "UNet2DConditionModel")));
        ModelOptions options = trainable ? new ModelOptions(DType.F32, true, false) : ModelOptions.frozen(DType.F32);
        return opened.add(UNet.load(engine, files.only(), options));
    }

    private DifferentiableReward reward(String kind) throws IOException {
        Path folder = temporary.resolve("clip");
        if (!Files.exists(folder)) {
            TinyClip.write(folder, "vit_h", 1);
        }
        Reward reward = RewardSource.parse(kind + ":" + folder).open(engine, Precision.FP32);
        opened.add(reward);
        return (DifferentiableReward) reward;
    }

    private static float[] read(String name) throws IOException {
        try (Safetensors file = Safetensors.open(GOLDEN.resolveSibling("reward_gradient.safetensors"))) {
            float[] values = new float[2 * 4 * 8 * 10];
            ByteView.of(file, file.entry(name)).buffer().asFloatBuffer().get(values);
            return values;
        }
    }

    private static double relative(float[] found, float[] expected) {
        double difference = 0;
        double size = 0;
        assertThat(found).hasSameSizeAs(expected);
        for (int i = 0; i < found.length; i++) {
            difference += Math.pow((double) found[i] - expected[i], 2);
            size += Math.pow(expected[i], 2);
        }
        return Math.sqrt(difference / size);
    }

    private DeviceTensor input(String name, long... shape) {
        long count = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
        float[] values = SyntheticWeights.uniform("gradient." + name, (int) count);
        for (int i = 0; i < values.length; i++) {
            values[i] *= (float) Math.sqrt(3);
        }
        return opened.add(engine.fromHost(values, shape));
    }

    private RewardGradient.Prediction prediction() throws IOException {
        DeviceTensor sample = input("sample", 2, 4, 8, 10);
        float time = golden.integer("timestep");
        DeviceTensor timesteps = opened.add(engine.fromHost(new float[] {time, time}, 2));
        return new RewardGradient.Prediction(
                UNetInputs.of(sample, timesteps, input("prompt", 2, 7, 20)),
                UNetInputs.of(sample, timesteps, input("negative", 2, 7, 20)),
                golden.number("guidance"),
                golden.number("sample"),
                golden.number("output"));
    }

    @Test
    void cleanLatentsHaveTheGradientOfAutograd() throws IOException {
        try (DeviceTensor clean = engine.fromHost(read("clean"), 2, 4, 8, 10)) {
            for (String kind : List.of("pickscore", "hpsv2")) {
                RewardGradient.Result result = new RewardGradient(reward(kind), vae).ofClean(captions, clean);
                List<Double> scores = golden.object("scores").numbers(kind);
                for (int i = 0; i < 2; i++) {
                    assertThat(result.scores()[i]).isCloseTo(scores.get(i), within(2e-6));
                }
                float[] expected = read(kind + ".clean");
                assertThat(relative(result.gradient(), expected)).as(kind).isLessThan(TOLERANCE);
                result.gradient()[100] *= 1.01f;
                assertThat(relative(result.gradient(), expected)).isGreaterThan(TOLERANCE);
            }
        }
    }

    /// Through the UNet with guidance; without its Jacobian it is another gradient.
    @Test
    void samplesHaveTheGradientOfAutograd() throws IOException {
        UNet unet = unet(true);
        RewardGradient.Prediction prediction = prediction();
        // Gradients that were summed before stay as they are.
        try (DeviceTensor cotangent = input("cotangent", 2, 4, 8, 10);
                UNetGradients summed = unet.network().backward(prediction.prompt(), cotangent, false)) {
            assertThat(summed.output()).isNotNull();
        }
        ParameterInfo parameter = unet.network().parameters().get(5);
        float[] before = unet.network().readGradient(parameter);
        for (String kind : List.of("pickscore", "hpsv2")) {
            RewardGradient chain = new RewardGradient(reward(kind), vae);
            RewardGradient.Result result = chain.ofSample(captions, unet, prediction, true);
            List<Double> scores = golden.object("scores").numbers(kind);
            for (int i = 0; i < 2; i++) {
                assertThat(result.scores()[i]).isCloseTo(scores.get(i), within(5e-6));
            }
            assertThat(relative(result.gradient(), read(kind + ".sample")))
                    .as(kind)
                    .isLessThan(TOLERANCE);
            RewardGradient.Result without = chain.ofSample(captions, unet, prediction, false);
            assertThat(without.scores()).isEqualTo(result.scores());
            float[] scaled = read(kind + ".clean");
            for (int i = 0; i < scaled.length; i++) {
                scaled[i] *= (float) prediction.sample();
            }
            assertThat(relative(without.gradient(), scaled)).as(kind).isLessThan(2e-5);
            assertThat(relative(without.gradient(), read(kind + ".sample"))).isGreaterThan(0.1);
        }
        assertThat(unet.network().readGradient(parameter)).isEqualTo(before);
        assertThat(before).isNotEqualTo(new float[before.length]);
    }

    /// The head's gradient, with and without ReLU, by finite differences in double.
    @Test
    void headsHaveTheirSlope() throws IOException {
        for (int[] layers : List.of(new int[] {0, 2, 4, 6, 7}, new int[] {0, 3, 6, 9, 11})) {
            int[] widths = {6, 5, 4, 3, 2, 1};
            Map<String, FloatTensor> tensors = new LinkedHashMap<>();
            for (int i = 0; i < layers.length; i++) {
                String name = "layers." + layers[i];
                tensors.put(
                        name + ".weight",
                        FloatTensor.of(
                                SyntheticWeights.uniform(name, widths[i] * widths[i + 1]), widths[i + 1], widths[i]));
                float[] bias = new float[widths[i + 1]];
                Arrays.fill(bias, 0.7f);
                tensors.put(name + ".bias", FloatTensor.of(bias, widths[i + 1]));
            }
            Path file = temporary.resolve("head" + layers[1] + ".safetensors");
            FloatTensor.writeAll(file, tensors, Map.of());
            Head head = Head.read(file);
            double[] x = {0.5, -0.4, 0.3, 0.2, -0.1, 0.6};
            double[] gradient = head.gradient(x);
            assertThat(Arrays.stream(gradient).map(Math::abs).sum()).isPositive();
            for (int i = 0; i < x.length; i++) {
                double[] above = x.clone();
                double[] below = x.clone();
                above[i] += 1e-6;
                below[i] -= 1e-6;
                assertThat((head.score(above) - head.score(below)) / 2e-6).isCloseTo(gradient[i], within(1e-8));
            }
        }
    }

    /// A small step along the gradient raises every score by what the gradient promises.
    @Test
    void aStepAlongTheGradientRaisesTheAestheticScore() throws IOException {
        Path folder = TinyClip.write(temporary.resolve("aesthetic"), "vit_h", 1);
        Map<String, FloatTensor> tensors = new LinkedHashMap<>();
        int[] widths = {24, 5, 4, 3, 2, 1};
        int[] layers = {0, 2, 4, 6, 7};
        for (int i = 0; i < layers.length; i++) {
            String name = "layers." + layers[i];
            tensors.put(
                    name + ".weight",
                    FloatTensor.of(
                            SyntheticWeights.uniform(name, widths[i] * widths[i + 1]), widths[i + 1], widths[i]));
            tensors.put(name + ".bias", FloatTensor.of(new float[widths[i + 1]], widths[i + 1]));
        }
        FloatTensor.writeAll(folder.resolve("head.safetensors"), tensors, Map.of());
        Reward reward = RewardSource.parse("aesthetic:" + folder).open(engine, Precision.FP32);
        opened.add(reward);
        RewardGradient chain = new RewardGradient((DifferentiableReward) reward, vae);
        float[] clean = read("clean");
        RewardGradient.Result start;
        try (DeviceTensor latents = engine.fromHost(clean, 2, 4, 8, 10)) {
            start = chain.ofClean(captions, latents);
        }
        int half = clean.length / 2;
        for (int image = 0; image < 2; image++) {
            double squares = 0;
            for (int i = image * half; i < (image + 1) * half; i++) {
                squares += Math.pow(start.gradient()[i], 2);
            }
            double step = 1e-3 / Math.sqrt(squares);
            float[] moved = clean.clone();
            for (int i = image * half; i < (image + 1) * half; i++) {
                moved[i] += (float) (step * start.gradient()[i]);
            }
            try (DeviceTensor latents = engine.fromHost(moved, 2, 4, 8, 10)) {
                double[] scores = chain.ofClean(captions, latents).scores();
                double promised = step * squares;
                assertThat(scores[image] - start.scores()[image]).isCloseTo(promised, within(0.2 * promised));
                assertThat(scores[1 - image]).isCloseTo(start.scores()[1 - image], within(1e-6));
            }
        }
    }

    @Test
    void whatHasNoGradientIsRefused() throws IOException {
        Reward reward = RewardSource.parse(
                        TinyBlip.write(temporary.resolve("blip")).toString())
                .open(engine, Precision.FP32);
        opened.add(reward);
        assertThat(reward).isNotInstanceOf(DifferentiableReward.class);
        DifferentiableReward clip = reward("clip");
        try (DeviceTensor pixels = input("pixels", 1, 3, 20, 20)) {
            assertThatThrownBy(() -> clip.scorePixels(captions, pixels))
                    .hasMessageContaining("expected 2 images [B,3,H,W], as many as captions, got [1, 3, 20, 20]");
        }
        UNetInputs inputs = prediction().prompt();
        assertThatThrownBy(() -> new RewardGradient.Prediction(inputs, null, 5, 1, 1))
                .hasMessageContaining("guidance 5.0: expected a negative prompt unless it is 1, got none");
    }
}
