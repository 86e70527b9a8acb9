package org.smpo.checkpoint;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.smpo.io.JsonObject;
import org.smpo.io.TensorFile;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.PredictionType;

/// The marks in a single-file checkpoint that name what its UNet predicts and whether its terminal SNR
/// is zero.
final class SingleFileMarks {
    /// An empty tensor that marks a model that predicts v.
    static final String V_PREDICTION = "v_pred";

    /// An empty tensor that marks a model with zero terminal SNR.
    static final String ZERO_TERMINAL_SNR = "ztsnr";

    /// The marks' names.
    static final Set<String> NAMES = Set.of(V_PREDICTION, ZERO_TERMINAL_SNR);

    /// A bias whose spread tells the SD 2 models apart: its standard deviation is above 0.09 in those
    /// that predict v (comfyanonymous/ComfyUI, comfy/supported_models.py, class SD20).
    private static final String SPREAD = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";

    private static final double SPREAD_OF_V = 0.09;

    private final TensorFile file;
    private final Family family;
    private final Leftovers leftovers;

    SingleFileMarks(TensorFile file, Family family, Leftovers leftovers) {
        this.file = file;
        this.family = family;
        this.leftovers = leftovers;
    }

    /// The scheduler's config with what the file is marked as. The caller's choice wins over the marks,
    /// and the marks over the config; contradictions and guesses are noticed.
    ///
    /// @param chosen Prediction type that the caller chose; null: none
    /// @param given Whether the config is the caller's and not that of the published model
    JsonObject applyTo(JsonObject scheduler, PredictionType chosen, boolean given) throws IOException {
        Map<String, Object> changed = new LinkedHashMap<>(scheduler.asMap());
        Optional<PredictionType> marked = predictionType();
        if (chosen != null) {
            if (marked.isPresent() && marked.get() != chosen) {
                leftovers.notice("prediction type: " + chosen.configName() + " as chosen, though the file is marked "
                        + marked.get().configName());
            }
            changed.put("prediction_type", chosen.configName());
        } else if (marked.isPresent()) {
            Object configured = scheduler.asMap().getOrDefault("prediction_type", "epsilon");
            if (given && !marked.get().configName().equals(configured)) {
                leftovers.notice("prediction type: " + marked.get().configName()
                        + " as the file is marked, though the config says " + configured);
            }
            changed.put("prediction_type", marked.get().configName());
        } else if (!given && family == Family.SD2) {
            changed.put("prediction_type", guess().configName());
        }
        if (file.find(ZERO_TERMINAL_SNR).isPresent() && !Boolean.TRUE.equals(changed.get("rescale_betas_zero_snr"))) {
            if (given) {
                leftovers.notice("zero terminal SNR as the file is marked, though the config does not say so");
            }
            changed.put("rescale_betas_zero_snr", true);
            if (!NoiseSchedule.canRescaleBetas(String.valueOf(changed.get("_class_name")))) {
                changed.put("_class_name", "DDIMScheduler");
                changed.put("timestep_spacing", "trailing");
            }
        }
        return scheduler.with(changed);
    }

    private Optional<PredictionType> predictionType() {
        String name = file.metadata().getOrDefault("modelspec.prediction_type", "");
        if (file.find(V_PREDICTION).isPresent() || name.equals("v") || name.equals("v_prediction")) {
            return Optional.of(PredictionType.V_PREDICTION);
        }
        return name.equals("epsilon") ? Optional.of(PredictionType.EPSILON) : Optional.empty();
    }

    /// The probable prediction type of an SD 2 model without marks.
    private PredictionType guess() throws IOException {
        PredictionType guess = PredictionType.V_PREDICTION;
        String reason = "as the published 768 model";
        if (file.find(SPREAD).isPresent()) {
            double spread =
                    standardDeviation(Weight.of(file, file.entry(SPREAD)).toDoubles());
            guess = spread > SPREAD_OF_V ? PredictionType.V_PREDICTION : PredictionType.EPSILON;
            reason = "judging by the weights";
        }
        leftovers.notice("prediction type: the file is not marked; taken as " + guess.configName() + ", " + reason
                + "; choose another prediction type if that is wrong");
        return guess;
    }

    private static double standardDeviation(double[] values) {
        double mean = 0;
        for (double value : values) {
            mean += value / values.length;
        }
        double squares = 0;
        for (double value : values) {
            squares += (value - mean) * (value - mean) / values.length;
        }
        return Math.sqrt(squares);
    }
}
