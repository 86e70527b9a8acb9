package org.smpo.ffi;

/// The architecture of CLIP's text tower, with the names that transformers uses. The library checks the
/// values when the model is opened.
///
/// @param vocabSize Number of tokens in the vocabulary
/// @param maxPositionEmbeddings Maximum input length in tokens
/// @param hiddenSize Width of the hidden states
/// @param intermediateSize Width inside each MLP
/// @param attentionHeads Number of attention heads
/// @param layers Number of layers
/// @param activation Activation function of each MLP
/// @param projectionDim Width of the projected pooled output; 0: no projection
/// @param eosTokenId Id of the end token: the first token with this id is pooled; 2 (old configs): the
///     token with the largest id is pooled
/// @param layerNormEps Epsilon of each layer norm
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

    /// Checks that the activation is not null.
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
