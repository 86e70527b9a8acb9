package org.smpo.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.smpo.io.Closer;
import org.smpo.io.TensorEntry;
import org.smpo.io.TensorFile;

/// An open LoRA file in any format. The adapters are views of the memory-mapped file and end when it is
/// closed.
public final class LoraFile implements AutoCloseable {
    /// Naming scheme of a file's tensors.
    public enum Format {
        /// `unet.….lora_A.weight`, and the older names of diffusers.
        PEFT("peft"),
        /// `lora_unet_….lora_down.weight`.
        KOHYA("kohya");

        private final String id;

        Format(String id) {
            this.id = id;
        }

        /// Name on command lines.
        public String id() {
            return id;
        }
    }

    private final TensorFile file;
    private final Format format;
    private final Lora lora;
    private final List<String> notices;

    private LoraFile(TensorFile file, Format format, Lora lora, Set<String> notices) {
        this.file = file;
        this.format = format;
        this.lora = lora;
        this.notices = List.copyOf(notices);
    }

    /// Opens a file, or a folder that holds one under the name that diffusers or PEFT gives it. Names of
    /// SDXL's own code are taken to be those of the published SDXL.
    ///
    /// @throws ModelException when it holds no LoRA, or one of a kind that we do not support
    /// @throws IOException when it cannot be read
    public static LoraFile open(Path path) throws IOException {
        return open(path, null);
    }

    /// Opens a file whose base model has the given UNet.
    ///
    /// @param unet Config of the base model's UNet, which decides the block numbers in the names of
    ///     SDXL's own code; null: that of the published SDXL
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
        SingleFile.requireFile(weights);
        Closer opened = new Closer();
        try {
            TensorFile file = opened.add(TensorFile.open(weights));
            Set<String> notices = new LinkedHashSet<>();
            boolean kohya = file.entries().stream().anyMatch(e -> e.name().startsWith("lora_"));
            Lora lora = kohya ? KohyaFile.read(file, unet, notices) : PeftFile.read(file, notices);
            return new LoraFile(file, kohya ? Format.KOHYA : Format.PEFT, lora, notices);
        } catch (IOException | RuntimeException e) {
            opened.closeAfter(e);
            throw e;
        }
    }

    /// The notice about an embedding that is stored with the adapters.
    static String embeddingNotice(String name) {
        return "the textual inversion embedding \"" + name + "\" is left out; prompts cannot use it";
    }

    /// Whether a file's tensors are adapters rather than a model.
    public static boolean isLora(Path path) throws IOException {
        if (Files.isDirectory(path)) {
            return !Files.exists(path.resolve("config.json"))
                    && (Files.exists(path.resolve(PeftFile.FILE_NAME))
                            || Files.exists(path.resolve("adapter_model.safetensors")));
        }
        SingleFile.requireFile(path);
        try (TensorFile file = TensorFile.open(path)) {
            return file.entries().stream().map(TensorEntry::name).anyMatch(n -> n.contains("lora"));
        }
    }

    public Path path() {
        return file.path();
    }

    public Format format() {
        return format;
    }

    public Lora lora() {
        return lora;
    }

    /// Ignored content of the file besides the adapters, one line each.
    public List<String> notices() {
        return notices;
    }

    @Override
    public void close() {
        file.close();
    }
}
