package org.smpo.ffi;

/// The architecture of BERT with cross-attention, with the names of BLIP's `med_config.json`. The library
/// checks the values when the model is opened.
///
/// @param vocabSize Number of tokens in the vocabulary
/// @param maxPositionEmbeddings Maximum input length in tokens
/// @param hiddenSize Width of the hidden states
/// @param intermediateSize Width inside each MLP
/// @param attentionHeads Number of attention heads
/// @param layers Number of layers
/// @param encoderWidth Width of the states that every layer attends to
/// @param layerNormEps Epsilon of each layer norm
public record BertSpec(
        int vocabSize,
        int maxPositionEmbeddings,
        int hiddenSize,
        int intermediateSize,
        int attentionHeads,
        int layers,
        int encoderWidth,
        double layerNormEps) {
    void write(Struct spec) {
        spec.set("vocab_size", vocabSize);
        spec.set("max_position_embeddings", maxPositionEmbeddings);
        spec.set("hidden_size", hiddenSize);
        spec.set("intermediate_size", intermediateSize);
        spec.set("attention_heads", attentionHeads);
        spec.set("layers", layers);
        spec.set("encoder_width", encoderWidth);
        spec.set("layer_norm_eps", layerNormEps);
    }
}
