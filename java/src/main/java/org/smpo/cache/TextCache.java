package org.smpo.cache;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.smpo.io.Digest;

/// What a text encoder says about prompts.
public final class TextCache {
    static final String KIND = "text-embeddings";

    private static final String HIDDEN = "hidden";
    private static final String POOLED = "pooled";

    private final Cache cache;
    private final String encoder;
    private final String computation;

    /// @param cache where they are kept
    /// @param encoder digest of the encoder's weights and config, and of its tokenizer
    /// @param skip layers that are left out at the end
    /// @param computation how it computed (precision, which outputs, final norm), in words
    public TextCache(Cache cache, String encoder, int skip, String computation) {
        this.cache = cache;
        this.encoder = encoder;
        this.computation = "skip " + skip + "; " + computation;
    }

    /// What an encoder says about one prompt.
    ///
    /// @param hidden float32 [tokens, width]
    /// @param pooled float32 [width of the projection], where it was asked for
    public record Embedding(CachedTensor hidden, Optional<CachedTensor> pooled) {}

    CacheKey key(String prompt) {
        return new CacheKey(KIND, encoder, Digest.sha256(prompt.getBytes(StandardCharsets.UTF_8)), computation);
    }

    /// The embeddings of prompts.
    ///
    /// @param compute those that are not there, all at once, in their order
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
