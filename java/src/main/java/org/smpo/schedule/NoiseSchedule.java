package org.smpo.schedule;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Noise level of each training timestep: `x_t = sqrt(alphas_cumprod[t]) x0 + sqrt(1 -
/// alphas_cumprod[t]) eps`, and what the UNet predicts. Immutable.
///
/// Tables are float64. diffusers builds its own in float32 and its running product rounds at each of
/// 1000 factors: expect relative differences of about 1e-6 in `alphas_cumprod`.
public final class NoiseSchedule {
    /// Numbers of timesteps beyond this are taken for damage, before an array of them is made.
    private static final int MAX_TIMESTEPS = 100_000;

    private final double[] betas;
    private final double[] alphasCumprod;
    private final PredictionType predictionType;
    private final boolean zeroTerminalSnr;
    private final boolean setAlphaToOne;
    private final int stepsOffset;
    private final TimestepSpacing timestepSpacing;

    private NoiseSchedule(
            double[] betas,
            PredictionType predictionType,
            boolean zeroTerminalSnr,
            boolean setAlphaToOne,
            int stepsOffset,
            TimestepSpacing timestepSpacing) {
        for (int t = 0; t < betas.length; t++) {
            if (!(betas[t] > 0 && betas[t] < 1)) {
                throw new IllegalArgumentException(
                        "betas[" + t + "]: expected a number between 0 and 1, both excluded, got " + betas[t]);
            }
        }
        if (stepsOffset < 0) {
            throw new IllegalArgumentException("steps_offset: expected 0 or more, got " + stepsOffset);
        }
        this.betas = zeroTerminalSnr ? rescaleToZeroTerminalSnr(betas) : betas;
        this.alphasCumprod = cumulativeProduct(this.betas);
        this.predictionType = predictionType;
        this.zeroTerminalSnr = zeroTerminalSnr;
        this.setAlphaToOne = setAlphaToOne;
        this.stepsOffset = stepsOffset;
        this.timestepSpacing = timestepSpacing;
    }

    /// The schedule of a parsed diffusers `scheduler_config.json`.
    ///
    /// An absent key takes the default of the class that `_class_name` names, in diffusers 0.42.1. Where
    /// the class has no such parameter (Euler has no `set_alpha_to_one`), the key is read if it is
    /// there, as diffusers' DDIMInverseScheduler reads it from another class's file, and else is
    /// `set_alpha_to_one` true, `steps_offset` 0, `clip_sample` false. (The last one differs from
    /// DDIMInverseScheduler, which then clamps latents that the model's own scheduler never clamped.)
    ///
    /// An unknown class has leading spacing and the defaults above.
    ///
    /// @param config keys and values as a JSON parser gives them: String, Number, Boolean, List, or null
    /// @throws IllegalArgumentException for an unsupported value, naming key and value
    public static NoiseSchedule fromConfig(Map<String, Object> config) {
        if (!(config.get("_class_name") instanceof String className)) {
            throw new IllegalArgumentException(
                    "scheduler_config.json: _class_name: expected the name of a diffusers scheduler, got "
                            + config.get("_class_name"));
        }
        if (className.startsWith("FlowMatch")) {
            throw new IllegalArgumentException("scheduler_config.json: _class_name: expected a scheduler of a diffusion"
                    + " model, got " + className + ", which is for flow matching");
        }
        Optional<SchedulerClass> schedulerClass = SchedulerClass.named(className);
        SchedulerConfig values = new SchedulerConfig(config, className);
        boolean clips = schedulerClass.map(c -> c.clipSample).orElse(false);
        values.requireOff("clip_sample", clips, "clamping latents changes the model and has no coefficients");
        values.requireOff("thresholding", false, "thresholding is for models in pixel space and has no coefficients");
        values.requireOff("use_flow_sigmas", false, "this is a noise schedule of flow matching, not of diffusion");
        boolean rescaled = values.flag("rescale_betas_zero_snr", false);
        if (rescaled && !canRescaleBetas(className)) {
            values.requireOff("rescale_betas_zero_snr", false, className + " cannot rescale its betas");
        }
        boolean alphaToOne = schedulerClass.map(c -> c.setAlphaToOne).orElse(true);
        return new NoiseSchedule(
                betas(values),
                values.predictionType(),
                rescaled,
                values.flag("set_alpha_to_one", alphaToOne),
                values.integer("steps_offset", 0),
                values.timestepSpacing(
                        schedulerClass.map(c -> c.timestepSpacing).orElse(TimestepSpacing.LEADING)));
    }

    /// Whether a scheduler class rescales its betas to zero terminal SNR. An unknown class is assumed
    /// to.
    public static boolean canRescaleBetas(String className) {
        return SchedulerClass.named(className).map(c -> c.canRescaleBetas).orElse(true);
    }

    /// Notices about a parsed `scheduler_config.json`, one line each: its class and its keys if unknown.
    /// Betas, spacing and prediction type are written the same way by every class.
    public static List<String> notices(Map<String, Object> config) {
        List<String> notices = new ArrayList<>();
        if (config.get("_class_name") instanceof String name
                && SchedulerClass.named(name).isEmpty()) {
            notices.add("scheduler_config.json: " + name
                    + " is not known; its betas, timestep spacing and prediction type are used");
        }
        List<String> unknown = SchedulerConfig.unknownKeys(config);
        if (!unknown.isEmpty()) {
            notices.add("scheduler_config.json: unknown keys are ignored: " + String.join(", ", unknown));
        }
        return notices;
    }

    /// A schedule from its parts, with leading spacing, no offset and `set_alpha_to_one` false; see the
    /// `with` methods.
    public static NoiseSchedule of(
            BetaSchedule betaSchedule,
            double betaStart,
            double betaEnd,
            int trainTimesteps,
            PredictionType predictionType) {
        if (trainTimesteps < 1) {
            throw new IllegalArgumentException("num_train_timesteps: expected 1 or more, got " + trainTimesteps);
        }
        double[] betas = betaSchedule.betas(betaStart, betaEnd, trainTimesteps);
        return new NoiseSchedule(betas, predictionType, false, false, 0, TimestepSpacing.LEADING);
    }

    /// The schedule of Stable Diffusion 1.x and SDXL: scaled_linear from 0.00085 to 0.012 over 1000
    /// timesteps, epsilon, leading spacing with offset 1, `set_alpha_to_one` false.
    public static NoiseSchedule stableDiffusion() {
        return of(BetaSchedule.SCALED_LINEAR, 0.00085, 0.012, 1000, PredictionType.EPSILON)
                .withStepsOffset(1);
    }

    private static double[] betas(SchedulerConfig values) {
        int count = values.integer("num_train_timesteps", 1000);
        if (count > MAX_TIMESTEPS) {
            throw new IllegalArgumentException(
                    "scheduler_config.json: num_train_timesteps: expected at most " + MAX_TIMESTEPS + ", got " + count);
        }
        double[] trained = values.trainedBetas();
        if (trained != null) {
            if (trained.length != count) {
                throw new IllegalArgumentException("scheduler_config.json: trained_betas: expected " + count
                        + " numbers (num_train_timesteps), got " + trained.length);
            }
            return trained;
        }
        BetaSchedule betaSchedule = values.betaSchedule();
        if (count < 1) {
            throw new IllegalArgumentException(
                    "scheduler_config.json: num_train_timesteps: expected 1 or more, got " + count);
        }
        return betaSchedule.betas(values.number("beta_start", 0.0001), values.number("beta_end", 0.02), count);
    }

    /// Algorithm 1 of Lin et al. (arXiv 2305.08891): shift and scale the square roots of alphas_cumprod
    /// so that the first stays and the last is zero.
    private static double[] rescaleToZeroTerminalSnr(double[] betas) {
        double[] roots = cumulativeProduct(betas);
        for (int t = 0; t < roots.length; t++) {
            roots[t] = Math.sqrt(roots[t]);
        }
        double first = roots[0];
        double last = roots[roots.length - 1];
        double[] rescaled = new double[betas.length];
        double previous = 1;
        for (int t = 0; t < roots.length; t++) {
            double root = (roots[t] - last) * (first / (first - last));
            rescaled[t] = 1 - root * root / previous;
            previous = root * root;
        }
        return rescaled;
    }

    private static double[] cumulativeProduct(double[] betas) {
        double[] products = new double[betas.length];
        double product = 1;
        for (int t = 0; t < betas.length; t++) {
            product *= 1 - betas[t];
            products[t] = product;
        }
        return products;
    }

    /// The same schedule for a UNet with another prediction type.
    public NoiseSchedule withPredictionType(PredictionType type) {
        return new NoiseSchedule(this, type, setAlphaToOne, stepsOffset, timestepSpacing);
    }

    /// The same schedule with another `steps_offset`.
    public NoiseSchedule withStepsOffset(int offset) {
        return new NoiseSchedule(this, predictionType, setAlphaToOne, offset, timestepSpacing);
    }

    /// The same schedule with another `set_alpha_to_one`.
    public NoiseSchedule withSetAlphaToOne(boolean toOne) {
        return new NoiseSchedule(this, predictionType, toOne, stepsOffset, timestepSpacing);
    }

    /// The same schedule with another `timestep_spacing`.
    public NoiseSchedule withTimestepSpacing(TimestepSpacing spacing) {
        return new NoiseSchedule(this, predictionType, setAlphaToOne, stepsOffset, spacing);
    }

    private NoiseSchedule(
            NoiseSchedule tables,
            PredictionType predictionType,
            boolean setAlphaToOne,
            int stepsOffset,
            TimestepSpacing timestepSpacing) {
        if (stepsOffset < 0) {
            throw new IllegalArgumentException("steps_offset: expected 0 or more, got " + stepsOffset);
        }
        this.betas = tables.betas;
        this.alphasCumprod = tables.alphasCumprod;
        this.zeroTerminalSnr = tables.zeroTerminalSnr;
        this.predictionType = predictionType;
        this.setAlphaToOne = setAlphaToOne;
        this.stepsOffset = stepsOffset;
        this.timestepSpacing = timestepSpacing;
    }

    /// Number of training timesteps; timesteps run from 0 to one less.
    public int trainTimesteps() {
        return betas.length;
    }

    public double beta(int timestep) {
        return betas[timestep];
    }

    /// The share of signal power at a timestep: 1 is clean, 0 is pure noise.
    public double alphaCumprod(int timestep) {
        return alphasCumprod[timestep];
    }

    /// Factor that turns an error of the UNet's prediction at a timestep into one of the clean latents
    /// that the prediction implies. Infinite for a prediction of noise from pure noise.
    public double cleanErrorScale(int timestep) {
        double alpha = alphasCumprod[timestep];
        return switch (predictionType) {
            case EPSILON -> Math.sqrt((1 - alpha) / alpha);
            case V_PREDICTION -> Math.sqrt(1 - alpha);
            case SAMPLE -> 1;
        };
    }

    /// The share of signal power at a timestep, or below timestep 0 the level where a sampler ends: 1 or
    /// that of timestep 0.
    double alphaBelow(int timestep, boolean toOne) {
        if (timestep >= 0) {
            return alphasCumprod[timestep];
        }
        return toOne ? 1 : alphasCumprod[0];
    }

    /// The level assumed for clean latents: 1 with `set_alpha_to_one`, else that of timestep 0.
    public double alphaInit() {
        return setAlphaToOne ? 1 : alphasCumprod[0];
    }

    public PredictionType predictionType() {
        return predictionType;
    }

    /// Whether the betas were rescaled so that the last timestep is pure noise
    /// (`rescale_betas_zero_snr`).
    public boolean zeroTerminalSnr() {
        return zeroTerminalSnr;
    }

    public boolean setAlphaToOne() {
        return setAlphaToOne;
    }

    /// Offset of the timesteps in leading spacing.
    public int stepsOffset() {
        return stepsOffset;
    }

    public TimestepSpacing timestepSpacing() {
        return timestepSpacing;
    }
}
