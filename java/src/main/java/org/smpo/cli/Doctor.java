package org.smpo.cli;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.smpo.doctor.Checkup;
import org.smpo.doctor.Finding;
import org.smpo.doctor.SmokeTest;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/// `smpo doctor`: shows what the engine finds on this machine, what is wrong, and how to fix it.
@Command(
        name = "doctor",
        description = "Show what the engine finds on this machine, what is wrong, and how to fix it.",
        mixinStandardHelpOptions = true,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:the engine can run", "1:the engine cannot run", "2:wrong usage"})
final class Doctor implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Option(names = "--json", description = OptionTexts.JSON)
    private boolean json;

    Doctor() {}

    @Override
    public Integer call() {
        Checkup checkup = Checkup.run();
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            JsonMapper mapper = JsonMapper.builder()
                    .enable(SerializationFeature.INDENT_OUTPUT)
                    .build();
            ObjectNode object = mapper.createObjectNode().put("healthy", checkup.healthy());
            object.setAll(mapper.<ObjectNode>valueToTree(checkup));
            out.println(mapper.writeValueAsString(object));
        } else {
            print(checkup, out);
        }
        out.flush();
        return checkup.healthy() ? 0 : 1;
    }

    static void print(Checkup checkup, PrintWriter out) {
        line(
                out,
                "smpo",
                checkup.build().version() + ", commit " + checkup.build().commit());
        Checkup.Java java = checkup.java();
        line(
                out,
                "java",
                java.version() + ", " + java.vendor() + ", " + java.home() + "; native access "
                        + (java.nativeAccess() ? "enabled" : "NOT enabled") + "; heap at most "
                        + gibibytes(java.heapLimit()));
        Checkup.Fit abi = checkup.abi();
        line(out, "library", abi.file().isEmpty() ? "NOT found" : abi.file());
        line(out, "abi", abi(abi));
        if (checkup.library() != null) {
            printMachine(checkup, out);
        }
        out.println();
        if (checkup.findings().isEmpty()) {
            out.println("Nothing is wrong.");
        }
        for (Finding finding : checkup.findings()) {
            out.println((finding.fatal() ? "WRONG: " : "note: ") + finding.what());
            out.println("  to do: " + finding.advice());
        }
        out.println();
        out.println(checkup.healthy() ? "The engine can run." : "The engine CANNOT run.");
    }

    private static void printMachine(Checkup checkup, PrintWriter out) {
        Checkup.Library library = checkup.library();
        line(
                out,
                "built",
                library.version() + ", commit " + library.commit() + ", " + library.buildType() + ", "
                        + library.compiler() + ", "
                        + (library.cudaCompiled().isEmpty()
                                ? "without CUDA"
                                : "CUDA " + library.cudaCompiled() + " for " + library.cudaTargets()));
        line(out, "libtorch", library.libtorch());
        Checkup.Cpu cpu = checkup.cpu();
        line(out, "cpu", cpu.model() + "; " + cpu.physicalCores() + " cores, " + cpu.logicalCores() + " threads");
        line(out, "", "has " + (cpu.features().isEmpty() ? "no vector extensions" : String.join(", ", cpu.features())));
        line(out, "", "kernels use " + cpu.kernels() + "; fastest precision: " + cpu.precision());
        Checkup.Memory memory = checkup.memory();
        line(out, "memory", gibibytes(memory.total()) + ", " + gibibytes(memory.available()) + " available");
        Checkup.Cuda cuda = checkup.cuda();
        if (cuda.devices().isEmpty()) {
            line(out, "cuda", "no device: " + cuda.problem());
        }
        for (Checkup.Gpu gpu : cuda.devices()) {
            line(
                    out,
                    "cuda:" + gpu.index(),
                    gpu.name() + ", compute capability " + gpu.computeCapability() + ", " + gpu.multiprocessors()
                            + " multiprocessors, " + gibibytes(gpu.totalMemory()) + ", "
                            + gibibytes(gpu.freeMemory()) + " free");
        }
        for (SmokeTest test : checkup.smokeTests()) {
            line(
                    out,
                    "smoke test",
                    test.device() + ": " + (test.passed() ? "passed in " + test.millis() + " ms" : "FAILED"));
        }
    }

    private static String abi(Checkup.Fit abi) {
        if (abi.matches()) {
            return "matches: smpo.h has SHA-256 " + abi.headerSha256();
        }
        return abi.libraryHeaderSha256().isEmpty()
                ? "NOT known"
                : "does NOT match: Java has smpo.h with SHA-256 " + abi.headerSha256() + ", the library "
                        + abi.libraryHeaderSha256();
    }

    private static void line(PrintWriter out, String name, String text) {
        out.printf(Locale.ROOT, "%-12s%s%n", name, text);
    }

    private static String gibibytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1L << 30));
    }
}
