package org.smpo.ffi;

/// The architecture of CLIP's text tower, by transformers' names. Values are checked by the library when the model is
/// opened.
///
/// @param vocabSize number of tokens
/// @param maxPositionEmbeddings longest input
/// @param hiddenSize width
/// @param intermediateSize width inside each MLP
/// @param attentionHeads number of heads
/// @param layers number of layers
/// @param activation of each MLP
/// @param projectionDim of the pooled output; 0: no projection
/// @param eosTokenId the pooled token is the first with this id; 2 (old configs): that with the largest id
/// @param layerNormEps of each layer norm
public record ClipTextSpec(
        int vocabSize,
        int maxPositionEmbeddings,
        int hiddenSize,
        int intermediateSize,
        int attentionHeads,
        int layers,
        ClipActivation activation,
        int projectionDim,
        int eosTokenId,
        double layerNormEps)
        implements ClipTowerSpec {

    /// The activation may not be null.
    public ClipTextSpec {
        ClipTowerSpec.check(activation);
    }

    void write(Struct spec) {
        writeTower(spec);
        spec.set("vocab_size", vocabSize);
        spec.set("max_position_embeddings", maxPositionEmbeddings);
        spec.set("eos_token_id", eosTokenId);
    }
}
