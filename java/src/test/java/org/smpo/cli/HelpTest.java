package org.smpo.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.smpo.cli.Outcome.smpo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.smpo.schedule.Sampler;
import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;

/// Help texts: every option describes itself in a noun phrase or an instruction, and in the same words in every verb.
class HelpTest {
    /// Options that mean something else in each verb, with the reason.
    private static final Map<String, String> DIFFERENT = Map.ofEntries(
            Map.entry("--out", "each verb writes other files"),
            Map.entry(
                    "--seed",
                    "generate takes several seeds; evaluate counts upwards; trace and the demo seed other noise"),
            Map.entry("--batch", "score counts pairs; trace reads a file of tensors"),
            Map.entry("--steps", "trace counts inversion steps"),
            Map.entry("--threads", "data validate only decodes images"),
            Map.entry("--resume", "score resumes from its options, train and iterate from the recipe's folder"),
            Map.entry("--pairs", "demo draw counts pairs"),
            Map.entry("--temperature", "reward fit scales a reward; trace has the parameter of a method"),
            Map.entry("--target", "data weigh takes several; reward fit compares two sets"),
            Map.entry("--source", "data weigh takes several; reward fit compares two sets"),
            Map.entry("--dry-run", "train takes two steps; iterate prints commands"),
            Map.entry("--precision", "inspect estimates memory for one precision"),
            Map.entry("--eta", "trace adds noise after inversion steps"),
            Map.entry("--json", "data validate writes a file; doctor and inspect print"));

    private static final Set<String> BAD_BEGINNINGS = Set.of("Of", "In", "At", "As", "For", "Also", "Only", "Those");

    static List<CommandSpec> verbs() {
        List<CommandSpec> all = new ArrayList<>();
        collect(Main.commandLine(), all);
        return all;
    }

    private static void collect(CommandLine command, List<CommandSpec> into) {
        into.add(command.getCommandSpec());
        command.getSubcommands().values().forEach(sub -> collect(sub, into));
    }

    private static Stream<ArgSpec> arguments(CommandSpec verb) {
        return Stream.of(verb.options(), verb.positionalParameters()).flatMap(Collection::stream);
    }

    private static String text(ArgSpec argument) {
        return String.join(" ", argument.description());
    }

    @ParameterizedTest
    @MethodSource("verbs")
    void everyArgumentIsDescribedByAPhraseThatStandsAlone(CommandSpec verb) {
        arguments(verb).filter(argument -> !standard(argument)).forEach(argument -> {
            String text = text(argument);
            assertThat(text).as(verb.qualifiedName() + " " + argument).isNotBlank();
            assertThat(BAD_BEGINNINGS).as(text).doesNotContain(text.replaceFirst("[ ,].*", ""));
            assertThat(text).as(verb.qualifiedName() + " " + argument).doesNotContain("Default: ", "picture");
            assertThat(text).as("the first letter of: " + text).matches("(?s)[\\[A-Z].*");
        });
    }

    @ParameterizedTest
    @MethodSource("verbs")
    void everyDefaultIsShown(CommandSpec verb) {
        verb.options().stream()
                .filter(option -> option.defaultValue() != null && !option.hidden())
                .forEach(option -> assertThat(text(option))
                        .as(verb.qualifiedName() + " " + option.longestName())
                        .contains("(default"));
    }

    @Test
    void anOptionHasTheSameTextInEveryVerb() {
        Map<String, Map<String, String>> texts = new TreeMap<>();
        for (CommandSpec verb : verbs()) {
            for (OptionSpec option : verb.options()) {
                texts.computeIfAbsent(option.longestName(), name -> new TreeMap<>())
                        .merge(
                                text(option).replaceAll("\\(default: [^)]*\\)", "(default)"),
                                verb.qualifiedName(),
                                (first, second) -> first + ", " + second);
            }
        }
        DIFFERENT.keySet().forEach(name -> assertThat(texts).containsKey(name));
        texts.keySet().removeAll(DIFFERENT.keySet());
        texts.forEach((name, byText) -> assertThat(byText).as(name).hasSize(1));
    }

    @Test
    void namesOfSamplersAreThoseOfTheType() throws IOException {
        String help = smpo("generate", "--help").out();
        String guide = Files.readString(Path.of(System.getProperty("smpo.root"), "java/src/site/markdown/recipes.md"));
        for (Sampler.Kind sampler : Sampler.Kind.values()) {
            assertThat(help).contains(sampler.id());
            assertThat(guide).containsPattern("`samples.sampler`.*\\b" + sampler.id() + "\\b");
        }
        assertThat(help)
                .containsPattern("fp32, bf16;\\s+auto is bf16 on a GPU and fp32 on the CPU\\s+\\(default: auto\\)")
                .doesNotContain("${");
    }

    /// `--help` and `--version`, whose texts are picocli's.
    private static boolean standard(ArgSpec argument) {
        return argument instanceof OptionSpec option && (option.usageHelp() || option.versionHelp());
    }
}
