package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.SingleFile;
import org.smpo.checkpoint.TinyModels;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;
import org.smpo.io.TorchWriter;

/// `smpo inspect` and `smpo convert` as a user runs them.
final class ModelFilesCommandTest {
    @TempDir
    private Path temporary;

    @Test
    void inspectDescribesAFolder() throws IOException {
        Path model = TinyModels.write(temporary.resolve("model"), Family.SDXL);
        Outcome outcome = smpo("inspect", model, "--json", "--resolution", "64x128", "--batch", "2");
        assertThat(outcome.code()).as(outcome.err()).isZero();
        JsonObject report = Json.parseObject("inspect", outcome.out());
        assertThat(report.string("class")).isEqualTo("StableDiffusionXLPipeline");
        JsonObject unet = report.object("components").object("unet");
        assertThat(unet.string("class")).isEqualTo("UNet2DConditionModel");
        assertThat(unet.object("dtypes").integer("F32")).isEqualTo(unet.integer("parameters"));
        assertThat(unet.integer("bytes")).isEqualTo(4 * unet.integer("parameters"));
        assertThat(unet.string("sha256")).hasSize(64);
        assertThat(report.object("memory").integer("height")).isEqualTo(64);
        assertThat(report.object("memory").integer("train_state_bytes")).isEqualTo(20 * unet.integer("parameters"));

        Outcome text = smpo("inspect", model, "--no-digests");
        assertThat(text.code()).isZero();
        assertThat(text.out()).contains("StableDiffusionXLPipeline", "text_encoder_2", "generate", "train_lora");
    }

    @Test
    void convertGoesToACheckpointAndBack() throws IOException {
        Path model = TinyModels.write(temporary.resolve("model"), Family.SD2);
        Path checkpoint = temporary.resolve("model.safetensors");
        Path back = temporary.resolve("back");
        assertThat(smpo("convert", model, checkpoint, "--to", "single-file").code())
                .isZero();
        Outcome outcome = smpo("convert", checkpoint, back, "--to", "diffusers", "--config", model);
        assertThat(outcome.code()).as(outcome.err()).isZero();
        String weights = "unet/diffusion_pytorch_model.safetensors";
        assertThat(back.resolve(weights)).hasSameBinaryContentAs(model.resolve(weights));
        assertThat(smpo("inspect", checkpoint, "--config", model).code()).isZero();

        Path half = temporary.resolve("half");
        assertThat(smpo("convert", model, half, "--to", "diffusers", "--dtype", "fp16", "--variant", "fp16")
                        .code())
                .isZero();
        assertThat(half.resolve("unet/diffusion_pytorch_model.fp16.safetensors"))
                .exists();
        assertThat(Files.size(half.resolve("unet/diffusion_pytorch_model.fp16.safetensors")))
                .isLessThan(Files.size(model.resolve(weights)) * 6 / 10);
    }

    /// A `.ckpt` file, whose tensors are the same, gives the same report and the same folder.
    @Test
    void aTorchCheckpointIsInspectedAndConverted() throws IOException {
        Path model = TinyModels.write(temporary.resolve("model"), Family.SD1);
        Path checkpoint = temporary.resolve("model.safetensors");
        assertThat(smpo("convert", model, checkpoint, "--to", "single-file").code())
                .isZero();
        Path torch = temporary.resolve("model.ckpt");
        TorchWriter.write(torch, TinyModels.torchTensors(checkpoint), true);
        Outcome report = smpo("inspect", torch, "--config", model, "--json");
        assertThat(report.code()).as(report.err()).isZero();
        JsonObject unet =
                Json.parseObject("inspect", report.out()).object("components").object("unet");
        Outcome original = smpo("inspect", model, "--json");
        assertThat(unet.string("sha256"))
                .isEqualTo(Json.parseObject("inspect", original.out())
                        .object("components")
                        .object("unet")
                        .string("sha256"));
        Path back = temporary.resolve("back");
        Outcome converted = smpo("convert", torch, back, "--to", "diffusers", "--config", model);
        assertThat(converted.code()).as(converted.err()).isZero();
        String weights = "unet/diffusion_pytorch_model.safetensors";
        assertThat(back.resolve(weights)).hasSameBinaryContentAs(model.resolve(weights));
    }

    @Test
    void wrongUsageEndsWithTwoAndBrokenModelsWithOne() throws IOException {
        Path model = TinyModels.write(temporary.resolve("model"), Family.SD1);
        Path out = temporary.resolve("out");
        Object[][] wrong = {
            {"inspect", temporary.resolve("nothing")},
            {"inspect", model, "--resolution", "100"},
            {"inspect", model, "--batch", "0"},
            {"convert", temporary.resolve("nothing"), out, "--to", "diffusers"},
            {"convert", model, model, "--to", "diffusers"},
            {"convert", model, out},
            {"convert", model, out, "--to", "onnx"},
            {"convert", model, out, "--to", "kohya"},
            {"convert", model, out, "--to", "diffusers", "--dtype", "int8"},
            {"convert", model, out, "--to", "single-file", "--variant", "fp16"},
            {"convert", model, temporary.resolve("no/such/folder"), "--to", "diffusers"}
        };
        for (Object[] arguments : wrong) {
            Outcome outcome = smpo(arguments);
            assertThat(outcome.code())
                    .as(Arrays.toString(arguments) + outcome.err())
                    .isEqualTo(2);
            assertThat(outcome.err()).isNotBlank().doesNotContain("\tat ");
        }
        // A checkpoint has no tokenizer, and this one does not have a published size.
        Path checkpoint = temporary.resolve("model.safetensors");
        smpo("convert", model, checkpoint, "--to", "single-file");
        Outcome unfit = smpo("convert", checkpoint, out, "--to", "diffusers");
        assertThat(unfit.code()).isEqualTo(1);
        assertThat(unfit.err()).contains("--config").doesNotContain("\tat ");
        Files.delete(model.resolve("unet/config.json"));
        Outcome broken = smpo("inspect", model);
        assertThat(broken.code()).isEqualTo(1);
        assertThat(broken.err()).contains("unet/config.json");
        assertThat(out).doesNotExist();
    }

    /// The sum of a model's own difference is the model, in either format and with the other components of the base.
    @Test
    void differencesOfModelsAreAdded() throws IOException {
        Path base = TinyModels.writeRunnable(temporary.resolve("base"));
        Path other = TinyModels.write(temporary.resolve("other"), Family.SD1);
        Path sum = temporary.resolve("sum");
        assertThat(smpo("convert", base, sum, "--add", other + ":0.25", "--add", other + ":0.75")
                        .code())
                .isZero();
        Path single = temporary.resolve("sum.safetensors");
        assertThat(smpo("convert", base, single, "--to", "single-file", "--add", other + ":1")
                        .code())
                .isZero();
        try (ModelFiles start = ModelFiles.open(base);
                ModelFiles added = ModelFiles.open(other);
                ModelFiles folder = ModelFiles.open(sum);
                ModelFiles file = SingleFile.open(single, new SingleFile.Options(base, null, "--config"))) {
            for (ModelFiles model : List.of(folder, file)) {
                assertThat(model.sha256("unet")).isEqualTo(added.sha256("unet"));
                assertThat(model.sha256("vae")).isEqualTo(start.sha256("vae")).isNotEqualTo(added.sha256("vae"));
            }
        }
        try (Stream<Path> left = Files.list(temporary)) {
            assertThat(left.map(path -> path.getFileName().toString()))
                    .containsExactlyInAnyOrder("base", "other", "sum", "sum.safetensors");
        }
        Object[][] wrong = {
            {other, "expected MODEL:WEIGHT with a folder or a file as MODEL, found nothing there"},
            {other + ":much", "expected MODEL:WEIGHT, got the weight much"},
            {other + ":NaN", "expected a finite weight, got NaN"},
            {"nowhere:1", "found nothing there"},
        };
        for (Object[] one : wrong) {
            Outcome outcome = smpo("convert", base, temporary.resolve("wrong"), "--add", one[0]);
            assertThat(outcome.code()).isEqualTo(2);
            assertThat(outcome.err()).startsWith("--add: " + one[0]).contains(one[1].toString());
        }
        Path large = TinyModels.write(temporary.resolve("large"), Family.SDXL);
        Outcome unlike = smpo("convert", base, temporary.resolve("wrong"), "--add", large + ":1");
        assertThat(unlike.code()).isEqualTo(1);
        assertThat(unlike.err()).contains("as the base has it");
        assertThat(temporary.resolve("wrong")).doesNotExist();
    }
}
