package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalDouble;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.recipe.Recipe;

/// Changes that are allowed between the two parts of a run, and the state after a stop inside a step.
final class ResumeTest {
    private static final String POLICY = "/policy.safetensors";

    @TempDir
    private Path temporary;

    private static byte[] weights(Path run, int step) throws IOException {
        return Files.readAllBytes(run.resolve("checkpoints/" + Checkpoint.name(step) + POLICY));
    }

    /// The recipe of a run that version 52a71ef began, as it wrote it: without keys that came later.
    private static String oldText(TinyRun tiny) {
        return """
            model: %s
            output: %s
            seed: 7
            data:
              paths: [%s]
              resolution: 16
              crop: centre
              flip: true
              shared_augmentation: false
              caption_dropout: 0.2
              held_out: 2
              max_bad_fraction: 0.01
              decode_threads: 2
            labels:
              winner: human
              scores: none
              range: data
              temperature: 1
              probability: none
            objective:
              method: smpo
              beta: 2000
              gamma: 10
              kappa: 0.5
              bcr: none
              safeguard: none
            inversion:
              semantics: exact
              steps: 2
              renoise: last_step
              spacing: leading
              network: policy
              slots: auto
            timesteps:
              distribution: uniform
              low: 0
              end: 1000
            train:
              steps: 6
              pairs_per_step: 3
              micro_batch: 2
              precision: fp32
              device: cpu
              threads: 1
              weights:
                type: full
              gradient_checkpointing: false
              max_grad_norm: 1
              ema: none
              reference: none
            optimizer:
              name: adamw
              beta1: 0.9
              beta2: 0.999
              eps: 1.0e-8
              weight_decay: 0.01
            learning_rate:
              value: 1.0e-4
              schedule: constant_with_warmup
              warmup_steps: 2
              cycles: 0.5
            checkpoint:
              every: 2
              keep: 2
              milestones: none
            evaluate:
              every: none
              pairs: auto
            samples:
              prompts: []
              every: none
              seeds: [0]
              steps: 20
              guidance_scale: 7.5
              sampler: ddim
            export:
              formats: [diffusers]
            health:
              stop: false
              window: 3
              winner_degradation: 0.05
              saturated_logit: 6
              saturated_fraction: 0.5
              undecided_margin: 0.1
              undecided_fraction: 0.5
              runaway_loss: 4
              runaway_error: 2
            """.formatted(tiny.model(), tiny.output("run"), tiny.data());
    }

    @Test
    void aRunOfAnEarlierVersionResumes() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Recipe recipe = tiny.recipe("run");
        TinyRun.Said said = new TinyRun.Said();
        said.stopAfter = 3;
        tiny.run(recipe, false, said);
        Path text = tiny.output("run").resolve("recipe.yaml");
        assertThat(text).hasContent(oldText(tiny));
        // An earlier version may have had fewer keys.
        Files.writeString(text, oldText(tiny).replace("  milestones: none\n", ""));
        assertThat(tiny.run(recipe, true, new TinyRun.Said()).finished()).isTrue();
        assertThat(text).hasContent(oldText(tiny));
    }

    @Test
    void whatTheRecipeLeavesOpenIsRecordedAndSaid() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Recipe open = tiny.recipe(
                "open", "train.steps=1", "train.device=auto", "train.precision=auto", "data.resolution=auto");
        TinyRun.Said said = new TinyRun.Said();
        assertThat(tiny.run(open, false, said).finished()).isTrue();
        assertThat(said.messages)
                .anyMatch(line -> line.matches("computing on (cpu in fp32|cuda:0 in bf16), at a resolution of \\d+"));
        assertThat(Files.readString(tiny.output("open").resolve("recipe.yaml")))
                .containsPattern("resolution: \\d+")
                .containsPattern("precision: (fp32|bf16)")
                .containsPattern("device: (cpu|cuda:0)");
        assertThat(tiny.run(open, true, new TinyRun.Said()).finished()).isTrue();
        assertThatThrownBy(() ->
                        tiny.run(tiny.recipe("open", "train.steps=1", "data.resolution=24"), true, new TinyRun.Said()))
                .hasMessageContaining("data.resolution: ")
                .hasMessageContaining("data.resolution: 24 now, which would change its numbers");
    }

    @Test
    void anExtendedRunEqualsOneThatWasPlannedThatLong() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe("long", "train.steps=6"));
        tiny.run(tiny.recipe("run", "train.steps=4"));
        Recipe longer = tiny.recipe("run", "train.steps=6", "checkpoint.every=3", "export.formats=[single_file]");
        TinyRun.Said said = new TinyRun.Said();
        assertThat(tiny.run(longer, true, said).steps()).isEqualTo(6);
        assertThat(said.messages).contains("changed since the run began: train.steps: 4 then, train.steps: 6 now");
        assertThat(weights(tiny.output("run"), 6)).isEqualTo(weights(tiny.output("long"), 6));
        assertThat(tiny.losses("run")).isEqualTo(tiny.losses("long"));
        assertThat(tiny.output("run").resolve("run.safetensors")).exists();
        // The folder's recipe is the one that produced the model.
        assertThat(tiny.output("run").resolve("recipe.yaml")).hasContent(longer.resolved());
        assertThat(tiny.run(longer, true, new TinyRun.Said()).finished()).isTrue();
        // The recipe that the run began with still resumes it: the run has taken its steps already.
        TinyRun.Said shorter = new TinyRun.Said();
        assertThat(tiny.run(tiny.recipe("run", "train.steps=4"), true, shorter).steps())
                .isEqualTo(6);
        assertThat(shorter.messages).contains("train.steps: 6, which the run has taken, instead of 4");
        assertThat(weights(tiny.output("run"), 6)).isEqualTo(weights(tiny.output("long"), 6));
    }

    @Test
    void aScheduleThatDependsOnTheNumberOfStepsCannotBeExtended() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        String cosine = "learning_rate={value: 1e-4, schedule: cosine, warmup_steps: 0}";
        tiny.run(tiny.recipe("run", "train.steps=2", cosine));
        assertThatThrownBy(() -> tiny.run(tiny.recipe("run", "train.steps=4", cosine), true, new TinyRun.Said()))
                .hasMessageContaining("learning_rate.schedule: cosine", "begin another run from its tuned weights");
    }

    /// Replaces text in a file, and puts the old content back when it is closed.
    @SuppressWarnings("ArrayRecordComponent") // a file and its content, never compared
    private record Edit(Path file, byte[] old) implements AutoCloseable {
        static Edit replace(Path file, String from, String to) throws IOException {
            byte[] old = Files.readAllBytes(file);
            Files.writeString(file, Files.readString(file).replaceFirst(from, to));
            assertThat(Files.readAllBytes(file)).isNotEqualTo(old);
            return new Edit(file, old);
        }

        @Override
        public void close() throws IOException {
            Files.write(file, old);
        }
    }

    @Test
    void aResumeNamesThePartOfTheModelThatChanged() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Path reference = temporary.resolve("reference");
        TinyModels.writeTrainable(reference);
        Recipe recipe = tiny.recipe("run", "train.reference='" + reference + "'");
        TinyRun.Said said = new TinyRun.Said();
        said.stopAfter = 3;
        tiny.run(recipe, false, said);
        List<List<String>> changes = List.of(
                List.of(
                        "model.scheduler_sha256",
                        "model/scheduler/scheduler_config.json",
                        "\"beta_end\": *[0-9.]+",
                        "\"beta_end\": 0.02"),
                List.of("model.unet_config_sha256", "model/unet/config.json", "\\{", "{\"shiny\": 0.5,"),
                List.of(
                        "model.vae_config_sha256",
                        "model/vae/config.json",
                        "\"scaling_factor\": *[0-9.]+",
                        "\"scaling_factor\": 0.19"),
                List.of(
                        "model.text_encoder_config_sha256",
                        "model/text_encoder/config.json",
                        "\\{",
                        "{\"shiny\": 0.5,"),
                List.of("model.tokenizer_sha256", "model/tokenizer/vocab.json", "\\}", " }"),
                List.of("reference.unet_config_sha256", "reference/unet/config.json", "\\{", "{\"shiny\": 0.5,"));
        for (List<String> change : changes) {
            try (Edit edit = Edit.replace(temporary.resolve(change.get(1)), change.get(2), change.get(3))) {
                assertThatThrownBy(() -> tiny.run(recipe, true, new TinyRun.Said()))
                        .as(edit.file().toString())
                        .hasMessageContaining("manifest.json: " + change.get(0) + ": the run was begun with")
                        .hasMessageContaining("restore the original, or begin another run");
            }
        }
        Path unet = reference.resolve("unet/diffusion_pytorch_model.safetensors");
        byte[] weights = Files.readAllBytes(unet);
        byte[] changed = weights.clone();
        changed[changed.length - 2] ^= 1;
        Files.write(unet, changed);
        assertThatThrownBy(() -> tiny.run(recipe, true, new TinyRun.Said()))
                .hasMessageContaining("reference.unet_sha256: the run was begun with");
        Files.write(unet, weights);
        // What decides no number may change: comments of tools in configs, other files beside a tokenizer.
        Edit.replace(temporary.resolve("model/unet/config.json"), "\\{", "{\"_name_or_path\": \"x\",");
        Files.writeString(temporary.resolve("model/tokenizer/README.md"), "x");
        assertThat(tiny.run(recipe, true, new TinyRun.Said()).finished()).isTrue();
    }

    @Test
    void anotherCpuIsAWarning() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        TinyRun.Said said = new TinyRun.Said();
        said.stopAfter = 3;
        tiny.run(tiny.recipe("run"), false, said);
        Path manifest = tiny.output("run").resolve("manifest.json");
        Files.writeString(
                manifest, Files.readString(manifest).replaceAll("\"cpu\": *\"[^\"]*\"", "\"cpu\": \"avx2 fma\""));
        TinyRun.Said again = new TinyRun.Said();
        assertThat(tiny.run(tiny.recipe("run"), true, again).finished()).isTrue();
        assertThat(again.warnings)
                .anySatisfy(warning -> assertThat(warning)
                        .contains("cpu: the run was begun with avx2 fma", "the last bits of the result may differ"));
    }

    @Test
    void inputsAndOutputsOfARunMayMove() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        tiny.run(tiny.recipe("whole"));
        TinyRun.Said said = new TinyRun.Said();
        said.stopAfter = 3;
        tiny.run(tiny.recipe("run"), false, said);
        tiny.rename("run", "moved");
        Files.move(tiny.model(), temporary.resolve("model2"));
        Files.move(tiny.data(), temporary.resolve("pairs2"));
        Recipe moved = tiny.recipe(
                "moved", "model=" + temporary.resolve("model2"), "data.paths=[" + temporary.resolve("pairs2") + "]");
        assertThat(tiny.run(moved, true, new TinyRun.Said()).finished()).isTrue();
        assertThat(weights(tiny.output("moved"), 6)).isEqualTo(weights(tiny.output("whole"), 6));
        // The same path with other contents is another input.
        Path unet = temporary.resolve("model2/unet/diffusion_pytorch_model.safetensors");
        byte[] bytes = Files.readAllBytes(unet);
        bytes[bytes.length - 2] ^= 1;
        Files.write(unet, bytes);
        assertThatThrownBy(() -> tiny.run(moved, true, new TinyRun.Said()))
                .hasMessageContaining("model.unet_sha256: the run was begun with");
    }

    /// Steps of many micro-batches, one of which is interrupted by another thread.
    @Test
    @Timeout(300)
    void aStopInsideAStepDropsTheStepAndLosesNothing() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        String[] long60 = {"train.steps=3", "train.pairs_per_step=60", "train.micro_batch=1", "checkpoint.every=1"};
        Recipe recipe = tiny.recipe("run", long60);
        tiny.run(recipe);
        tiny.rename("run", "whole");
        CountDownLatch firstStep = new CountDownLatch(1);
        Trainer.Listener listener = new Trainer.Listener() {
            @Override
            public void say(String message) {}

            @Override
            public void warn(String message) {}

            @Override
            public void stepped(long done, long of, double loss, OptionalDouble implicitAccuracy) {
                firstStep.countDown();
            }
        };
        TrainingResult result;
        try (Trainer trainer = Trainer.open(recipe, false, tiny.cache(), listener)) {
            Thread stopper = Thread.ofVirtual().start(() -> {
                try {
                    firstStep.await();
                    // A step takes some hundred milliseconds.
                    Thread.sleep(20);
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                }
                trainer.stop();
            });
            result = trainer.run();
            stopper.join();
        }
        assertThat(result.ending()).isEqualTo(TrainingResult.Ending.STOPPED);
        assertThat(result.steps()).as("the step in progress is dropped").isEqualTo(1);
        assertThat(result.checkpoint().getFileName()).hasToString(Checkpoint.name(1));
        assertThat(tiny.log("run")).hasSize(1);
        assertThat(tiny.run(recipe, true, new TinyRun.Said()).finished()).isTrue();
        tiny.assertSame("run", tiny.left("whole"));
    }

    @Test
    void aStopDuringAnEvaluationRepeatsTheEvaluation() throws IOException, InterruptedException {
        TinyRun tiny = TinyRun.in(temporary, 9);
        Recipe recipe = tiny.recipe("run", "evaluate.every=2", "samples={every: 2, prompts: [a cat], steps: 2}");
        tiny.run(recipe);
        tiny.rename("run", "whole");
        TinyRun.Said said = new TinyRun.Said();
        // The listener is called before the evaluation, which the stop interrupts.
        said.stopAfter = 4;
        TrainingResult result = tiny.run(recipe, false, said);
        assertThat(result.steps()).isEqualTo(4);
        assertThat(Files.readString(result.checkpoint().resolve("state.json"))).contains("reports_due");
        List<String> events = tiny.log("run").stream()
                .map(event -> event.get("event") + " " + event.get("step"))
                .toList();
        assertThat(events).contains("step 4").doesNotContain("evaluation 4");
        assertThat(tiny.run(recipe, true, new TinyRun.Said()).finished()).isTrue();
        tiny.assertSame("run", tiny.left("whole"));
    }
}
