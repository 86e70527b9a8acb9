package org.smpo.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.checkpoint.SingleFile;
import org.smpo.evaluate.EvaluatedModel;
import org.smpo.io.HubCache;
import org.smpo.train.FinishedRun;

/// A model of a command line: `[NAME=]PATH[+LORA[:WEIGHT]]...`, the path of a diffusers folder, a checkpoint, or the
/// folder of a training run.
///
/// A path that is there as it stands is taken as it stands, whatever characters are in it. Without a name a model is
/// called as its file or folder is.
final class ModelArgument {
    /// A name has no slash, so that a path with an equals sign further on is none.
    private static final Pattern NAMED = Pattern.compile("(?<name>[^/=]+)=(?<rest>.+)");

    private ModelArgument() {}

    /// @param options Options for single-file checkpoints; folders need none
    /// @throws IllegalArgumentException when there is no such file, or a weight is no number
    /// @throws IOException when a run's folder cannot be read or has no model yet
    static EvaluatedModel parse(String text, SingleFile.Options options) throws IOException {
        Matcher named = NAMED.matcher(text);
        boolean hasName = !Files.exists(Path.of(text)) && named.matches();
        String rest = hasName ? named.group("rest") : text;
        List<String> parts = Files.exists(Path.of(rest)) ? List.of(rest) : List.of(rest.split("\\+", -1));
        Path path = existing(parts.getFirst());
        List<EvaluatedModel.Adapter> loras = new ArrayList<>();
        for (String part : parts.subList(1, parts.size())) {
            loras.add(adapter(part));
        }
        String called = hasName ? named.group("name") : called(Path.of(parts.getFirst()), loras);
        if (!FinishedRun.isRun(path)) {
            return new EvaluatedModel(called, path, options, loras, Optional.empty());
        }
        FinishedRun run = FinishedRun.open(path);
        run.lora().ifPresent(file -> loras.addFirst(new EvaluatedModel.Adapter(file, 1)));
        SingleFile.Options own = run.config().isPresent()
                ? new SingleFile.Options(run.config().get(), options.predictionType(), options.configOption())
                : options;
        return new EvaluatedModel(
                called, run.model(), own, loras, Optional.of(new EvaluatedModel.RunRecords(run.log(), run.recipe())));
    }

    private static EvaluatedModel.Adapter adapter(String text) throws IOException {
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

    private static Path existing(String text) throws IOException {
        Path path = HubCache.standard().find(Path.of(text), HubCache.Kind.MODEL);
        if (text.isEmpty() || !Files.exists(path)) {
            throw new IllegalArgumentException("MODEL: " + text + ": expected a folder or a file, found nothing");
        }
        return path;
    }

    private static String called(Path path, List<EvaluatedModel.Adapter> loras) {
        Path last = loras.isEmpty() ? path : loras.getLast().file();
        Path file = last.toAbsolutePath().normalize().getFileName();
        String name = file == null ? path.toString() : file.toString().replaceFirst("\\.safetensors$", "");
        return name.substring(0, Math.min(name.length(), EvaluatedModel.LONGEST_NAME));
    }
}
