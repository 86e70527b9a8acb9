package org.smpo.generate;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.Lora;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.checkpoint.UNetConfig;
import org.smpo.schedule.NoiseSchedule;

/// The UNet that predicts the negative side of guidance for a model: `n + w (p - n)`, with the model's
/// prediction p for the prompt and this network's prediction n for its own condition (Diffusion-NPO,
/// arXiv 2505.11245).
public final class NegativeNetwork {
    /// Largest relative difference of two noise levels that differ only in how a file writes its betas.
    private static final double SAME_LEVEL = 1e-6;

    private NegativeNetwork() {}

    /// Returns the UNet of files, checked against the model that it is to be the negative network of.
    /// The model's text encoders and sampler serve both, so the network must take the same conditions
    /// and have the same noise schedule.
    ///
    /// @param negative a whole model, of which only the UNet is used, or a UNet alone
    /// @throws ModelException naming what differs from the model
    /// @throws IOException when a config cannot be read
    public static Component unet(ModelFiles model, ModelFiles negative) throws IOException {
        Component unet = negative.unetOrOnly();
        if (!(unet.config() instanceof UNetConfig config)) {
            throw new ModelException(
                    negative.path(), "negative model", "a Stable Diffusion model or a UNet", unet.className());
        }
        Map<String, Integer> expected = conditions(model.unet());
        Map<String, Integer> found = conditions(config);
        for (Map.Entry<String, Integer> width : expected.entrySet()) {
            if (!width.getValue().equals(found.get(width.getKey()))) {
                throw different(negative, width.getKey(), width.getValue(), found.get(width.getKey()));
            }
        }
        if (negative.family().isPresent()) {
            requireSameSchedule(model.schedule(), negative.schedule(), negative);
        }
        return unet;
    }

    private static Map<String, Integer> conditions(UNetConfig config) {
        Map<String, Integer> all = new LinkedHashMap<>();
        all.put("in_channels", config.inChannels());
        all.put("out_channels", config.outChannels());
        all.put("cross_attention_dim", config.crossAttentionDim());
        all.put("addition_time_embed_dim", config.additionTimeEmbedDim());
        all.put("projection_class_embeddings_input_dim", config.projectionClassEmbeddingsInputDim());
        return all;
    }

    private static void requireSameSchedule(NoiseSchedule expected, NoiseSchedule found, ModelFiles negative)
            throws ModelException {
        if (expected.predictionType() != found.predictionType()) {
            throw different(
                    negative,
                    "prediction_type",
                    expected.predictionType().configName(),
                    found.predictionType().configName());
        }
        if (expected.trainTimesteps() != found.trainTimesteps()) {
            throw different(negative, "num_train_timesteps", expected.trainTimesteps(), found.trainTimesteps());
        }
        for (int t = 0; t < expected.trainTimesteps(); t++) {
            double level = expected.alphaCumprod(t);
            if (Math.abs(found.alphaCumprod(t) - level) > SAME_LEVEL * level) {
                throw different(negative, "betas: alphas_cumprod[" + t + "]", level, found.alphaCumprod(t));
            }
        }
    }

    private static ModelException different(ModelFiles negative, String key, Object expected, Object found) {
        return new ModelException(
                negative.path(), "negative model: " + key, expected + " as the model's", found.toString());
    }

    /// What the metadata of an image records of a negative network.
    ///
    /// @param name name of the network
    public static Map<String, String> metadata(String name, NegativeCondition condition) {
        Map<String, String> metadata = new LinkedHashMap<>();
        metadata.put("negative_model", name);
        metadata.put("negative_condition", condition.id());
        return metadata;
    }

    /// Requires adapters of a UNet alone.
    ///
    /// @throws ModelException naming a module of a text encoder, which the model and its negative network share
    static void requireUNetOnly(Lora lora) throws ModelException {
        for (Lora.Module module : lora.modules().values()) {
            if (!module.component().equals("unet")) {
                throw new ModelException(
                        module.down().origin(),
                        "negative LoRA",
                        "modules of the UNet, since the negative network shares the model's text encoders",
                        module.key());
            }
        }
    }
}
