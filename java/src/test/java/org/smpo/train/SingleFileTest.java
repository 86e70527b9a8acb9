package org.smpo.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.ModelFolder;
import org.smpo.checkpoint.SingleFileWriter;
import org.smpo.checkpoint.TinyModels;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.checkpoint.Weight;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;
import org.smpo.io.TorchWriter;
import org.smpo.recipe.Recipe;

/// Training from a single file: the same numbers as from the folder that it came from.
final class SingleFileTest {
    @TempDir
    private Path temporary;

    private TinyRun tiny;
    private Path file;

    private static final Trainer.Listener SILENT = new Trainer.Listener() {
        @Override
        public void say(String message) {}

        @Override
        public void warn(String message) {}

        @Override
        public void stepped(long done, long of, double loss, OptionalDouble implicitAccuracy) {}
    };

    @BeforeEach
    void writeModel() throws IOException {
        tiny = TinyRun.in(temporary, 9);
        file = temporary.resolve("checkpoint.safetensors");
        try (ModelFiles model = ModelFolder.open(tiny.model())) {
            SingleFileWriter.write(model, file, null, Map.of());
        }
    }

    private Recipe recipe(String name, Path model, String... overrides) throws IOException {
        String yaml = tiny.yaml(name).replace("model: '" + tiny.model() + "'", "model: '" + model + "'");
        return Recipe.parse("recipe", yaml, List.of(overrides));
    }

    private TrainingResult run(Recipe recipe, boolean resume) throws IOException, InterruptedException {
        try (Trainer trainer = Trainer.open(recipe, resume, tiny.cache(), SILENT)) {
            return trainer.run();
        }
    }

    private List<Object> losses(String name) throws IOException {
        return Files.readAllLines(tiny.output(name).resolve("log.jsonl")).stream()
                .map(line -> {
                    try {
                        return Json.parseObject(name, line).asMap().get("loss");
                    } catch (IOException e) {
                        throw new java.io.UncheckedIOException(e);
                    }
                })
                .toList();
    }

    private Path torch() throws IOException {
        Map<String, TorchWriter.Tensor> tensors = new LinkedHashMap<>();
        try (TensorFile open = TensorFile.open(file)) {
            for (TensorEntry entry : open.entries()) {
                ByteBuffer buffer = Weight.of(open, entry).buffer();
                byte[] bytes = new byte[buffer.remaining()];
                buffer.get(bytes);
                tensors.put(entry.name(), new TorchWriter.Tensor(entry.dtype(), entry.shape(), bytes));
            }
        }
        Path checkpoint = temporary.resolve("checkpoint.ckpt");
        TorchWriter.write(checkpoint, tensors, true);
        return checkpoint;
    }

    @Test
    void theRunIsThatOfTheFolder() throws Exception {
        String config = "single_file.config=" + tiny.model();
        String formats = "export.formats=[diffusers, single_file]";
        run(recipe("folder", tiny.model(), formats), false);
        assertThat(run(recipe("file", file, config, formats), false).finished()).isTrue();
        assertThat(losses("file")).isEqualTo(losses("folder")).doesNotContainNull();
        run(recipe("torch", torch(), config), false);
        assertThat(losses("torch")).isEqualTo(losses("folder"));
        // Both exports are the tuned model of the folder's run.
        for (String path : List.of("model/unet/diffusion_pytorch_model.safetensors", "model/tokenizer/vocab.json")) {
            assertThat(tiny.output("file").resolve(path))
                    .hasSameBinaryContentAs(tiny.output("folder").resolve(path));
        }
        try (TensorFile exported = TensorFile.open(tiny.output("file").resolve("file.safetensors"));
                TensorFile expected = TensorFile.open(tiny.output("folder").resolve("folder.safetensors"))) {
            for (TensorEntry entry : expected.entries()) {
                assertThat(exported.segment(exported.entry(entry.name())).mismatch(expected.segment(entry)))
                        .as(entry.name())
                        .isEqualTo(-1);
            }
        }
        // A finished run of a file is evaluated with the file's own config folder.
        FinishedRun finished = FinishedRun.open(tiny.output("file"));
        assertThat(finished.model()).isEqualTo(tiny.output("file").resolve("model"));
        String resolved = Files.readString(tiny.output("folder").resolve("recipe.yaml"));
        assertThat(resolved).doesNotContain("single_file:");
    }

    @Test
    void aRunIsResumedAlsoWhereItsFilesHaveMoved() throws Exception {
        String config = "single_file.config=" + tiny.model();
        run(recipe("run", file, config, "train.steps=2"), false);
        Path moved = Files.move(file, temporary.resolve("moved.safetensors"));
        Path elsewhere = Files.move(tiny.model(), temporary.resolve("elsewhere"));
        Recipe more = recipe("run", moved, "single_file.config=" + elsewhere, "train.steps=6");
        assertThat(run(more, true).finished()).isTrue();
        // Another schedule under the moved folder is another run.
        Path scheduler = elsewhere.resolve("scheduler/scheduler_config.json");
        JsonObject json = Json.readObject(scheduler);
        Map<String, Object> changed = new LinkedHashMap<>(json.asMap());
        changed.put("beta_end", 0.013);
        Json.write(scheduler, json.with(changed));
        assertThatThrownBy(() -> run(more, true))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("scheduler_sha256");
    }

    @Test
    void thePredictionTypeIsTheRecipes() throws Exception {
        String config = "single_file.config=" + tiny.model();
        run(recipe("epsilon", file, config, "train.steps=4"), false);
        run(recipe("v", file, config, "train.steps=4", "single_file.prediction_type=v_prediction"), false);
        assertThat(losses("v").getLast()).isNotEqualTo(losses("epsilon").getLast());
        assertThat(Files.readString(tiny.output("v").resolve("model/scheduler/scheduler_config.json")))
                .contains("v_prediction");
        assertThatThrownBy(() -> run(recipe("x", tiny.model(), config), false))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("single_file: expected a model in a single file, found the folder");
        assertThatThrownBy(() -> run(recipe("x", file), false))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("name a diffusers folder that has its configs (recipe key single_file.config)");
    }

    /// A model whose vocabulary has the size of CLIP's trains without any tokenizer, and is exported
    /// with CLIP's.
    @Test
    void theVocabularyComesAlong() throws Exception {
        Path whole = TinyModels.writeTrainable(temporary.resolve("whole"), TokenizerFiles.Clip.TOKENS);
        Path single = temporary.resolve("whole.safetensors");
        try (ModelFiles model = ModelFolder.open(whole)) {
            SingleFileWriter.write(model, single, null, Map.of());
        }
        try (var files = Files.list(whole.resolve("tokenizer"))) {
            for (Path one : files.toList()) {
                Files.delete(one);
            }
        }
        Files.delete(whole.resolve("tokenizer"));
        String config = "single_file.config=" + whole;
        assertThat(run(recipe("run", single, config, "train.steps=1"), false).finished())
                .isTrue();
        Path exported = tiny.output("run").resolve("model");
        assertThat(Files.readAllBytes(exported.resolve("tokenizer/merges.txt")))
                .isEqualTo(new TokenizerFiles.Clip(TokenizerFiles.Clip.END)
                        .read("merges.txt")
                        .orElseThrow());
        assertThat(Json.readObject(exported.resolve("model_index.json")).strings("tokenizer"))
                .containsExactly("transformers", "CLIPTokenizer");
        // What was exported trains again, and to the same numbers as the model without tokenizer.
        run(recipe("again", exported, "train.steps=1"), false);
        run(recipe("without", whole, "train.steps=1"), false);
        assertThat(losses("without")).isEqualTo(losses("run"));
    }
}
