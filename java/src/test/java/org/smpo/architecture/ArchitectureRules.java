package org.smpo.architecture;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.lang.ArchRule;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/// Allowed imports between packages, including those that tools/decisions added. The table also lists
/// planned packages.
final class ArchitectureRules {
    static final String ROOT = "org.smpo";

    /// For each package, the packages of this project that it may import. Every package may import
    /// `random`.
    static final Map<String, Set<String>> IMPORTS = table();

    /// Packages that may import the JDK only.
    static final Set<String> JDK_ONLY = Set.of("random", "schedule", "objective");

    /// Packages of pure mathematics: no files, no network, no foreign memory.
    static final Set<String> PURE = Set.of("random", "schedule", "objective");

    private static final String[] IO_PACKAGES = {"java.io..", "java.net..", "java.nio.."};

    private ArchitectureRules() {}

    private static Map<String, Set<String>> table() {
        Map<String, Set<String>> imports = new LinkedHashMap<>();
        imports.put("random", Set.of());
        imports.put("schedule", Set.of());
        imports.put("objective", Set.of());
        imports.put("io", Set.of());
        imports.put("report", Set.of("io"));
        imports.put("ffi", Set.of("schedule", "objective", "io"));
        imports.put("doctor", Set.of("ffi", "io"));
        imports.put("parallel", Set.of("ffi", "io"));
        imports.put("checkpoint", Set.of("io", "schedule"));
        imports.put("network", Set.of("ffi", "checkpoint", "io", "schedule"));
        imports.put("generate", Set.of("network", "checkpoint", "schedule", "io", "ffi"));
        imports.put("data", Set.of("io", "objective"));
        imports.put("cache", Set.of("data", "network", "checkpoint", "io", "ffi"));
        imports.put("reward", Set.of("network", "checkpoint", "data", "objective", "report", "io", "ffi", "parallel"));
        imports.put("recipe", Set.of("data", "objective", "schedule", "io"));
        imports.put("demo", Set.of("io"));
        imports.put(
                "train",
                Set.of(
                        "schedule",
                        "objective",
                        "io",
                        "report",
                        "ffi",
                        "data",
                        "checkpoint",
                        "network",
                        "generate",
                        "cache",
                        "reward",
                        "recipe",
                        "parallel"));
        imports.put(
                "evaluate",
                Set.of(
                        "generate",
                        "network",
                        "checkpoint",
                        "reward",
                        "data",
                        "schedule",
                        "objective",
                        "report",
                        "io",
                        "demo",
                        "parallel"));
        imports.put(
                "iterate",
                Set.of(
                        "train",
                        "evaluate",
                        "recipe",
                        "generate",
                        "network",
                        "checkpoint",
                        "reward",
                        "data",
                        "objective",
                        "schedule",
                        "report",
                        "io",
                        "parallel"));
        Set<String> forCli = new LinkedHashSet<>(imports.keySet());
        forCli.remove("ffi");
        imports.put("cli", Set.copyOf(forCli));
        return imports;
    }

    /// Whether classes of one package may use those of another.
    static boolean allowed(String from, String to) {
        return from.equals(to) || to.equals("random") || IMPORTS.get(from).contains(to);
    }

    static List<ArchRule> all() {
        List<ArchRule> rules = new ArrayList<>();
        rules.add(everyPackageIsInTheTable());
        IMPORTS.keySet().forEach(name -> rules.add(importsOnlyWhatTheTableAllows(name)));
        JDK_ONLY.forEach(name -> rules.add(usesTheJdkOnly(name)));
        PURE.forEach(name -> rules.add(doesNoInputOrOutput(name)));
        rules.add(foreignMemoryStaysAtTheBorder());
        rules.add(onlyTheBindingLinks());
        rules.add(theBindingIsHidden());
        rules.add(noCycles());
        return rules;
    }

    static ArchRule everyPackageIsInTheTable() {
        String[] known = IMPORTS.keySet().stream().map(name -> packages(name)).toArray(String[]::new);
        return classes()
                .that()
                .resideInAPackage(ROOT + "..")
                .should()
                .resideInAnyPackage(known)
                .because("a new package needs a line in the import table");
    }

    static ArchRule importsOnlyWhatTheTableAllows(String name) {
        String[] allowed = IMPORTS.keySet().stream()
                .filter(to -> allowed(name, to))
                .map(ArchitectureRules::packages)
                .toArray(String[]::new);
        DescribedPredicate<JavaClass> forbidden = resideInAPackage(ROOT + "..")
                .and(not(resideInAnyPackage(allowed)))
                .as("a package of this project that '" + name + "' may not import; it may import "
                        + new TreeSet<>(IMPORTS.get(name)));
        return noClasses()
                .that()
                .resideInAPackage(packages(name))
                .should()
                .dependOnClassesThat(forbidden)
                .allowEmptyShould(true);
    }

    static ArchRule usesTheJdkOnly(String name) {
        return classes()
                .that()
                .resideInAPackage(packages(name))
                .should()
                .onlyDependOnClassesThat(resideInAnyPackage("java..", packages(name), packages("random"))
                        .or(describe("arrays of primitives", JavaClass::isPrimitive))
                        .or(describe("arrays", JavaClass::isArray)))
                .allowEmptyShould(true);
    }

    static ArchRule doesNoInputOrOutput(String name) {
        return noClasses()
                .that()
                .resideInAPackage(packages(name))
                .should()
                .dependOnClassesThat(resideInAnyPackage(IO_PACKAGES)
                        .and(not(describe(
                                "java.io.Serializable", type -> type.getName().equals("java.io.Serializable")))))
                .because("it is pure mathematics")
                .allowEmptyShould(true);
    }

    static ArchRule foreignMemoryStaysAtTheBorder() {
        return noClasses()
                .that()
                .resideOutsideOfPackages(packages("ffi"), packages("io"))
                .should()
                .dependOnClassesThat()
                .resideInAPackage("java.lang.foreign..")
                .because("ffi is the border and io maps files; everything else uses DeviceTensor and arrays");
    }

    static ArchRule onlyTheBindingLinks() {
        return noClasses()
                .that()
                .doNotHaveFullyQualifiedName(ROOT + ".ffi.Native")
                .and()
                .doNotHaveFullyQualifiedName(ROOT + ".ffi.Abi")
                .and()
                .haveNameNotMatching("org\\.smpo\\.ffi\\.ProcessExit.*")
                .and()
                .doNotHaveFullyQualifiedName(ROOT + ".ffi.SpinCount")
                .should()
                .dependOnClassesThat()
                .haveNameMatching("java\\.lang\\.foreign\\.(Linker|SymbolLookup|FunctionDescriptor).*")
                .because("ffi.Native binds the functions of the library, ffi.Abi loads it, and ffi.ProcessExit binds"
                        + " the C library's exit handlers");
    }

    static ArchRule theBindingIsHidden() {
        return classes()
                .that()
                .haveFullyQualifiedName(ROOT + ".ffi.Native")
                .should()
                .bePackagePrivate()
                .because("unchecked calls must not be reachable from outside ffi");
    }

    static ArchRule noCycles() {
        return slices().matching(ROOT + ".(*)..").should().beFreeOfCycles();
    }

    private static String packages(String name) {
        return ROOT + "." + name + "..";
    }
}
