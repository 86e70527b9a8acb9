package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.smpo.io.Safetensors;
import org.smpo.io.TensorEntry;

/// An open LoRA file of whichever form. The adapters stay in the memory-mapped file: closing this ends them.
public final class LoraFile implements AutoCloseable {
    /// How the file names its tensors.
    public enum Form {
        /// `unet.….lora_A.weight`, and what diffusers wrote before.
        PEFT("peft"),
        /// `lora_unet_….lora_down.weight`.
        KOHYA("kohya");

        private final String id;

        Form(String id) {
            this.id = id;
        }

        /// As a word of a command line.
        public String id() {
            return id;
        }
    }

    private final Safetensors file;
    private final Form form;
    private final Lora lora;

    private LoraFile(Safetensors file, Form form, Lora lora) {
        this.file = file;
        this.form = form;
        this.lora = lora;
    }

    /// Opens a file, or a folder that holds one under the name that diffusers or PEFT gives it. Names of SDXL's own
    /// code are taken to be those of the published SDXL.
    ///
    /// @throws ModelException when it holds no LoRA, or one of a kind that we do not support
    /// @throws IOException when it cannot be read
    public static LoraFile open(Path path) throws IOException {
        return open(path, null);
    }

    /// Opens a file whose base model has the given UNet.
    ///
    /// @param unet tells how blocks are numbered in the names of SDXL's own code; null: as in the published SDXL
    public static LoraFile open(Path path, UNetConfig unet) throws IOException {
        Path weights = path;
        if (Files.isDirectory(path)) {
            weights = List.of(PeftFile.FILE_NAME, "adapter_model.safetensors").stream()
                    .map(path::resolve)
                    .filter(Files::exists)
                    .findFirst()
                    .orElseThrow(() -> new ModelException(
                            path, "folder", PeftFile.FILE_NAME + " or adapter_model.safetensors", "neither"));
        }
        SingleFile.refusePickle(weights);
        Safetensors file = Safetensors.open(weights);
        try {
            boolean kohya = file.entries().stream().anyMatch(e -> e.name().startsWith("lora_"));
            Lora lora = kohya ? KohyaFile.read(file, unet) : PeftFile.read(file);
            return new LoraFile(file, kohya ? Form.KOHYA : Form.PEFT, lora);
        } catch (IOException | RuntimeException e) {
            file.close();
            throw e;
        }
    }

    /// Whether a file's tensors are adapters rather than a model.
    public static boolean isLora(Path path) throws IOException {
        if (Files.isDirectory(path)) {
            return !Files.exists(path.resolve("config.json"))
                    && (Files.exists(path.resolve(PeftFile.FILE_NAME))
                            || Files.exists(path.resolve("adapter_model.safetensors")));
        }
        SingleFile.refusePickle(path);
        try (Safetensors file = Safetensors.open(path)) {
            return file.entries().stream().map(TensorEntry::name).anyMatch(n -> n.contains("lora"));
        }
    }

    public Path path() {
        return file.path();
    }

    public Form form() {
        return form;
    }

    public Lora lora() {
        return lora;
    }

    @Override
    public void close() {
        file.close();
    }
}
