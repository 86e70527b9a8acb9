package org.smpo.cache;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.smpo.io.Digest;

/// Cache of text encoder outputs by prompt.
public final class TextCache {
    static final String KIND = "text-embeddings";

    private static final String HIDDEN = "hidden";
    private static final String POOLED = "pooled";

    private final Cache cache;
    private final String encoder;
    private final String computation;

    /// @param cache store of the entries
    /// @param encoder digest of the encoder's weights, its config and its tokenizer
    /// @param skip number of layers that are left out at the end
    /// @param computation how the encoder computes (precision, outputs, final norm), in words
    public TextCache(Cache cache, String encoder, int skip, String computation) {
        this.cache = cache;
        this.encoder = encoder;
        this.computation = "skip " + skip + "; " + computation;
    }

    /// The outputs of an encoder for one prompt.
    ///
    /// @param hidden hidden states, float32 [tokens, width]
    /// @param pooled pooled embedding, float32 [width of the projection], if there is one
    public record Embedding(CachedTensor hidden, Optional<CachedTensor> pooled) {}

    CacheKey key(String prompt) {
        return new CacheKey(KIND, encoder, Digest.sha256(prompt.getBytes(StandardCharsets.UTF_8)), computation);
    }

    /// Returns the embeddings of prompts.
    ///
    /// @param compute computes the embeddings that are missing, all at once, in order
    /// @return one per prompt
    public List<Embedding> embeddings(List<String> prompts, Function<List<String>, List<Embedding>> compute)
            throws IOException {
        return cache
                .getOrCompute(
                        prompts.stream().map(this::key).toList(),
                        missing -> compute
                                .apply(missing.stream().map(prompts::get).toList())
                                .stream()
                                .map(TextCache::tensors)
                                .toList())
                .stream()
                .map(tensors -> new Embedding(tensors.get(HIDDEN), Optional.ofNullable(tensors.get(POOLED))))
                .toList();
    }

    private static Map<String, CachedTensor> tensors(Embedding embedding) {
        return embedding.pooled().isPresent()
                ? Map.of(HIDDEN, embedding.hidden(), POOLED, embedding.pooled().get())
                : Map.of(HIDDEN, embedding.hidden());
    }
}
