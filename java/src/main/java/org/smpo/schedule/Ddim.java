package org.smpo.schedule;

import java.util.Map;

/// DDIM (Song et al., arXiv 2010.02502).
///
/// @param setAlphaToOne whether the last step ends at level 1 instead of that of timestep 0
/// @param eta 0 is deterministic, 1 has the variance of DDPM
public record Ddim(TimestepSpacing timestepSpacing, int stepsOffset, boolean setAlphaToOne, double eta)
        implements Sampler {
    public Ddim {
        if (!(eta >= 0 && eta <= 1)) {
            throw new IllegalArgumentException("eta: expected 0 to 1, got " + eta);
        }
    }

    /// `eta` is not in the file; diffusers' pipelines take it as an argument.
    public static Ddim fromConfig(Map<String, Object> config, double eta) {
        SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.DDIM.className);
        values.requireOff("clip_sample", true, "clamping latents has no coefficients");
        values.requireOff("thresholding", false, "thresholding latents has no coefficients");
        return new Ddim(
                values.timestepSpacing(TimestepSpacing.LEADING),
                values.integer("steps_offset", 0),
                values.flag("set_alpha_to_one", true),
                eta);
    }

    @Override
    public SamplerPlan plan(NoiseSchedule schedule, int steps) {
        int[] grid = timestepSpacing.grid(schedule.trainTimesteps(), steps, stepsOffset);
        int stride = schedule.trainTimesteps() / steps;
        SamplerPlan plan = new SamplerPlan(this, steps, 1);
        for (int i = 0; i < steps; i++) {
            int t = grid[steps - 1 - i];
            double from = schedule.alphaCumprod(t);
            double to = schedule.alphaBelow(t - stride, setAlphaToOne);
            double variance = (1 - to) / (1 - from) * (1 - from / to);
            plan.timestep[i] = t;
            plan.noise[i] = eta * Math.sqrt(variance);
            LevelChange change = eta == 0
                    ? LevelChange.of(from, to, schedule.predictionType())
                    : LevelChange.of(
                            from, to, Math.sqrt(1 - to - plan.noise[i] * plan.noise[i]), schedule.predictionType());
            plan.sample[i] = change.a();
            plan.history[i * SamplerPlan.MAX_HISTORY] = change.b();
        }
        return plan;
    }
}
