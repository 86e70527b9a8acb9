package org.smpo.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.smpo.evaluate.EvaluatedModel;
import org.smpo.model.SingleFile;
import org.smpo.train.FinishedRun;

/// A model of a command line: `[NAME=]PATH[+LORA[:WEIGHT]]...`, the path of a diffusers folder, a checkpoint, or the
/// folder of a training run.
///
/// A path that is there as it stands is taken as it stands, whatever characters are in it. Without a name a model is
/// called as its file or folder is.
final class ModelArgument {
    private ModelArgument() {}

    /// @param options of checkpoints; a folder has everything itself
    /// @throws IllegalArgumentException when there is no such file, or a weight is no number
    /// @throws IOException when a run's folder cannot be read or has no model yet
    static EvaluatedModel parse(String text, SingleFile.Options options) throws IOException {
        String name = null;
        String rest = text;
        int equals = text.indexOf('=');
        if (equals > 0 && !Files.exists(Path.of(text)) && text.indexOf('/') < 0 | text.indexOf('/') > equals) {
            name = text.substring(0, equals);
            rest = text.substring(equals + 1);
        }
        List<String> parts = Files.exists(Path.of(rest)) ? List.of(rest) : List.of(rest.split("\\+", -1));
        Path path = existing(parts.getFirst());
        List<EvaluatedModel.Adapter> loras = new ArrayList<>();
        for (String part : parts.subList(1, parts.size())) {
            loras.add(adapter(part));
        }
        String called =
                name == null ? called(path, parts.size() > 1 ? loras.getLast().file() : null) : name;
        if (!FinishedRun.isRun(path)) {
            return new EvaluatedModel(called, path, options, loras, Optional.empty());
        }
        FinishedRun run = FinishedRun.open(path);
        run.lora().ifPresent(file -> loras.addFirst(new EvaluatedModel.Adapter(file, 1)));
        SingleFile.Options own = run.config().isPresent()
                ? new SingleFile.Options(run.config().get(), options.predictionType())
                : options;
        return new EvaluatedModel(
                called, run.model(), own, loras, Optional.of(new EvaluatedModel.RunRecords(run.log(), run.recipe())));
    }

    private static EvaluatedModel.Adapter adapter(String text) {
        int colon = text.lastIndexOf(':');
        if (colon < 0 || Files.exists(Path.of(text))) {
            return new EvaluatedModel.Adapter(existing(text), 1);
        }
        String weight = text.substring(colon + 1);
        try {
            return new EvaluatedModel.Adapter(existing(text.substring(0, colon)), Double.parseDouble(weight));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(
                    "MODEL: " + text + ": expected LORA:WEIGHT, got the weight " + weight, e);
        }
    }

    private static Path existing(String text) {
        Path path = Path.of(text);
        if (text.isEmpty() || !Files.exists(path)) {
            throw new IllegalArgumentException("MODEL: " + text + ": expected a folder or a file, found nothing");
        }
        return path;
    }

    private static String called(Path path, Path lora) {
        Path file = (lora == null ? path : lora).toAbsolutePath().normalize().getFileName();
        String name = file == null ? path.toString() : file.toString().replaceFirst("\\.safetensors$", "");
        return name.length() > 60 ? name.substring(0, 60) : name;
    }
}
