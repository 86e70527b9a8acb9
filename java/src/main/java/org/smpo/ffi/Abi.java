package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;

/// Finds and loads the native library. Refuses a library that was built from a different `smpo.h` than
/// these classes.
///
/// The search order is the system property `smpo.library`, the environment variable `SMPO_LIBRARY`, the
/// folder of the jar, `lib` in that folder, and `build/native/lib` in the folders above it. A location
/// given by the property or the variable must hold the library; only the last three are tried in turn.
/// Once loaded, the library stays loaded until the process ends.
///
/// Loading never throws on a bad library: [#problem()] holds what every native call will throw.
public final class Abi {
    /// Advice for a library that does not match these classes.
    static final String REBUILD = "rebuild it with tools/check, or with ninja -C build/native";

    private static final String PROPERTY = "smpo.library";
    private static final String VARIABLE = "SMPO_LIBRARY";
    private static final String HASH_FUNCTION = "smpo_abi_header_sha256";
    private static final int HASH_CAPACITY = 65;

    private static final Abi LOADED = loadFrom(System.getProperty(PROPERTY), System.getenv(VARIABLE));

    private final Path file;
    private final String headerSha256;
    private final String libraryHeaderSha256;
    private final SymbolLookup symbols;
    private final LinkageError problem;

    private Abi(Path file, String header, String libraryHeader, SymbolLookup symbols, LinkageError problem) {
        this.file = file;
        this.headerSha256 = header;
        this.libraryHeaderSha256 = libraryHeader;
        this.symbols = symbols;
        this.problem = problem;
    }

    /// Returns the library of this process, loaded on first use.
    public static Abi loaded() {
        return LOADED;
    }

    /// Returns the file that was loaded or tried; empty when none was found.
    public Optional<Path> file() {
        return Optional.ofNullable(file);
    }

    /// Returns the SHA-256 of the header that these classes were built with, 64 lower-case hexadecimal
    /// digits.
    public String headerSha256() {
        return headerSha256;
    }

    /// Returns the SHA-256 of the header that the library was built with; empty when no library could be
    /// asked.
    public Optional<String> libraryHeaderSha256() {
        return Optional.ofNullable(libraryHeaderSha256);
    }

    /// Returns why the library cannot be used; empty when it can.
    public Optional<LinkageError> problem() {
        return Optional.ofNullable(problem);
    }

    /// Returns the symbol lookup of the library. It is available only when there is no problem.
    SymbolLookup symbols() {
        return symbols;
    }

    /// Finds and loads the library, given the values of the property and of the variable (either may be
    /// null).
    static Abi loadFrom(String property, String variable) {
        byte[] header = bundledHeader();
        List<Path> places = new ArrayList<>();
        String named = null;
        if (property != null && !property.isBlank()) {
            named = "the system property " + PROPERTY;
            places.add(Path.of(property));
        } else if (variable != null && !variable.isBlank()) {
            named = "the environment variable " + VARIABLE;
            places.add(Path.of(variable));
        } else {
            places.addAll(usualPlaces());
        }
        for (Path place : places) {
            if (Files.isRegularFile(place)) {
                return load(place.toAbsolutePath(), header);
            }
        }
        StringBuilder message = new StringBuilder("the native library was not found; ");
        if (named != null) {
            message.append(named).append(" names ").append(places.getFirst()).append(", which is no file");
        } else {
            message.append("looked for ");
            places.forEach(place -> message.append(place).append(", "));
            message.append("and neither ")
                    .append(PROPERTY)
                    .append(" nor ")
                    .append(VARIABLE)
                    .append(" is set");
        }
        message.append("; build it with tools/check, or with ninja -C build/native");
        return new Abi(null, sha256(header), null, null, new UnsatisfiedLinkError(message.toString()));
    }

    /// Loads a library and compares its header with the given one.
    @SuppressWarnings("restricted")
    static Abi load(Path file, byte[] header) {
        String expected = sha256(header);
        SymbolLookup symbols;
        try {
            SpinCount.set();
            symbols = SymbolLookup.libraryLookup(file, Arena.global());
        } catch (IllegalCallerException e) {
            return failed(
                    file,
                    expected,
                    "native access is denied to " + Abi.class.getModule()
                            + "; start java with --enable-native-access=ALL-UNNAMED",
                    e);
        } catch (IllegalArgumentException e) {
            return failed(file, expected, "cannot load " + loaderMessage(file, e) + "; " + REBUILD, e);
        }
        Optional<MemorySegment> function = symbols.find(HASH_FUNCTION);
        if (function.isEmpty()) {
            return failed(file, expected, file + " is not smpo's library: it does not export " + HASH_FUNCTION, null);
        }
        String actual;
        try {
            actual = headerHashOf(function.get());
        } catch (IllegalStateException e) {
            return failed(file, expected, file + ": " + e.getMessage() + "; " + REBUILD, e);
        }
        if (!actual.equals(expected)) {
            String message = "the library and the Java classes were built from different headers: " + file
                    + " was built from an smpo.h with SHA-256 " + actual + ", the classes from one with " + expected
                    + "; " + REBUILD;
            return new Abi(file, expected, actual, null, new LinkageError(message));
        }
        return new Abi(file, expected, actual, symbols, null);
    }

    private static Abi failed(Path file, String header, String message, Throwable cause) {
        LinkageError problem = new UnsatisfiedLinkError(message);
        problem.initCause(cause);
        return new Abi(file, header, null, null, problem);
    }

    /// Loads the file and reports the dynamic loader's message. [SymbolLookup#libraryLookup] omits that
    /// message, such as which dependency is missing; [System#load] fails the same way and includes it.
    @SuppressWarnings("restricted")
    private static String loaderMessage(Path file, IllegalArgumentException e) {
        try {
            System.load(file.toString());
            return file + ": " + e.getMessage();
        } catch (UnsatisfiedLinkError reason) {
            // Java prepends the file name to the loader's message, which already begins with it.
            String twice = file + ": " + file + ": ";
            return String.valueOf(reason.getMessage()).replace(twice, file + ": ");
        }
    }

    @SuppressWarnings("restricted")
    private static String headerHashOf(MemorySegment function) {
        MethodHandle handle = Linker.nativeLinker()
                .downcallHandle(function, FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(HASH_CAPACITY);
            int status = (int) handle.invokeExact(text, HASH_CAPACITY, MemorySegment.NULL);
            if (status != 0) {
                throw new IllegalStateException(HASH_FUNCTION + " returned status " + status);
            }
            return text.getString(0);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError("a downcall raised a checked exception", e);
        }
    }

    private static List<Path> usualPlaces() {
        String name = System.mapLibraryName("smpo");
        List<Path> places = new ArrayList<>();
        CodeSource source = Abi.class.getProtectionDomain().getCodeSource();
        if (source == null || source.getLocation() == null) {
            return places;
        }
        Path folder;
        try {
            folder = Path.of(source.getLocation().toURI()).getParent();
        } catch (URISyntaxException | IllegalArgumentException e) {
            return places;
        }
        if (folder != null) {
            places.add(folder.resolve(name));
            places.add(folder.resolve("lib").resolve(name));
        }
        for (Path above = folder; above != null; above = above.getParent()) {
            places.add(above.resolve("build/native/lib").resolve(name));
        }
        return places;
    }

    /// Returns the text of the `smpo.h` that these classes were built with.
    static byte[] bundledHeader() {
        try (InputStream header = Abi.class.getResourceAsStream("smpo.h")) {
            if (header == null) {
                throw new LinkageError("org/smpo/ffi/smpo.h is missing from the class path: the jar is incomplete");
            }
            return header.readAllBytes();
        } catch (IOException e) {
            throw new LinkageError("org/smpo/ffi/smpo.h cannot be read from the class path", e);
        }
    }

    private static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java platform has SHA-256", e);
        }
    }
}
