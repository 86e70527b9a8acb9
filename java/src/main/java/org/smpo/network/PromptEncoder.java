package org.smpo.network;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.Family;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.TokenizerFiles;
import org.smpo.ffi.EncodedText;
import org.smpo.ffi.Engine;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.io.Closer;
import org.smpo.io.Digest;
import org.smpo.io.Precision;

/// A model's tokenizers and text encoders. They turn prompts into the UNet's conditions like diffusers'
/// pipelines and training scripts. Computes in fp32. Belongs to the engine's thread.
public final class PromptEncoder implements AutoCloseable {
    private static final String SECOND = "text_encoder_2";

    private final Family family;
    private final SortedMap<String, ClipTokenizer> tokenizers = new TreeMap<>();
    private final SortedMap<String, TextEncoder> encoders = new TreeMap<>();
    private final Closer owned = new Closer();

    /// The UNet's condition from one prompt.
    ///
    /// @param tokens rows of `hidden`
    /// @param hidden `[tokens, width]`, row-major
    /// @param pooled SDXL's pooled embedding; empty for other models
    @SuppressWarnings("ArrayRecordComponent") // a bundle of numbers, never compared
    public record Embedding(int tokens, float[] hidden, float[] pooled) {}

    private PromptEncoder(Family family) {
        this.family = family;
    }

    /// Loads the encoders of a whole model.
    ///
    /// @throws ModelException when a tokenizer or encoder is missing, or a weight is not finite
    public static PromptEncoder load(Engine engine, ModelFiles files) throws IOException {
        Family family = files.family()
                .orElseThrow(() -> new ModelException(
                        files.path(), "model", "a whole Stable Diffusion model", files.pipelineClass()));
        PromptEncoder loaded = new PromptEncoder(family);
        try {
            for (String name : family.textEncoders()) {
                loaded.tokenizers.put(name, loaded.owned.add(ClipTokenizer.open(tokenizer(files, name))));
                loaded.encoders.put(
                        name,
                        loaded.owned.add(TextEncoder.load(
                                engine, files.component(name), ModelOptions.frozen(Precision.FP32.dtype()))));
            }
            return loaded;
        } catch (IOException | RuntimeException e) {
            loaded.owned.closeAfter(e);
            throw e;
        }
    }

    private static TokenizerFiles tokenizer(ModelFiles files, String encoder) throws ModelException {
        String name = encoder.replace("text_encoder", "tokenizer");
        return files.tokenizer(name)
                .orElseThrow(() -> new ModelException(
                        files.path(),
                        name,
                        "a folder with vocab.json and merges.txt",
                        "none, and the model's vocabulary is not CLIP's; name a diffusers folder that has the tokenizer"
                                + " (option --config, recipe key single_file.config)"));
    }

    /// SHA-256 over everything that an embedding depends on besides the prompt: encoders' weights and
    /// configs, and tokenizers' files.
    ///
    /// @throws IOException when a file cannot be read
    public static String digest(ModelFiles files) throws IOException {
        Digest digest = new Digest();
        Family family = files.family().orElseThrow();
        for (String name : family.textEncoders()) {
            Component encoder = files.component(name);
            add(digest, name, files.sha256(name));
            add(digest, "config", encoder.config().json().asMap().toString());
            tokenizer(files, name).digests().forEach((file, sha256) -> add(digest, file, sha256));
        }
        return digest.hex();
    }

    private static void add(Digest digest, String name, String value) {
        byte[] text = (name + "\0" + value + "\0").getBytes(StandardCharsets.UTF_8);
        digest.update(java.nio.ByteBuffer.wrap(text));
    }

    /// Width of the pooled embedding; 0 for models without.
    public int pooledWidth() {
        TextEncoder second = encoders.get(SECOND);
        return second == null ? 0 : second.config().projectionDim();
    }

    /// One of the encoders' networks, for adapters.
    public Optional<NativeModel> network(String encoder) {
        return Optional.ofNullable(encoders.get(encoder)).map(TextEncoder::network);
    }

    /// The part of a prompt that is cut off because it is too long, by text encoder; empty when all of
    /// it fits.
    public Map<String, String> cut(String prompt) {
        Map<String, String> cut = new LinkedHashMap<>();
        tokenizers.forEach((name, tokenizer) -> {
            ClipTokens tokens = tokenizer.encode(prompt);
            if (tokens.truncated()) {
                cut.put(name, tokens.cut());
            }
        });
        return cut;
    }

    /// Encodes prompts. Stable Diffusion 1 and 2: the last layer through the final norm. SDXL: the last
    /// layer but one of both encoders side by side, and the second one's pooled output.
    public List<Embedding> encode(List<String> prompts) {
        List<Embedding> embeddings = new ArrayList<>(prompts.size());
        for (String prompt : prompts) {
            embeddings.add(encode(prompt));
        }
        return embeddings;
    }

    /// Encodes one prompt, alone: a cached embedding must not depend on its neighbours in a batch.
    public Embedding encode(String prompt) {
        return encode(prompt, 0);
    }

    /// Encodes one prompt.
    ///
    /// @param skip Number of further final encoder layers to skip (clip skip)
    public Embedding encode(String prompt, int skip) {
        boolean xl = family == Family.SDXL || family == Family.SDXL_REFINER;
        List<float[]> hidden = new ArrayList<>();
        float[] pooled = {};
        int tokens = 0;
        for (Map.Entry<String, TextEncoder> encoder : encoders.entrySet()) {
            boolean second = encoder.getKey().equals(SECOND);
            ClipTokens ids = tokenizers.get(encoder.getKey()).encode(prompt);
            tokens = ids.ids().length;
            try (EncodedText encoded = encoder.getValue().encode(List.of(ids), skip + (xl ? 1 : 0), !xl, second)) {
                hidden.add(encoded.hidden().toFloats());
                if (second) {
                    pooled = encoded.pooled().toFloats();
                }
            }
        }
        return new Embedding(tokens, joined(hidden, tokens), pooled);
    }

    /// Joins the rows of several parts side by side.
    private static float[] joined(List<float[]> parts, int rows) {
        if (parts.size() == 1) {
            return parts.getFirst();
        }
        int width = parts.stream().mapToInt(part -> part.length / rows).sum();
        float[] joined = new float[rows * width];
        int at = 0;
        for (float[] part : parts) {
            int own = part.length / rows;
            for (int row = 0; row < rows; row++) {
                System.arraycopy(part, row * own, joined, row * width + at, own);
            }
            at += own;
        }
        return joined;
    }

    @Override
    public void close() {
        owned.closeUnchecked();
    }
}
