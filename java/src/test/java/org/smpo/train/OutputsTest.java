package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.Lora;
import org.smpo.checkpoint.LoraFile;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.SingleFile;
import org.smpo.checkpoint.SyntheticWeights;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.LoraSpec;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.UNetInputs;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.Safetensors;
import org.smpo.io.TensorEntry;
import org.smpo.network.UNet;
import org.smpo.recipe.Recipe;

/// A run's outputs hold the trained weights in every format; failures to write.
final class OutputsTest {
    /// Tolerance: separate and merged adapters round differently: 2^-24 for sums of up to a few hundred
    /// terms through about thirty layers.
    private static final double ROUNDING = 1e-4;

    private static final String DOWN = ".lora_A.weight";

    @TempDir
    private Path temporary;

    /// Returns the prediction of a model's UNet, optionally with the weights of a checkpoint.
    private static float[] prediction(Path model, Checkpoint checkpoint, double loraAlpha) throws IOException {
        try (ModelFiles files = ModelFiles.open(model)) {
            return prediction(files, checkpoint, loraAlpha);
        }
    }

    private static float[] prediction(ModelFiles files, Checkpoint checkpoint, double loraAlpha) throws IOException {
        try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1));
                UNet unet = UNet.load(engine, files.component("unet"), ModelOptions.frozen(DType.F32))) {
            if (checkpoint != null) {
                try (Safetensors trained = Safetensors.open(checkpoint.policy())) {
                    List<String> modules = trained.entries().stream()
                            .map(TensorEntry::name)
                            .filter(name -> name.endsWith(DOWN))
                            .map(name -> name.substring(0, name.length() - DOWN.length()))
                            .toList();
                    if (!modules.isEmpty()) {
                        int rank = Math.toIntExact(
                                trained.entry(modules.getFirst() + DOWN).shape().getFirst());
                        unet.network().addLora(new LoraSpec(rank, loraAlpha, modules));
                    }
                    for (TensorEntry entry : trained.entries()) {
                        ByteBuffer bytes = ByteView.of(trained, entry).buffer();
                        unet.network().write(entry.name(), DType.F32, entry.shape(), bytes);
                    }
                }
            }
            try (DeviceTensor sample = engine.fromHost(SyntheticWeights.uniform("sample", 4 * 2 * 2), 1, 4, 2, 2);
                    DeviceTensor t = engine.fromHost(new float[] {401}, 1);
                    DeviceTensor states = engine.fromHost(SyntheticWeights.uniform("states", 77 * 20), 1, 77, 20);
                    DeviceTensor predicted = unet.network().forward(new UNetInputs(sample, t, states, null, null))) {
                return predicted.toFloats();
            }
        }
    }

    /// A single file does not state its sizes.
    private static float[] single(TinyRun tiny, String name) throws IOException {
        SingleFile.Options sizes = new SingleFile.Options(tiny.model(), null, null);
        try (ModelFiles files = SingleFile.open(tiny.output("run").resolve(name), sizes)) {
            return prediction(files, null, 1);
        }
    }

    private static double distance(float[] found, float[] expected) {
        double difference = 0;
        double size = 0;
        for (int i = 0; i < expected.length; i++) {
            difference = Math.max(difference, Math.abs(found[i] - expected[i]));
            size = Math.max(size, Math.abs(expected[i]));
        }
        return difference / size;
    }

    @Test
    void heldOutPairsOfAnInvertingObjectiveAreAlsoJudgedOnForwardNoise() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        // The only step has learning rate 0, so that all runs have the same policy; the reference
        // differs, so that accuracies are informative.
        String[] untrained = {
            "train.steps=1",
            "learning_rate.warmup_steps=1",
            "evaluate.every=1",
            "data.held_out=5",
            "health={runaway_loss: none, runaway_error: none}"
        };
        Path reference = other(tiny);
        Map<String, Map<String, Object>> evaluations = new TreeMap<>();
        for (String method : List.of("smpo", "inpo", "dpo", "sft")) {
            List<String> overrides = new ArrayList<>(List.of(untrained));
            overrides.add("objective={method: " + method + (method.equals("sft") ? "}" : ", beta: 2000}"));
            if (method.equals("dpo") || method.equals("sft")) {
                overrides.add("inversion=none");
            }
            if (!method.equals("sft")) {
                overrides.add("train.reference=" + reference);
            }
            tiny.run(tiny.recipe(method, overrides.toArray(String[]::new)));
            List<Map<String, Object>> log = tiny.log(method);
            evaluations.put(method, log.getLast());
            assertThat(log.getFirst().containsKey("implicit_accuracy")).isEqualTo(!method.equals("sft"));
            assertThat(log.getFirst().containsKey("loser_error")).isEqualTo(!method.equals("sft"));
            assertThat(log.getFirst().containsKey("margins")).isEqualTo(!method.equals("sft"));
            assertThat(log.getFirst().get("winner_error")).isNotNull();
        }
        Map<String, Object> plain = evaluations.get("dpo");
        assertThat(plain).doesNotContainKey("forward_accuracy");
        assertThat(evaluations.get("sft")).doesNotContainKeys("implicit_accuracy", "forward_accuracy");
        for (String method : List.of("smpo", "inpo")) {
            Map<String, Object> evaluation = evaluations.get(method);
            // Uses the same pairs, timesteps and noise as an objective with forward noise.
            assertThat(evaluation).containsEntry("forward_accuracy", plain.get("implicit_accuracy"));
            for (String error : List.of("winner", "loser", "reference_winner", "reference_loser")) {
                assertThat(evaluation)
                        .containsEntry("forward_" + error + "_error", plain.get(error + "_error"))
                        .doesNotContainEntry(error + "_error", plain.get(error + "_error"));
            }
        }
    }

    /// Writes a copy of the run's model that has been trained a little.
    private static Path other(TinyRun tiny) throws IOException, InterruptedException {
        tiny.run(tiny.recipe(
                "other", "train.steps=1", "objective={method: sft}", "inversion=none", "learning_rate.warmup_steps=0"));
        return tiny.output("other").resolve("model");
    }

    @Test
    void fullWeightsAreWrittenAsTheyAre() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        TrainingResult result = tiny.run(
                tiny.recipe("run", "train.steps=3", "train.ema=0.5", "export.formats=[diffusers, single_file]"));
        Path output = tiny.output("run");
        assertThat(result.written())
                .containsExactly(
                        output.resolve("model"),
                        output.resolve("run.safetensors"),
                        output.resolve("model-ema"),
                        output.resolve("run-ema.safetensors"));
        Checkpoint last = Checkpoint.all(output.resolve("checkpoints")).getLast();
        float[] policy = prediction(tiny.model(), last, 1);
        float[] untrained = prediction(tiny.model(), null, 1);
        assertThat(prediction(output.resolve("model"), null, 1))
                .isEqualTo(policy)
                .isNotEqualTo(untrained);
        assertThat(single(tiny, "run.safetensors")).isEqualTo(policy);
        assertThat(prediction(output.resolve("model-ema"), null, 1))
                .isEqualTo(single(tiny, "run-ema.safetensors"))
                .isNotEqualTo(policy)
                .isNotEqualTo(untrained);
        try (Safetensors file = Safetensors.open(output.resolve("run.safetensors"))) {
            assertThat(file.metadata())
                    .containsEntry("smpo_method", "smpo")
                    .containsEntry("smpo_steps", "3")
                    .containsEntry("modelspec.title", "run")
                    .containsEntry("modelspec.resolution", "16x16")
                    .containsEntry("ss_output_name", "run")
                    .containsEntry("ss_learning_rate", "1.0E-4")
                    .containsEntry("ss_lr_scheduler", "constant_with_warmup")
                    .containsKey("modelspec.date");
        }
    }

    @Test
    void adaptersAreWrittenAsTheyAreAndMerged() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe(
                "run",
                "train.steps=3",
                "learning_rate.value=1e-2",
                "health={runaway_loss: none, runaway_error: none}",
                "train.weights={type: lora, rank: 2, alpha: 4}",
                "export.formats=[diffusers, lora_peft, lora_kohya]"));
        Path output = tiny.output("run");
        Checkpoint last = Checkpoint.all(output.resolve("checkpoints")).getLast();
        float[] adapted = prediction(tiny.model(), last, 4);
        float[] merged = prediction(output.resolve("model"), null, 4);
        assertThat(distance(merged, adapted)).isLessThan(ROUNDING);
        assertThat(distance(merged, prediction(tiny.model(), null, 4))).isGreaterThan(ROUNDING);
        // Another alpha is detected.
        assertThat(distance(merged, prediction(tiny.model(), last, 2))).isGreaterThan(ROUNDING);
        Map<String, byte[]> trained = new TreeMap<>();
        try (Safetensors file = Safetensors.open(last.policy())) {
            for (TensorEntry entry : file.entries()) {
                trained.put(entry.name(), bytes(ByteView.of(file, entry).buffer()));
            }
        }
        assertThat(trained).isNotEmpty();
        try (ModelFiles files = ModelFiles.open(tiny.model())) {
            for (String name : List.of("pytorch_lora_weights.safetensors", "run-lora.safetensors")) {
                try (LoraFile file = LoraFile.open(output.resolve(name), files.unet())) {
                    assertThat(file.lora().family()).as("the base of " + name).isEqualTo(files.family());
                    Map<String, byte[]> read = new TreeMap<>();
                    for (Lora.Module module : file.lora().modules().values()) {
                        // The scale alpha / rank is 2; PEFT's file has it in B, kohya's in alpha.
                        boolean peft = name.startsWith("pytorch");
                        assertThat(module.alpha()).isEqualTo(peft ? 2 : 4);
                        read.put(module.path() + DOWN, bytes(module.down().buffer()));
                        read.put(
                                module.path() + ".lora_B.weight",
                                divided(bytes(module.up().buffer()), peft ? 2 : 1));
                    }
                    assertThat(read.keySet()).as(name).isEqualTo(trained.keySet());
                    trained.forEach((key, value) ->
                            assertThat(read.get(key)).as(name + ": " + key).isEqualTo(value));
                }
            }
        }
    }

    private static byte[] divided(byte[] floats, float by) {
        ByteBuffer values = ByteBuffer.wrap(floats).order(ByteOrder.LITTLE_ENDIAN);
        for (int at = 0; at < floats.length; at += Float.BYTES) {
            values.putFloat(at, values.getFloat(at) / by);
        }
        return floats;
    }

    private static byte[] bytes(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    @Test
    void aFullDiskLeavesTheLastCheckpoint() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Path disk = Files.createDirectory(tiny.output("disk"));
        // A process that outlives this one unmounts it when its input ends.
        Process keeper = new ProcessBuilder(
                        "sh",
                        "-c",
                        "trap '' HUP INT TERM; mount -t tmpfs -o size=16m tmpfs \"$0\" || exit 1; echo mounted; cat; "
                                + "umount -l \"$0\"",
                        disk.toString())
                .redirectErrorStream(true)
                .start();
        String mounted = keeper.inputReader().readLine();
        assumeThat(mounted).as("a disk of its own needs the right to mount one").isEqualTo("mounted");
        try {
            Recipe recipe = tiny.recipe("disk/run", "checkpoint.every=1");
            TinyRun.Said said = new TinyRun.Said();
            said.stopAfter = 2;
            Path kept = tiny.run(recipe, false, said).checkpoint();
            Path filler = disk.resolve("filler");
            // Space for the log and for half of the next checkpoint.
            long room = Files.size(kept.resolve(Checkpoint.POLICY));
            Files.write(
                    filler, new byte[Math.toIntExact(Files.getFileStore(disk).getUsableSpace() - room)]);
            assertThatThrownBy(() -> tiny.run(recipe, true, new TinyRun.Said()))
                    .isInstanceOf(IOException.class)
                    .hasMessageContaining("No space left on device")
                    .hasMessageContaining("step-000003")
                    .hasMessageContaining("bytes free on its disk");
            List<String> damaged = new ArrayList<>();
            assertThat(Checkpoint.newest(kept.getParent(), damaged)
                            .orElseThrow()
                            .folder())
                    .isEqualTo(kept);
            assertThat(damaged).isEmpty();
            Files.delete(filler);
            tiny.run(recipe, true, new TinyRun.Said());
            Path other = tiny.output("whole");
            tiny.run(tiny.recipe("whole", "checkpoint.every=1"));
            String policy = "checkpoints/step-000006/policy.safetensors";
            assertThat(disk.resolve("run").resolve(policy)).hasSameBinaryContentAs(other.resolve(policy));
        } finally {
            keeper.outputWriter().close();
            assertThat(keeper.waitFor()).isZero();
        }
    }
}
