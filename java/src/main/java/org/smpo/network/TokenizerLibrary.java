package org.smpo.network;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.LibUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.smpo.io.CacheFolder;
import org.smpo.io.UnpackedFiles;

/// The Rust library `tokenizers`, which DJL brings along. Where DJL puts its native library, and whether it
/// may use the network, it takes from system properties while it loads; they are put back afterwards,
/// because others in this process may use DJL too.
final class TokenizerLibrary {
    private static final Map<String, String> OPTIONS =
            Map.of("truncation", "false", "padding", "false", "addSpecialTokens", "false");
    private static final Path FOLDER = CacheFolder.find().resolve("djl");

    private TokenizerLibrary() {}

    /// Builds a tokenizer.
    ///
    /// @param place where its files are, for messages
    /// @param definition content of a `tokenizer.json`
    /// @throws TokenizerException when the library refuses it, or does not load
    static HuggingFaceTokenizer load(String place, String definition) throws IOException {
        ready();
        byte[] json = definition.getBytes(StandardCharsets.UTF_8);
        try {
            return HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(json), OPTIONS);
        } catch (RuntimeException e) {
            throw new TokenizerException(place + ": the tokenizer's files are refused: " + e.getMessage(), e);
        }
    }

    /// Loads the library. Later calls only repeat the outcome.
    private static synchronized void ready() throws TokenizerException {
        // Read at every use, so it stays.
        setIfAbsent("OPT_OUT_TRACKING", "true");
        Map<String, String> scoped = new LinkedHashMap<>();
        scoped.put("ai.djl.offline", "true");
        scoped.put("ENGINE_CACHE_DIR", FOLDER.toString());
        // DJL looks for a GPU through JNA, which unpacks a library of its own while it loads.
        scoped.put("jna.tmpdir", FOLDER.toString());
        // Its logger prints to System.err when there is none.
        scoped.put("slf4j.internal.verbosity", "ERROR");
        List<String> set = new ArrayList<>();
        try {
            Files.createDirectories(FOLDER);
            UnpackedFiles.deleteAbandoned(FOLDER, "jna*");
            UnpackedFiles.deleteAbandoned(FOLDER.resolve("tokenizers"), "tmp*");
            scoped.forEach((key, value) -> {
                if (setIfAbsent(key, value)) {
                    set.add(key);
                }
            });
            LibUtils.checkStatus();
        } catch (IOException | EngineException | LinkageError | AssertionError e) {
            throw new TokenizerException(
                    "the tokenizer's native library does not load (it is unpacked into " + FOLDER + "): "
                            + e.getMessage(),
                    e);
        } finally {
            set.forEach(System::clearProperty);
        }
    }

    private static boolean setIfAbsent(String key, String value) {
        if (System.getProperty(key) != null) {
            return false;
        }
        System.setProperty(key, value);
        return true;
    }

    /// Refuses text with half a surrogate pair.
    ///
    /// @throws IllegalArgumentException naming the place
    static void requireUnicode(String prompt) {
        for (int i = 0; i < prompt.length(); i++) {
            char c = prompt.charAt(i);
            if (Character.isHighSurrogate(c)
                    && i + 1 < prompt.length()
                    && Character.isLowSurrogate(prompt.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                throw new IllegalArgumentException("expected Unicode text, found half a surrogate pair (U+"
                        + Integer.toHexString(c).toUpperCase(Locale.ROOT) + ") at index " + i);
            }
        }
    }
}
