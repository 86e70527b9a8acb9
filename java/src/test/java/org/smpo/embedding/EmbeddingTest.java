package org.smpo.embedding;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.DataInputStream;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.checkpoint.TinyModels;
import org.smpo.ffi.Engine;

/// smpo as a library in another program (src/test/resources/org/smpo/embedding): compiled against the
/// jar and run on the JDK of this build, once as a named module, once on the class path.
class EmbeddingTest {
    /// Java 22: the first with the final FFM API.
    private static final int CLASS_VERSION = 66;

    private static final Path SOURCES =
            Path.of(System.getProperty("smpo.root"), "java/src/test/resources/org/smpo/embedding");

    @TempDir
    private Path folder;

    @Test
    void everyClassIsForJava22() throws IOException {
        int count = 0;
        for (Path file : classFiles()) {
            try (DataInputStream in = new DataInputStream(Files.newInputStream(file))) {
                assertThat(in.readInt()).isEqualTo(0xCAFEBABE);
                assertThat(in.readInt()).as(file.toString()).isEqualTo(CLASS_VERSION);
            }
            count++;
        }
        assertThat(count).isGreaterThan(100);
    }

    @Test
    void aNamedModuleUsesTheJar() throws IOException, InterruptedException {
        Path jar = jar();
        Path program = folder.resolve("program");
        compile("-d", program, "-p", jar, SOURCES.resolve("module-info.java"), SOURCES.resolve("Gallery.java"));
        // An automatic module also reads the class path, so the libraries need not be modules.
        String output = java(
                "--enable-native-access=org.smpo,ALL-UNNAMED",
                "-p",
                jar + File.pathSeparator + program,
                "-cp",
                libraries(),
                "-m",
                "gallery/gallery.Gallery");
        assertThat(output).contains("prediction [4, 8]", "same true", "module gallery uses org.smpo");
        assertThat(output).doesNotContain("WARNING");
    }

    @Test
    void aProgramOnTheClassPathUsesTheJar() throws IOException, InterruptedException {
        Path jar = jar();
        Path program = folder.resolve("program");
        compile("-d", program, "-cp", jar, SOURCES.resolve("Gallery.java"));
        String output = java(
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                String.join(File.pathSeparator, jar.toString(), program.toString(), libraries()),
                "gallery.Gallery");
        assertThat(output).contains("prediction [4, 8]", "same true", "module null uses null");
        assertThat(output).doesNotContain("WARNING");
    }

    private static void compile(Object... arguments) {
        String[] texts = Arrays.stream(arguments).map(Object::toString).toArray(String[]::new);
        assertThat(ToolProvider.getSystemJavaCompiler().run(null, System.out, System.err, texts))
                .as(String.join(" ", texts))
                .isZero();
    }

    private String java(String... arguments) throws IOException, InterruptedException {
        Path model = TinyModels.writeRunnable(folder.resolve("model"));
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.add("-Dsmpo.library=" + System.getProperty("smpo.library"));
        command.addAll(List.of(arguments));
        command.add(model.toString());
        Path output = folder.resolve("output.txt");
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        if (!process.waitFor(5, TimeUnit.MINUTES)) {
            process.destroyForcibly();
            throw new AssertionError("still running after 5 minutes: " + command);
        }
        String text = Files.readString(output, StandardCharsets.UTF_8);
        assertThat(process.exitValue()).as(text).isZero();
        return text;
    }

    // ---- the jar, which Maven packs only after the tests ----

    private static Path classes() {
        try {
            return Path.of(Engine.class
                    .getProtectionDomain()
                    .getCodeSource()
                    .getLocation()
                    .toURI());
        } catch (URISyntaxException e) {
            throw new AssertionError(e);
        }
    }

    private static List<Path> classFiles() throws IOException {
        try (Stream<Path> files = Files.walk(classes())) {
            return files.filter(file -> file.toString().endsWith(".class")).toList();
        }
    }

    private Path jar() throws IOException {
        String pom = Files.readString(Path.of(System.getProperty("smpo.root"), "java/pom.xml"));
        Matcher name = Pattern.compile("<Automatic-Module-Name>(.+)</Automatic-Module-Name>")
                .matcher(pom);
        assertThat(name.find()).isTrue();
        Manifest manifest = new Manifest();
        manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
        manifest.getMainAttributes().put(new Attributes.Name("Automatic-Module-Name"), name.group(1));
        Path jar = folder.resolve("smpo.jar");
        Path root = classes();
        try (OutputStream out = Files.newOutputStream(jar);
                JarOutputStream packed = new JarOutputStream(out, manifest);
                Stream<Path> files = Files.walk(root)) {
            for (Path file : files.filter(Files::isRegularFile).sorted().toList()) {
                packed.putNextEntry(
                        new JarEntry(root.relativize(file).toString().replace(File.separatorChar, '/')));
                Files.copy(file, packed);
            }
        }
        return jar;
    }

    /// The test's own class path without the folders of classes: third-party jars.
    private static String libraries() {
        String path = System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
        return Arrays.stream(path.split(File.pathSeparator))
                .filter(entry -> entry.endsWith(".jar"))
                .collect(Collectors.joining(File.pathSeparator));
    }
}
