package org.smpo.architecture;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/// The product keeps the import rules, and each rule fails on a class that breaks it. The violations
/// are planted: small sources in the product's package names, compiled into a separate folder.
class ArchitectureTest {
    private static final JavaClasses PRODUCT = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .importPackages(ArchitectureRules.ROOT);

    @TempDir
    private Path folder;

    @ParameterizedTest
    @MethodSource("rules")
    void theProductKeepsTheRule(ArchRule rule) {
        rule.check(PRODUCT);
    }

    static List<ArchRule> rules() {
        return ArchitectureRules.all();
    }

    @Test
    void theProductWasImported() {
        assertThat(PRODUCT.contain("org.smpo.ffi.Native")).isTrue();
        assertThat(PRODUCT.contain("org.smpo.cli.Main")).isTrue();
        assertThat(PRODUCT.contain("org.smpo.architecture.ArchitectureTest")).isFalse();
        assertThat(PRODUCT).hasSizeGreaterThan(40);
    }

    /// Every pair of packages, in one compilation: what the table allows passes, everything else fails, and
    /// the report names the violating class.
    @Test
    void everyForbiddenImportFailsAndEveryAllowedOnePasses() throws IOException {
        Map<String, String> sources = new LinkedHashMap<>();
        List<Arguments> pairs = new ArrayList<>();
        for (String to : ArchitectureRules.IMPORTS.keySet()) {
            sources.put("org.smpo." + to + ".Target", "package org.smpo." + to + "; public class Target {}");
        }
        for (String from : ArchitectureRules.IMPORTS.keySet()) {
            for (String to : ArchitectureRules.IMPORTS.keySet()) {
                String name = "Uses" + Character.toUpperCase(to.charAt(0)) + to.substring(1);
                sources.put(
                        "org.smpo." + from + "." + name,
                        "package org.smpo." + from + "; class " + name + " { org.smpo." + to + ".Target target; }");
                pairs.add(Arguments.of(from, to, "org.smpo." + from + "." + name));
            }
        }
        JavaClasses planted = plant(sources);
        for (String from : ArchitectureRules.IMPORTS.keySet()) {
            List<String> report = ArchitectureRules.importsOnlyWhatTheTableAllows(from)
                    .evaluate(planted)
                    .getFailureReport()
                    .getDetails();
            for (Arguments pair : pairs) {
                if (!pair.get()[0].equals(from)) {
                    continue;
                }
                String to = (String) pair.get()[1];
                String culprit = "<" + pair.get()[2] + ".target>";
                assertThat(report.stream().anyMatch(line -> line.contains(culprit)))
                        .as("%s -> %s is reported", from, to)
                        .isEqualTo(!ArchitectureRules.allowed(from, to));
            }
        }
        int packages = ArchitectureRules.IMPORTS.size();
        assertThat(pairs).hasSize(packages * packages);
    }

    /// The table, written a second time, so that an accidental change is detected.
    @ParameterizedTest
    @CsvSource({
        "data, train, false",
        "data, network, false",
        "data, objective, true",
        "checkpoint, ffi, false",
        "checkpoint, schedule, true",
        "checkpoint, network, false",
        "network, data, false",
        "network, ffi, true",
        "network, generate, false",
        "generate, network, true",
        "schedule, io, false",
        "schedule, random, true",
        "objective, ffi, false",
        "ffi, objective, true",
        "ffi, schedule, true",
        "ffi, checkpoint, false",
        "io, ffi, false",
        "cli, ffi, false",
        "cli, doctor, true",
        "cli, train, true",
        "cli, iterate, true",
        "train, evaluate, false",
        "train, recipe, true",
        "train, parallel, true",
        "parallel, train, false",
        "cache, parallel, false",
        "train, reward, true",
        "recipe, train, false",
        "recipe, network, false",
        "evaluate, train, false",
        "evaluate, ffi, false",
        "evaluate, demo, true",
        "iterate, train, true",
        "iterate, evaluate, true",
        "iterate, ffi, false",
        "iterate, cache, false",
        "iterate, demo, false",
        "iterate, cli, false",
        "evaluate, iterate, false",
        "train, iterate, false",
        "demo, evaluate, false",
        "cache, reward, false",
        "reward, cache, false",
        "report, io, true",
        "doctor, network, false",
        "demo, io, true",
        "demo, train, false",
        "train, demo, false",
        "reward, demo, false",
        "cli, demo, true",
        "random, objective, false"
    })
    void theTableSays(String from, String to, boolean allowed) {
        assertThat(ArchitectureRules.allowed(from, to)).isEqualTo(allowed);
    }

    @Test
    void aPackageThatIsNotInTheTableFails() throws IOException {
        assertBroken(
                ArchitectureRules.everyPackageIsInTheTable(),
                "org.smpo.util.Strings",
                "package org.smpo.util; class Strings {}");
    }

    @ParameterizedTest
    @CsvSource({"random", "schedule", "objective"})
    void aLibraryWhereOnlyTheJdkMayBeFails(String name) throws IOException {
        assertBroken(
                ArchitectureRules.usesTheJdkOnly(name),
                "org.smpo." + name + ".ReadsJson",
                "package org.smpo." + name + "; class ReadsJson { picocli.CommandLine command; }");
    }

    @ParameterizedTest
    @CsvSource({
        "random, java.nio.file.Path",
        "schedule, java.io.InputStream",
        "objective, java.net.URI",
        "schedule, java.nio.channels.FileChannel"
    })
    void filesInPureMathematicsFail(String name, String type) throws IOException {
        assertBroken(
                ArchitectureRules.doesNoInputOrOutput(name),
                "org.smpo." + name + ".ReadsFiles",
                "package org.smpo." + name + "; class ReadsFiles { " + type + " source; }");
    }

    @ParameterizedTest
    @CsvSource({"random", "schedule", "objective", "network", "train", "data", "cli", "doctor"})
    void foreignMemoryOutsideTheBorderFails(String name) throws IOException {
        assertBroken(
                ArchitectureRules.foreignMemoryStaysAtTheBorder(),
                "org.smpo." + name + ".Peeks",
                "package org.smpo." + name + "; class Peeks { java.lang.foreign.MemorySegment memory; }");
    }

    @Test
    void foreignMemoryAtTheBorderPasses() throws IOException {
        JavaClasses planted = plant(Map.of(
                "org.smpo.ffi.Holds",
                "package org.smpo.ffi; class Holds { java.lang.foreign.MemorySegment memory; }",
                "org.smpo.io.Maps",
                "package org.smpo.io; class Maps { java.lang.foreign.MemorySegment memory; }",
                "org.smpo.checkpoint.Plain",
                "package org.smpo.checkpoint; class Plain {}"));
        assertThatCode(() -> ArchitectureRules.foreignMemoryStaysAtTheBorder().check(planted))
                .doesNotThrowAnyException();
    }

    @ParameterizedTest
    @CsvSource({"Linker", "SymbolLookup", "FunctionDescriptor"})
    void aSecondBindingFails(String type) throws IOException {
        assertBroken(
                ArchitectureRules.onlyTheBindingLinks(),
                "org.smpo.ffi.Shortcut",
                "package org.smpo.ffi; class Shortcut { java.lang.foreign." + type + " link; }");
    }

    @Test
    void aPublicBindingFails() throws IOException {
        assertBroken(
                ArchitectureRules.theBindingIsHidden(),
                "org.smpo.ffi.Native",
                "package org.smpo.ffi; public class Native {}");
    }

    @Test
    void aCycleFails() throws IOException {
        JavaClasses planted = plant(Map.of(
                "org.smpo.io.Forth", "package org.smpo.io; public class Forth { org.smpo.report.Back back; }",
                "org.smpo.report.Back", "package org.smpo.report; public class Back { org.smpo.io.Forth forth; }"));
        assertThat(ArchitectureRules.noCycles().evaluate(planted).hasViolation())
                .isTrue();
    }

    /// Public methods without a caller are listed with a reason in uncalled.txt, and no other methods are.
    @Test
    void aPublicMethodHasACallerOrAReason() throws IOException {
        Map<String, String> reasons = new LinkedHashMap<>();
        try (InputStream list = ArchitectureTest.class.getResourceAsStream("uncalled.txt")) {
            new String(list.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.startsWith("#"))
                    .forEach(line -> reasons.put(line.replaceFirst(": .*", ""), line.replaceFirst("[^:]*:? ?", "")));
        }
        assertThat(reasons.values()).allSatisfy(reason -> assertThat(reason).isNotBlank());
        assertThat(reasons.keySet())
                .as("uncalled.txt: add a method with its reason, or remove one that has a caller or is gone")
                .containsExactlyInAnyOrderElementsOf(UncalledMethods.of(PRODUCT));
    }

    @Test
    void aPublicMethodWithoutACallerIsFound() throws IOException {
        JavaClasses planted = plant(Map.of(
                "org.smpo.io.Callee",
                "package org.smpo.io; public class Callee { public void called() {} public void forgotten() {} }",
                "org.smpo.io.Caller",
                "package org.smpo.io; record Caller(int part) implements Runnable {"
                        + " public void run() { new Callee().called(); } }"));
        assertThat(UncalledMethods.of(planted)).containsExactly("org.smpo.io.Callee.forgotten");
    }

    private void assertBroken(ArchRule rule, String culprit, String source) throws IOException {
        assertThat(rule.evaluate(plant(Map.of(culprit, source)))
                        .getFailureReport()
                        .getDetails())
                .as(rule.getDescription())
                .isNotEmpty()
                .allSatisfy(line -> assertThat(line).contains(culprit));
    }

    /// Compiles sources, given by class name, and imports the classes.
    private JavaClasses plant(Map<String, String> sources) throws IOException {
        Path output = folder.resolve("classes");
        List<String> arguments = new ArrayList<>(
                List.of("-d", output.toString(), "-cp", System.getProperty("java.class.path"), "-proc:none"));
        for (Map.Entry<String, String> source : sources.entrySet()) {
            Path file = folder.resolve(source.getKey().replace('.', '/') + ".java");
            Files.createDirectories(file.getParent());
            arguments.add(Files.writeString(file, source.getValue()).toString());
        }
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        assertThat(compiler).as("the tests run on a JDK, which has a compiler").isNotNull();
        assertThat(compiler.run(null, null, null, arguments.toArray(String[]::new)))
                .isZero();
        return new ClassFileImporter().importPath(output);
    }
}
