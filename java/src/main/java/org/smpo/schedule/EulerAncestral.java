package org.smpo.schedule;

import java.util.Map;

/// Ancestral sampling with Euler steps on the noise level sigma ("Euler a"): each step goes further down than
/// [Euler] and adds fresh noise to return to the grid.
public record EulerAncestral(TimestepSpacing timestepSpacing, int stepsOffset) implements Sampler {

    public static EulerAncestral fromConfig(Map<String, Object> config) {
        SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.EULER_ANCESTRAL.className);
        return new EulerAncestral(values.timestepSpacing(TimestepSpacing.LINSPACE), values.integer("steps_offset", 0));
    }

    @Override
    public SamplerPlan plan(NoiseSchedule schedule, int steps) {
        if (schedule.predictionType() == PredictionType.SAMPLE) {
            throw new IllegalArgumentException("prediction_type: euler_a takes epsilon or v_prediction, got sample");
        }
        SigmaGrid grid = SigmaGrid.fractional(schedule, timestepSpacing, stepsOffset, steps);
        grid.endAt(FinalSigma.ZERO);
        SamplerPlan plan = new SamplerPlan(this, steps, grid.initialNoiseScale(timestepSpacing));
        for (int i = 0; i < steps; i++) {
            double from = grid.sigma(i);
            double to = grid.sigma(i + 1);
            // Both have the square of `to` as their sum of squares.
            double up = Math.sqrt(to * to * (from * from - to * to) / (from * from));
            double down = Math.sqrt(to * to - up * up);
            Euler.step(plan, i, grid, down, schedule.predictionType());
            plan.noise[i] = up;
        }
        return plan;
    }
}
