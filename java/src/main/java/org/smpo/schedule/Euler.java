package org.smpo.schedule;

import java.util.Map;

/// Euler's method on the noise level sigma (Karras et al., arXiv 2206.00364, algorithm 2 without churn).
///
/// @param karrasSigmas levels spaced by Karras et al. with rho 7, between the first and the last of the
///     spacing's own
public record Euler(TimestepSpacing timestepSpacing, int stepsOffset, boolean karrasSigmas, FinalSigma finalSigma)
        implements Sampler {

    public static Euler fromConfig(Map<String, Object> config) {
        SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.EULER.className);
        values.requireText("interpolation_type", "linear", "linear", "only linear is supported");
        values.requireText("timestep_type", "discrete", "discrete", "only discrete timesteps are supported");
        values.requireKnownSigmas();
        values.requireAbsent("sigma_min", "the range of sigmas comes from the timesteps");
        values.requireAbsent("sigma_max", "the range of sigmas comes from the timesteps");
        return new Euler(
                values.timestepSpacing(TimestepSpacing.LINSPACE),
                values.integer("steps_offset", 0),
                values.flag("use_karras_sigmas", false),
                values.finalSigma());
    }

    @Override
    public SamplerPlan plan(NoiseSchedule schedule, int steps) {
        SigmaGrid grid = SigmaGrid.fractional(schedule, timestepSpacing, stepsOffset, steps);
        if (karrasSigmas) {
            grid.spaceByKarras(grid.sigma(0), grid.sigma(steps - 1));
        }
        grid.endAt(finalSigma);
        SamplerPlan plan = new SamplerPlan(this, steps, grid.initialNoiseScale(timestepSpacing));
        for (int i = 0; i < steps; i++) {
            step(plan, i, grid, grid.sigma(i + 1), schedule.predictionType());
        }
        return plan;
    }

    /// Fills the row of one step of Euler's method from the grid's level `i` to `next`.
    static void step(SamplerPlan plan, int i, SigmaGrid grid, double next, PredictionType predictionType) {
        double sigma = grid.sigma(i);
        double change = next - sigma;
        double power = sigma * sigma + 1;
        plan.timestep[i] = grid.timestep(i);
        plan.inputScale[i] = 1 / Math.sqrt(power);
        // x' = x + change (x - x0) / sigma, with x0 = x - sigma epsilon, x / power - sigma v / sqrt(power), or out.
        int own = i * SamplerPlan.MAX_HISTORY;
        switch (predictionType) {
            case EPSILON -> {
                plan.sample[i] = 1;
                plan.history[own] = change;
            }
            case V_PREDICTION -> {
                plan.sample[i] = 1 + change * sigma / power;
                plan.history[own] = change / Math.sqrt(power);
            }
            case SAMPLE -> {
                plan.sample[i] = 1 + change / sigma;
                plan.history[own] = -change / sigma;
            }
        }
    }
}
