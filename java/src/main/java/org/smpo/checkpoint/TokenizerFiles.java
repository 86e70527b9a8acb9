package org.smpo.checkpoint;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.zip.GZIPInputStream;
import org.smpo.io.Digest;
import org.smpo.io.Json;

/// The files of a tokenizer: those in a folder, or CLIP's own, which come with the program because
/// single files hold no tokenizer.
public sealed interface TokenizerFiles {
    /// Returns the content of a file; empty where there is none of that name.
    Optional<byte[]> read(String name) throws IOException;

    /// Returns the place of a file, for messages.
    String place(String name);

    /// Returns the SHA-256 of every file by its name.
    SortedMap<String, String> digests() throws IOException;

    /// The files in a folder.
    record InFolder(Path folder) implements TokenizerFiles {
        @Override
        public Optional<byte[]> read(String name) throws IOException {
            Path file = folder.resolve(name);
            return Files.exists(file) ? Optional.of(Files.readAllBytes(file)) : Optional.empty();
        }

        @Override
        public String place(String name) {
            return folder.resolve(name).toString();
        }

        @Override
        public SortedMap<String, String> digests() throws IOException {
            return Digest.ofFiles(folder);
        }
    }

    /// CLIP's tokenizer, with OpenAI's vocabulary of 49,408 tokens.
    ///
    /// @param padding token that fills a row
    record Clip(String padding) implements TokenizerFiles {
        /// Number of tokens.
        public static final int TOKENS = 49408;

        /// Padding of OpenAI's text towers.
        public static final String END = "<|endoftext|>";

        /// Padding of OpenCLIP's text towers, which has id 0.
        public static final String EXCLAMATION_MARK = "!";

        private static final String START = "<|startoftext|>";
        private static final String END_OF_WORD = "</w>";
        private static final String RESOURCE = "clip-merges.txt.gz";
        private static final int BYTES = 256;

        /// The merges, with the ids that follow from their order.
        private static final class Vocabulary {
            private static byte[] merges;
            private static byte[] ids;

            private Vocabulary() {}

            static synchronized byte[] merges() throws IOException {
                if (merges == null) {
                    try (InputStream in = TokenizerFiles.class.getResourceAsStream(RESOURCE)) {
                        if (in == null) {
                            throw new IOException("org/smpo/checkpoint/" + RESOURCE + ": not in this jar");
                        }
                        merges = new GZIPInputStream(new ByteArrayInputStream(in.readAllBytes())).readAllBytes();
                    }
                }
                return merges.clone();
            }

            static synchronized byte[] ids() throws IOException {
                if (ids == null) {
                    List<String> tokens = new ArrayList<>(byteCharacters());
                    byteCharacters().forEach(character -> tokens.add(character + END_OF_WORD));
                    new String(merges(), StandardCharsets.UTF_8)
                            .lines()
                            .skip(1)
                            .forEach(merge -> tokens.add(merge.replace(" ", "")));
                    tokens.addAll(List.of(START, END));
                    Map<String, Object> all = new LinkedHashMap<>();
                    tokens.forEach(token -> all.put(token, (long) all.size()));
                    ids = Json.canonical(all).getBytes(StandardCharsets.UTF_8);
                }
                return ids.clone();
            }

            /// Returns the characters that stand for bytes, in the order of their ids: printable bytes
            /// are themselves and come first.
            private static List<String> byteCharacters() {
                List<String> printable = new ArrayList<>();
                List<String> others = new ArrayList<>();
                for (int b = 0; b < BYTES; b++) {
                    boolean itself = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
                    if (itself) {
                        printable.add(String.valueOf((char) b));
                    } else {
                        others.add(String.valueOf((char) (BYTES + others.size())));
                    }
                }
                printable.addAll(others);
                return printable;
            }
        }

        @Override
        public Optional<byte[]> read(String name) throws IOException {
            return Optional.ofNullable(contents().get(name));
        }

        private byte[] configuration() {
            Map<String, Object> config = new LinkedHashMap<>();
            config.put("model_max_length", 77L);
            config.put("tokenizer_class", "CLIPTokenizer");
            config.put("pad_token", padding);
            for (String key : List.of("bos_token", "eos_token", "unk_token")) {
                Map<String, Object> token = new LinkedHashMap<>();
                token.put("__type", "AddedToken");
                token.put("content", key.equals("bos_token") ? START : END);
                token.put("normalized", true);
                for (String flag : List.of("lstrip", "rstrip", "single_word")) {
                    token.put(flag, false);
                }
                config.put(key, token);
            }
            return Json.canonical(config).getBytes(StandardCharsets.UTF_8);
        }

        /// Returns every file by its name.
        SortedMap<String, byte[]> contents() throws IOException {
            SortedMap<String, byte[]> contents = new TreeMap<>();
            contents.put("vocab.json", Vocabulary.ids());
            contents.put("merges.txt", Vocabulary.merges());
            contents.put("tokenizer_config.json", configuration());
            return contents;
        }

        @Override
        public String place(String name) {
            return "CLIP's built-in tokenizer" + (name.isEmpty() ? "" : ": " + name);
        }

        @Override
        public SortedMap<String, String> digests() throws IOException {
            SortedMap<String, String> digests = new TreeMap<>();
            contents().forEach((name, bytes) -> digests.put(name, Digest.sha256(bytes)));
            return digests;
        }
    }
}
