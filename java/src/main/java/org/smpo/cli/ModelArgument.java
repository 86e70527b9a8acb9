package org.smpo.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.checkpoint.SingleFile;
import org.smpo.evaluate.EvaluatedModel;
import org.smpo.generate.NegativeCondition;
import org.smpo.io.HubCache;
import org.smpo.train.FinishedRun;

/// A model of a command line: `[NAME=]PATH[+LORA[:WEIGHT]]...[~NEGATIVE]`, the path of a diffusers
/// folder, a checkpoint, or the folder of a training run. The negative network is
/// `PATH[+LORA[:WEIGHT]]...`, or `+LORA[:WEIGHT]...` for the model's own weights with these adapters.
///
/// A path that is there as it stands is taken as it stands, whatever characters are in it. Without a
/// name a model is called as its file or folder is.
final class ModelArgument {
    /// A name has no slash, so that a path with an equals sign further on is none.
    private static final Pattern NAMED = Pattern.compile("(?<name>[^/=]+)=(?<rest>.+)");

    /// The part of an option that names a model: its files with adapters.
    private record ModelPart(
            Path path, SingleFile.Options options, List<EvaluatedModel.Adapter> loras, FinishedRun run) {}

    private ModelArgument() {}

    /// Whether one of several texts names a negative network.
    static boolean haveNegative(List<String> texts) throws IOException {
        for (String text : texts) {
            if (tilde(rest(text)) >= 0) {
                return true;
            }
        }
        return false;
    }

    /// @param options Options for single-file checkpoints; folders need none
    /// @param condition Condition of the negative network, where the text names one
    /// @param warnings Receives a warning about a network that was trained for another purpose
    /// @throws IllegalArgumentException when there is no such file, or a weight is no number
    /// @throws IOException when a run's folder cannot be read or has no model yet
    static EvaluatedModel parse(
            String text, SingleFile.Options options, NegativeCondition condition, Consumer<String> warnings)
            throws IOException {
        String rest = rest(text);
        int tilde = tilde(rest);
        String positive = tilde < 0 ? rest : rest.substring(0, tilde);
        ModelPart files = files(positive, options);
        String name = rest.equals(text) ? called(positive) : text.substring(0, text.length() - rest.length() - 1);
        Optional<EvaluatedModel.RunRecords> records = Optional.empty();
        if (files.run() != null) {
            records = Optional.of(
                    new EvaluatedModel.RunRecords(files.run().log(), files.run().recipe()));
        }
        EvaluatedModel model =
                new EvaluatedModel(name, files.path(), files.options(), files.loras(), records, Optional.empty());
        warnOfNegative(Path.of(parts(positive).getFirst()), warnings);
        for (String lora : parts(positive).subList(1, parts(positive).size())) {
            warnOfNegative(adapter(lora).file(), warnings);
        }
        return tilde < 0 ? model : model.with(negative(rest.substring(tilde + 1), model, options, condition));
    }

    /// @param text `PATH[+LORA[:WEIGHT]]...` or `+LORA[:WEIGHT]...`
    /// @param model Model whose negative network it is
    static EvaluatedModel.Negative negative(
            String text, EvaluatedModel model, SingleFile.Options options, NegativeCondition condition)
            throws IOException {
        if (text.startsWith("+")) {
            return adapted(List.of(text.substring(1).split("\\+", -1)), model, condition);
        }
        ModelPart files = files(text, options);
        return new EvaluatedModel.Negative(
                called(text), files.path(), files.options(), List.of(), files.loras(), condition);
    }

    /// @param loras `LORA[:WEIGHT]` each
    /// @param model Model whose weights, with its own adapters, they change
    static EvaluatedModel.Negative adapted(List<String> loras, EvaluatedModel model, NegativeCondition condition)
            throws IOException {
        List<EvaluatedModel.Adapter> adapters = new ArrayList<>();
        for (String lora : loras) {
            adapters.add(adapter(lora));
        }
        return new EvaluatedModel.Negative(
                nameOf(adapters.getLast().file()), model.path(), model.options(), model.loras(), adapters, condition);
    }

    /// Warns of a network that is to lead away from something, where it is used by itself.
    static void warnOfNegative(Path path, Consumer<String> warnings) {
        FinishedRun.negativeRun(path)
                .ifPresent(run -> warnings.accept(path + ": was trained to be a negative network: give it as"
                        + " --negative-model, or NAME=MODEL~" + run));
    }

    /// The text without its name.
    private static String rest(String text) {
        Matcher named = NAMED.matcher(text);
        return !Files.exists(Path.of(text)) && named.matches() ? named.group("rest") : text;
    }

    /// The place of the tilde between a model and its negative network; -1 without one. Paths may have
    /// tildes too: the first part of a model is there.
    private static int tilde(String rest) throws IOException {
        if (Files.exists(Path.of(rest))) {
            return -1;
        }
        for (int at = rest.lastIndexOf('~'); at > 0; at = rest.lastIndexOf('~', at - 1)) {
            if (Files.exists(find(parts(rest.substring(0, at)).getFirst()))) {
                return at;
            }
        }
        return -1;
    }

    private static List<String> parts(String text) {
        return Files.exists(Path.of(text)) ? List.of(text) : List.of(text.split("\\+", -1));
    }

    private static ModelPart files(String text, SingleFile.Options options) throws IOException {
        List<String> parts = parts(text);
        Path path = existing(parts.getFirst());
        List<EvaluatedModel.Adapter> loras = new ArrayList<>();
        for (String part : parts.subList(1, parts.size())) {
            loras.add(adapter(part));
        }
        if (!FinishedRun.isRun(path)) {
            return new ModelPart(path, options, loras, null);
        }
        FinishedRun run = FinishedRun.open(path);
        run.lora().ifPresent(file -> loras.addFirst(new EvaluatedModel.Adapter(file, 1)));
        return new ModelPart(run.model(), options.or(run.options()), loras, run);
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
        Path path = find(text);
        if (text.isEmpty() || !Files.exists(path)) {
            throw new IllegalArgumentException("MODEL: " + text + ": expected a folder or a file, found nothing");
        }
        return path;
    }

    private static Path find(String text) throws IOException {
        return HubCache.standard().find(Path.of(text), HubCache.Kind.MODEL);
    }

    /// The name of a model that is given none: that of its last adapter, or its own.
    private static String called(String text) throws IOException {
        List<String> parts = parts(text);
        return nameOf(
                parts.size() == 1 ? Path.of(text) : adapter(parts.getLast()).file());
    }

    private static String nameOf(Path path) {
        Path file = path.toAbsolutePath().normalize().getFileName();
        String name = file == null ? path.toString() : file.toString().replaceFirst("\\.safetensors$", "");
        return name.substring(0, Math.min(name.length(), EvaluatedModel.LONGEST_NAME));
    }
}
