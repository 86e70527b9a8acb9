package org.smpo.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Which library is loaded, and the messages about one that cannot be.
class AbiTest {
    private static final Path LIBRARY = Path.of(System.getProperty("smpo.library"));

    @Test
    void theLibraryOfThisBuildIsLoaded() {
        Abi abi = Abi.loaded();
        assertThat(abi.problem()).isEmpty();
        assertThat(abi.file()).contains(LIBRARY.toAbsolutePath());
        assertThat(abi.headerSha256()).matches("[0-9a-f]{64}");
        assertThat(abi.libraryHeaderSha256()).contains(abi.headerSha256());
    }

    @Test
    void anotherHeaderIsRefusedWithBothHashesTheFileAndWhatToDo() {
        String header = new String(Abi.bundledHeader(), StandardCharsets.UTF_8);
        byte[] mutated = header.replace("SMPO_BF16 = 2", "SMPO_BF16 = 9").getBytes(StandardCharsets.UTF_8);
        Abi abi = Abi.load(LIBRARY, mutated);
        assertThat(abi.headerSha256()).isNotEqualTo(Abi.loaded().headerSha256());
        assertThat(abi.libraryHeaderSha256()).contains(Abi.loaded().headerSha256());
        assertThat(abi.problem())
                .get()
                .isExactlyInstanceOf(LinkageError.class)
                .extracting(Throwable::getMessage)
                .asString()
                .contains(
                        Abi.loaded().headerSha256(),
                        abi.headerSha256(),
                        LIBRARY.toString(),
                        "tools/check",
                        "ninja -C build/native");
    }

    @Test
    void anExplicitPathMustHoldTheLibrary() {
        assertThat(problem(Abi.loadFrom("/nowhere/libsmpo.so", LIBRARY.toString())))
                .contains("system property smpo.library names /nowhere/libsmpo.so", "tools/check");
        assertThat(problem(Abi.loadFrom(null, "/nowhere/libsmpo.so")))
                .contains("environment variable SMPO_LIBRARY names /nowhere/libsmpo.so", "tools/check");
        assertThat(Abi.loadFrom(" ", LIBRARY.toString()).problem()).isEmpty();
        assertThat(Abi.loadFrom(LIBRARY.toString(), "/nowhere/libsmpo.so").problem())
                .isEmpty();
    }

    /// These tests run from java/target/classes, below the folder that has build/native/lib.
    @Test
    void unnamedItIsFoundInTheBuildFolder() {
        Path usual = Path.of(System.getProperty("smpo.root"), "build/native/lib", System.mapLibraryName("smpo"));
        Assumptions.assumeTrue(Files.exists(usual), "the library under test is not in the usual build folder");
        assertThat(Abi.loadFrom(null, null).file()).contains(usual);
    }

    @Test
    void aFileThatIsNoLibraryIsRefusedWithTheLoadersReason(@TempDir Path folder) throws IOException {
        Path text = Files.writeString(folder.resolve("libsmpo.so"), "not an ELF file".repeat(100));
        assertThat(problem(Abi.loadFrom(text.toString(), null)))
                .contains("cannot load " + text, "invalid ELF header", "tools/check");
        Path empty = Files.createFile(folder.resolve("empty.so"));
        assertThat(problem(Abi.loadFrom(empty.toString(), null))).contains("cannot load " + empty, "file too short");
    }

    @Test
    void anotherLibraryIsRefused() throws IOException {
        Path libc;
        try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
            libc = maps.filter(line -> line.contains("/libc.so.6") || line.contains("/libc-"))
                    .map(line -> Path.of(line.substring(line.indexOf('/'))))
                    .findFirst()
                    .orElseThrow();
        }
        assertThat(problem(Abi.loadFrom(libc.toString(), null)))
                .contains(libc + " is not smpo's library", "smpo_abi_header_sha256");
    }

    @Test
    void withoutALibraryEveryCallFailsWithTheReason() throws IOException, InterruptedException {
        Jvm jvm = Jvm.run(EveryCall.class, "--enable-native-access=ALL-UNNAMED", "-Dsmpo.library=/nowhere/libsmpo.so");
        assertThat(jvm.exitCode()).as(jvm.output()).isZero();
        List<String> lines = jvm.output().lines().toList();
        assertThat(lines)
                .hasSize(2 * EveryCall.COUNT)
                .allSatisfy(line -> assertThat(line)
                        .startsWith("java.lang.UnsatisfiedLinkError: the native library was not found")
                        .contains("/nowhere/libsmpo.so"));
    }

    @Test
    void deniedNativeAccessSaysWhichOptionIsMissing() throws IOException, InterruptedException {
        Assumptions.assumeTrue(
                Runtime.version().feature() >= 24, "a JDK before 24 cannot deny native access to the class path");
        Jvm jvm = Jvm.run(EveryCall.class, "--illegal-native-access=deny", "-Dsmpo.library=" + LIBRARY);
        assertThat(jvm.output())
                .contains("native access is denied")
                .contains("--enable-native-access=ALL-UNNAMED")
                .doesNotContain("NoClassDefFoundError");
    }

    private static String problem(Abi abi) {
        return abi.problem().orElseThrow().getMessage();
    }

    /// Tries a call that needs the library twice, and prints each exception.
    static final class EveryCall {
        static final int COUNT = 5;

        private EveryCall() {}

        public static void main(String[] arguments) {
            for (int round = 0; round < 2; round++) {
                attempt(() -> Engine.open(EngineConfig.onCpu()));
                attempt(LibraryInfo::read);
                attempt(CpuInfo::read);
                attempt(CudaInfo::read);
                attempt(() -> CudaDevice.read(0));
            }
        }

        private static void attempt(Runnable call) {
            try {
                call.run();
                System.out.println("no exception");
            } catch (LinkageError e) {
                System.out.println(e);
            }
        }
    }
}
