package org.smpo.checkpoint;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// The text half of BLIP's image-grounded encoder, as in its `med_config.json`: BERT without token types
/// and pooler, in which every layer also attends to the states of an image.
///
/// @param vocabSize Number of tokens in the vocabulary
/// @param maxPositionEmbeddings Number of positions
/// @param hiddenSize Width of the hidden states
/// @param intermediateSize Width inside the multi-layer perceptrons
/// @param attentionHeads Number of attention heads per layer
/// @param layers Number of transformer layers
/// @param encoderWidth Width of the image's states
/// @param layerNormEps Epsilon of each layer norm
/// @param json Parsed file
/// @param unknownKeys Keys that BLIP does not take
public record BertConfig(
        int vocabSize,
        int maxPositionEmbeddings,
        int hiddenSize,
        int intermediateSize,
        int attentionHeads,
        int layers,
        int encoderWidth,
        double layerNormEps,
        JsonObject json,
        List<String> unknownKeys)
        implements ModelConfig {
    public BertConfig {
        unknownKeys = List.copyOf(unknownKeys);
    }

    /// Reads a `med_config.json`.
    ///
    /// @param encoderWidth Width of the image's states, which takes the place of the file's, as in BLIP
    /// @throws ModelException for a value that we do not support, naming the file, the key and the value
    /// @throws IOException when the file does not have the structure of a config
    static BertConfig parse(JsonObject json, int encoderWidth) throws IOException {
        ConfigReader in = new ConfigReader(json);
        int hidden = in.integer("hidden_size", 768, 1);
        int heads = in.integer("num_attention_heads", 12, 1);
        in.require(hidden % heads == 0, "num_attention_heads", "a divisor of hidden_size (" + hidden + ")", heads);
        in.only("hidden_act", "gelu", "gelu");
        in.only("position_embedding_type", "absolute", "absolute");
        in.only("add_cross_attention", true, true);
        in.tolerate(ClipTextConfig.TOLERATED);
        in.tolerate("attention_probs_dropout_prob", "encoder_width", "hidden_dropout_prob", "type_vocab_size");
        return new BertConfig(
                in.integer("vocab_size", 30524, 1),
                in.integer("max_position_embeddings", 512, 1),
                hidden,
                in.integer("intermediate_size", 3072, 1),
                heads,
                in.layers("num_hidden_layers", 12),
                encoderWidth,
                in.positive("layer_norm_eps", 1e-12),
                json,
                in.unknown());
    }

    @Override
    public Map<String, List<Long>> parameters() {
        ParameterTable table = new ParameterTable();
        table.add("embeddings.word_embeddings.weight", (long) vocabSize, (long) hiddenSize);
        table.add("embeddings.position_embeddings.weight", (long) maxPositionEmbeddings, (long) hiddenSize);
        table.norm("embeddings.LayerNorm", hiddenSize);
        for (int i = 0; i < layers; i++) {
            String layer = "encoder.layer." + i;
            attention(table, layer + ".attention", hiddenSize);
            attention(table, layer + ".crossattention", encoderWidth);
            table.linear(layer + ".intermediate.dense", intermediateSize, hiddenSize, true);
            table.linear(layer + ".output.dense", hiddenSize, intermediateSize, true);
            table.norm(layer + ".output.LayerNorm", hiddenSize);
        }
        return table.shapes();
    }

    private void attention(ParameterTable table, String name, long context) {
        table.linear(name + ".self.query", hiddenSize, hiddenSize, true);
        table.linear(name + ".self.key", hiddenSize, context, true);
        table.linear(name + ".self.value", hiddenSize, context, true);
        table.linear(name + ".output.dense", hiddenSize, hiddenSize, true);
        table.norm(name + ".output.LayerNorm", hiddenSize);
    }
}
