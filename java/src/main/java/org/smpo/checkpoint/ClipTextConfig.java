package org.smpo.checkpoint;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.smpo.io.JsonObject;

/// A CLIP text tower: transformers' `text_encoder/config.json`, or the `text_config` of a whole CLIP model.
///
/// @param vocabSize Number of rows of the token embedding
/// @param maxPositionEmbeddings Number of tokens of a prompt, 77
/// @param hiddenSize Width of the hidden states
/// @param intermediateSize Width inside the multi-layer perceptrons
/// @param attentionHeads Number of attention heads per layer
/// @param layers Number of transformer layers
/// @param activation Activation of the multi-layer perceptrons
/// @param projectionDim Width of the projected text embedding; 0 without a projection (CLIPTextModel)
/// @param eosTokenId Id of the end token; 2 (old files) means that the end is the largest id
/// @param layerNormEps Epsilon of each layer norm
/// @param json Parsed file
/// @param unknownKeys Keys that CLIPTextConfig does not take
public record ClipTextConfig(
        int vocabSize,
        int maxPositionEmbeddings,
        int hiddenSize,
        int intermediateSize,
        int attentionHeads,
        int layers,
        Activation activation,
        int projectionDim,
        int eosTokenId,
        double layerNormEps,
        JsonObject json,
        List<String> unknownKeys)
        implements ModelConfig {
    static final String WITH_PROJECTION = "CLIPTextModelWithProjection";

    /// Keys of transformers configs that do not affect the computation.
    static final String[] TOLERATED = {
        "architectures",
        "attention_dropout",
        "bos_token_id",
        "dropout",
        "dtype",
        "initializer_factor",
        "initializer_range",
        "logit_scale_init_value",
        "model_type",
        "pad_token_id",
        "torch_dtype",
        "transformers_version",
        "use_cache",
        "gradient_checkpointing"
    };

    public ClipTextConfig {
        unknownKeys = List.copyOf(unknownKeys);
    }

    /// Reads a config.
    ///
    /// @param className CLIPTextModel, CLIPTextModelWithProjection or CLIPModel (the text tower of a whole model,
    ///     which projects); null takes the file's `architectures`, and CLIPTextModel without them
    /// @throws ModelException for a value that we do not support, naming the file, the key, the value and what is
    ///     supported
    /// @throws IOException when the file does not have the structure of a config
    public static ClipTextConfig parse(JsonObject json, String className) throws IOException {
        String type = architecture(json, className, "CLIPTextModel", WITH_PROJECTION, ClipModelConfig.CLASS);
        boolean whole = type.equals(ClipModelConfig.CLASS);
        ConfigReader in = new ConfigReader(ClipModelConfig.section(json, "text_config", whole));
        int hidden = in.integer("hidden_size", 512, 1);
        int heads = in.integer("num_attention_heads", 8, 1);
        in.require(hidden % heads == 0, "num_attention_heads", "a divisor of hidden_size (" + hidden + ")", heads);
        int projection = in.optional("projection_dim", ClipModelConfig.PROJECTION, 1);
        if (whole) {
            projection = new ConfigReader(json).optional("projection_dim", ClipModelConfig.PROJECTION, 1);
        }
        in.tolerate(TOLERATED);
        return new ClipTextConfig(
                in.integer("vocab_size", 49408, 1),
                in.integer("max_position_embeddings", 77, 1),
                hidden,
                in.integer("intermediate_size", 2048, 1),
                heads,
                in.layers("num_hidden_layers", 12),
                Activation.read(in),
                type.equals("CLIPTextModel") ? 0 : projection,
                in.integer("eos_token_id", 49407, 0),
                in.positive("layer_norm_eps", 1e-5),
                json,
                in.unknown());
    }

    static String architecture(JsonObject json, String className, String... supported) throws IOException {
        String type = className;
        if (type == null) {
            List<String> architectures = json.has("architectures") ? json.strings("architectures") : List.of();
            type = architectures.isEmpty() ? supported[0] : architectures.get(0);
        }
        if (!List.of(supported).contains(type)) {
            throw new ModelException(
                    json.source(), "architectures", "one of " + String.join(", ", supported), "\"" + type + "\"");
        }
        return type;
    }

    @Override
    public Map<String, List<Long>> parameters() {
        ParameterTable table = new ParameterTable();
        table.add("text_model.embeddings.token_embedding.weight", (long) vocabSize, (long) hiddenSize);
        table.add("text_model.embeddings.position_embedding.weight", (long) maxPositionEmbeddings, (long) hiddenSize);
        for (int i = 0; i < layers; i++) {
            layer(table, "text_model.encoder.layers." + i, hiddenSize, intermediateSize);
        }
        table.norm("text_model.final_layer_norm", hiddenSize);
        if (projectionDim > 0) {
            table.linear("text_projection", projectionDim, hiddenSize, false);
        }
        return table.shapes();
    }

    static void layer(ParameterTable table, String name, long hidden, long intermediate) {
        for (String projection : List.of("k_proj", "v_proj", "q_proj", "out_proj")) {
            table.linear(name + ".self_attn." + projection, hidden, hidden, true);
        }
        table.norm(name + ".layer_norm1", hidden);
        table.linear(name + ".mlp.fc1", intermediate, hidden, true);
        table.linear(name + ".mlp.fc2", hidden, intermediate, true);
        table.norm(name + ".layer_norm2", hidden);
    }
}
