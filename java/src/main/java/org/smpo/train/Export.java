package org.smpo.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.smpo.checkpoint.FolderWriter;
import org.smpo.checkpoint.KohyaFile;
import org.smpo.checkpoint.Lora;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.PeftFile;
import org.smpo.checkpoint.SingleFileWriter;
import org.smpo.checkpoint.Weight;
import org.smpo.ffi.Engine;
import org.smpo.ffi.LoraSpec;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.io.AtomicFiles;
import org.smpo.io.ByteView;
import org.smpo.io.DType;
import org.smpo.io.Precision;
import org.smpo.io.Safetensors;
import org.smpo.io.SafetensorsWriter;
import org.smpo.io.TensorEntry;
import org.smpo.network.UNet;
import org.smpo.recipe.ExportRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.WeightsRecipe;

/// The tuned model of a checkpoint in the formats that other programs read.
final class Export {
    private static final String DOWN = ".lora_A.weight";
    private static final String UP = ".lora_B.weight";
    private static final String UNET = "unet";
    private static final String EMA = "ema.";

    private final Engine engine;
    private final Recipe recipe;
    private final WeightsRecipe weights;
    private final String run;
    private final Map<String, String> metadata;

    /// @param recipe recipe of the run, which names the model that training started from
    /// @param metadata entries about the run for files that can hold them
    Export(Engine engine, Recipe recipe, Map<String, String> metadata) {
        this.engine = engine;
        this.recipe = recipe;
        this.weights = recipe.train().weights();
        this.run = RunFolder.name(recipe.output());
        this.metadata = metadata;
    }

    /// Writes every format.
    ///
    /// @param ema whether the EMA weights are written instead of the trained ones
    /// @param suffix suffix of the files' names: empty, or `-ema`
    /// @return the files and folders written
    List<Path> write(Checkpoint checkpoint, boolean ema, List<ExportRecipe.Format> formats, Path folder, String suffix)
            throws IOException {
        List<Path> written = new ArrayList<>();
        Path scratch = folder.resolve(".export" + suffix + ".safetensors");
        try {
            Path tuned = ema ? emaWeights(checkpoint, scratch) : checkpoint.policy();
            for (ExportRecipe.Format format : formats) {
                Path target = folder.resolve(
                        switch (format) {
                            case DIFFUSERS -> "model" + suffix;
                            case SINGLE_FILE -> run + suffix + ".safetensors";
                            // The name that diffusers looks for in a folder.
                            case LORA_PEFT -> PeftFile.FILE_NAME.replace(".", suffix + ".");
                            case LORA_KOHYA -> run + "-lora" + suffix + ".safetensors";
                        });
                write(tuned, format, target, folder.resolve(".merged" + suffix + ".safetensors"));
                written.add(target);
            }
        } finally {
            Files.deleteIfExists(scratch);
        }
        return written;
    }

    private void write(Path tuned, ExportRecipe.Format format, Path target, Path scratch) throws IOException {
        switch (format) {
            case DIFFUSERS, SINGLE_FILE -> {
                Path unet = tuned;
                try {
                    if (weights instanceof WeightsRecipe.Lora lora) {
                        unet = scratch;
                        merge(tuned, lora, unet);
                    }
                    writeModel(unet, format, target);
                } finally {
                    Files.deleteIfExists(scratch);
                }
            }
            case LORA_PEFT -> PeftFile.write(lora(tuned), target, null);
            case LORA_KOHYA -> {
                try (ModelFiles files = BaseModel.open(recipe)) {
                    KohyaFile.write(lora(tuned), target, files.family().orElseThrow(), files.unet(), null);
                }
            }
        }
    }

    private void writeModel(Path unet, ExportRecipe.Format format, Path target) throws IOException {
        try (ModelFiles files = BaseModel.open(recipe);
                ModelFiles changed = files.withWeights(UNET, unet)) {
            if (format == ExportRecipe.Format.SINGLE_FILE) {
                SingleFileWriter.write(changed, target, null, metadata);
                return;
            }
            // A run that is resumed after its end overwrites its model.
            AtomicFiles.writeDirectory(target, directory -> {
                Files.delete(directory);
                FolderWriter.write(changed, directory, FolderWriter.Options.unchanged());
            });
        }
    }

    /// Writes the EMA weights under the parameters' names.
    private static Path emaWeights(Checkpoint checkpoint, Path target) throws IOException {
        try (Safetensors state = Safetensors.open(checkpoint.optimizer())) {
            Map<String, TensorEntry> entries = new LinkedHashMap<>();
            List<SafetensorsWriter.Declaration> declarations = new ArrayList<>();
            for (TensorEntry entry : state.entries()) {
                if (entry.name().startsWith(EMA)) {
                    String name = entry.name().substring(EMA.length());
                    entries.put(name, entry);
                    declarations.add(new SafetensorsWriter.Declaration(name, DType.F32, entry.shape()));
                }
            }
            SafetensorsWriter.write(
                    target,
                    declarations,
                    Map.of("format", "pt"),
                    (entry, out) -> out.write(
                            entry.name(),
                            ByteView.of(state, entries.get(entry.name())).buffer()));
        }
        return target;
    }

    /// The adapters as a LoRA.
    private Lora lora(Path tuned) throws IOException {
        WeightsRecipe.Lora adapters = (WeightsRecipe.Lora) weights;
        Map<String, Weight> tensors = new TreeMap<>();
        try (Safetensors file = Safetensors.open(tuned)) {
            for (TensorEntry entry : file.entries()) {
                byte[] bytes = new byte[Math.toIntExact(entry.length())];
                ByteView.of(file, entry).copyTo(0, bytes, 0, bytes.length);
                tensors.put(entry.name(), Weight.of(entry.name(), entry.dtype(), entry.shape(), bytes));
            }
        }
        TreeMap<String, Lora.Module> modules = new TreeMap<>();
        for (Map.Entry<String, Weight> tensor : tensors.entrySet()) {
            if (tensor.getKey().endsWith(DOWN)) {
                String path = tensor.getKey().substring(0, tensor.getKey().length() - DOWN.length());
                Lora.Module module =
                        new Lora.Module(UNET, path, tensor.getValue(), tensors.get(path + UP), adapters.alpha(), false);
                modules.put(module.key(), module);
            }
        }
        Map<String, String> withBase = new TreeMap<>(metadata);
        try (ModelFiles files = BaseModel.open(recipe)) {
            files.family().ifPresent(family -> withBase.put(Lora.BASE, Lora.baseVersion(family)));
        }
        return new Lora(modules, withBase);
    }

    /// Adds the adapters to the UNet's weights, in fp32, and writes them.
    private void merge(Path tuned, WeightsRecipe.Lora adapters, Path target) throws IOException {
        Lora lora = lora(tuned);
        try (ModelFiles files = BaseModel.open(recipe);
                UNet unet = UNet.load(engine, files.component(UNET), ModelOptions.frozen(Precision.FP32.dtype()))) {
            NativeModel network = unet.network();
            network.addLora(new LoraSpec(
                    adapters.rank(),
                    adapters.alpha(),
                    lora.modules().values().stream().map(Lora.Module::path).toList()));
            for (Lora.Module module : lora.modules().values()) {
                write(network, module.path() + DOWN, module.down());
                write(network, module.path() + UP, module.up());
            }
            network.mergeLora(1);
            Checkpoint.writeParameters(target, network, parameter -> true);
        }
    }

    private static void write(NativeModel network, String name, Weight weight) throws IOException {
        network.write(name, DType.F32, weight.shape(), weight.buffer());
    }
}
