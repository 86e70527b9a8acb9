package org.smpo.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.io.TorchWriter;

/// Checkpoints and folders in files of `torch.save` give the same model as in safetensors files.
final class TorchCheckpointTest {
    @TempDir
    private Path temporary;

    private Path folder;
    private Path safetensors;

    @BeforeEach
    void writeModels() throws IOException {
        folder = TinyModels.write(temporary.resolve("model"), Family.SD1);
        safetensors = temporary.resolve("model.safetensors");
        try (ModelFiles model = ModelFolder.open(folder)) {
            SingleFileWriter.write(model, safetensors, null, Map.of());
        }
    }

    private static Map<String, String> digests(ModelFiles model) throws IOException {
        Map<String, String> digests = new LinkedHashMap<>();
        for (String name : model.components().keySet()) {
            digests.put(name, model.sha256(name));
        }
        return digests;
    }

    private Map<String, String> expected() throws IOException {
        try (ModelFiles model = ModelFolder.open(folder)) {
            return digests(model);
        }
    }

    private SingleFile.Options options() {
        return new SingleFile.Options(folder, null, null);
    }

    @Test
    void aCheckpointOfTorchIsTheSameModel() throws IOException {
        for (boolean nested : List.of(true, false)) {
            Path checkpoint = temporary.resolve(nested ? "nested.ckpt" : "plain.pt");
            TorchWriter.write(checkpoint, TinyModels.torchTensors(safetensors), nested);
            try (ModelFiles model = SingleFile.open(checkpoint, options())) {
                assertThat(digests(model)).isEqualTo(expected());
                assertThat(model.family()).contains(Family.SD1);
            }
        }
    }

    @Test
    void aChangedElementIsAnotherModel() throws IOException {
        Map<String, TorchWriter.Tensor> tensors = TinyModels.torchTensors(safetensors);
        tensors.get("model.diffusion_model.out.2.bias").bytes()[0] ^= 1;
        Path checkpoint = temporary.resolve("changed.ckpt");
        TorchWriter.write(checkpoint, tensors, true);
        try (ModelFiles model = SingleFile.open(checkpoint, options())) {
            assertThat(digests(model).get("unet")).isNotEqualTo(expected().get("unet"));
            assertThat(digests(model).get("vae")).isEqualTo(expected().get("vae"));
        }
    }

    @Test
    void damagedBytesAreRefused() throws IOException {
        Path checkpoint = temporary.resolve("damaged.ckpt");
        TorchWriter.write(checkpoint, TinyModels.torchTensors(safetensors), true);
        byte[] bytes = Files.readAllBytes(checkpoint);
        bytes[bytes.length / 2] ^= 1;
        Files.write(checkpoint, bytes);
        assertThatThrownBy(() -> SingleFile.open(checkpoint, options()))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("damaged.ckpt")
                .hasMessageContaining("damaged bytes");
    }

    /// A safetensors file under a torch file's name, and the reverse.
    @Test
    void theContentDecidesNotTheName() throws IOException {
        Path renamed = Files.copy(safetensors, temporary.resolve("renamed.ckpt"));
        try (ModelFiles model = SingleFile.open(renamed, options())) {
            assertThat(digests(model)).isEqualTo(expected());
        }
        Path nameless = temporary.resolve("nameless");
        TorchWriter.write(nameless, TinyModels.torchTensors(safetensors), true);
        try (ModelFiles model = SingleFile.open(nameless, options())) {
            assertThat(digests(model)).isEqualTo(expected());
        }
        // The promise of the name counts: nothing that unpickles a file called so should be fed with pickles.
        Path promised = Files.move(nameless, temporary.resolve("promised.safetensors"));
        assertThatThrownBy(() -> SingleFile.open(promised, options())).hasMessageContaining("promised.safetensors");
    }

    @Test
    void aFolderOfTorchFilesIsTheSameModel() throws IOException {
        Map<String, String> expected = expected();
        for (String component : List.of("unet", "vae", "text_encoder")) {
            boolean text = component.equals("text_encoder");
            Path old = folder.resolve(component)
                    .resolve(text ? "model.safetensors" : "diffusion_pytorch_model.safetensors");
            Path bin = folder.resolve(component).resolve(text ? "pytorch_model.bin" : "diffusion_pytorch_model.bin");
            TorchWriter.write(bin, TinyModels.torchTensors(old), false);
            Files.delete(old);
        }
        try (ModelFiles model = ModelFolder.open(folder)) {
            assertThat(digests(model)).isEqualTo(expected);
        }
        Path out = temporary.resolve("out");
        try (ModelFiles model = ModelFolder.open(folder)) {
            FolderWriter.write(model, out, FolderWriter.Options.unchanged());
        }
        assertThat(out.resolve("unet/diffusion_pytorch_model.safetensors")).exists();
        assertThat(out.resolve("unet/diffusion_pytorch_model.bin")).doesNotExist();
    }

    @Test
    void aVaeOfItsOwnReplacesTheFiles() throws IOException {
        Path other = TinyModels.write(temporary.resolve("other"), Family.SD1);
        Map<String, TorchWriter.Tensor> vae = new LinkedHashMap<>();
        TinyModels.torchTensors(safetensors).forEach((name, tensor) -> {
            if (name.startsWith("first_stage_model.")) {
                vae.put(name.substring("first_stage_model.".length()), tensor);
            }
        });
        vae.get("decoder.conv_out.bias").bytes()[1] ^= 1;
        // CompVis' names without their prefix, as files of a VAE alone have them, and a discriminator's leftovers.
        vae.put("loss.logvar", new TorchWriter.Tensor(org.smpo.io.DType.F32, List.of(1L), new byte[4]));
        Path file = temporary.resolve("vae.ckpt");
        TorchWriter.write(file, vae, true);
        String changed;
        try (ModelFiles model = SingleFile.open(safetensors, new SingleFile.Options(folder, null, file, "--"))) {
            changed = model.sha256("vae");
            assertThat(changed).isNotEqualTo(expected().get("vae"));
            assertThat(model.sha256("unet")).isEqualTo(expected().get("unet"));
            assertThat(model.notices()).anyMatch(line -> line.contains("vae: taken from " + file));
            FolderWriter.write(model, temporary.resolve("out"), FolderWriter.Options.unchanged());
        }
        // The same from the folder that was written, from its VAE's folder and from its VAE's file.
        List<Path> same = new ArrayList<>(List.of(temporary.resolve("out"), temporary.resolve("out/vae")));
        same.add(temporary.resolve("out/vae/diffusion_pytorch_model.safetensors"));
        for (Path path : same) {
            try (ModelFiles model = SingleFile.open(safetensors, new SingleFile.Options(other, null, path, "--"))) {
                assertThat(model.sha256("vae")).as(path.toString()).isEqualTo(changed);
            }
        }
        assertThatThrownBy(() -> SingleFile.open(
                        safetensors, new SingleFile.Options(folder, null, folder.resolve("unet"), "--")))
                .hasMessageContaining("expected AutoencoderKL, found UNet2DConditionModel");
    }
}
