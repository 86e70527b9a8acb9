package org.smpo.cli;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.stream.Collectors;
import org.smpo.objective.Method;
import org.smpo.objective.Objective;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/// The options by which a command line chooses a preference method and its parameters: `--objective`, and one
/// option for each parameter that a method has, made from [Method#all].
final class MethodOptions {
    private static final String METHOD = "--objective";
    private static final String BY_DEFAULT = "smpo";

    /// Values of parameters that no method has a default for, where a command line can do without.
    private static final Map<String, Double> DEFAULTS = Map.of("beta", 2000.0);

    private MethodOptions() {}

    static void addTo(CommandSpec command) {
        command.addOption(OptionSpec.builder(METHOD)
                .paramLabel("NAME")
                .type(String.class)
                .description("Preference method: " + names() + " (default: " + BY_DEFAULT + ")")
                .build());
        Map<String, List<Method>> byParameter = new LinkedHashMap<>();
        for (Method method : Method.all()) {
            for (Method.Parameter parameter : method.parameters()) {
                byParameter
                        .computeIfAbsent(parameter.name(), name -> new java.util.ArrayList<>())
                        .add(method);
            }
        }
        byParameter.forEach((name, methods) -> command.addOption(OptionSpec.builder(option(name))
                .paramLabel("X")
                .type(Double.class)
                .description(help(name, methods))
                .build()));
    }

    private static String help(String name, List<Method> methods) {
        Method.Parameter parameter = parameter(methods.getFirst(), name);
        String used = methods.stream().map(Method::name).collect(Collectors.joining(", "));
        OptionalDouble value = byDefault(parameter);
        return parameter.doc() + ", for " + used
                + (value.isPresent() ? " (default: " + number(value.getAsDouble()) + ")" : "");
    }

    /// The objective of a command line.
    ///
    /// @throws IllegalArgumentException naming the option that is wrong or missing
    static Objective objective(ParseResult parsed) {
        String name = parsed.matchedOptionValue(METHOD, BY_DEFAULT);
        Method method = Method.all().stream()
                .filter(candidate -> candidate.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(METHOD + ": expected " + names() + ", got " + name));
        return method.with(method.parameters().stream()
                .mapToDouble(parameter -> value(parsed, method, parameter))
                .toArray());
    }

    private static double value(ParseResult parsed, Method method, Method.Parameter parameter) {
        Double given = parsed.matchedOptionValue(option(parameter.name()), null);
        if (given != null) {
            return given;
        }
        return byDefault(parameter)
                .orElseThrow(() -> new IllegalArgumentException(
                        option(parameter.name()) + ": expected a number for " + method.name() + ", got none"));
    }

    private static OptionalDouble byDefault(Method.Parameter parameter) {
        Double own = DEFAULTS.get(parameter.name());
        return own == null ? parameter.byDefault() : OptionalDouble.of(own);
    }

    private static Method.Parameter parameter(Method method, String name) {
        return method.parameters().stream()
                .filter(parameter -> parameter.name().equals(name))
                .findFirst()
                .orElseThrow();
    }

    private static String option(String parameter) {
        return "--" + parameter.replace('_', '-');
    }

    private static String names() {
        List<String> names = Method.all().stream().map(Method::name).toList();
        return String.join(", ", names.subList(0, names.size() - 1)) + " or " + names.getLast();
    }

    private static String number(double value) {
        return value == Math.rint(value) ? Long.toString((long) value) : String.format(Locale.ROOT, "%s", value);
    }
}
