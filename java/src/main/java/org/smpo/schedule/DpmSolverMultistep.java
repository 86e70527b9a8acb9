package org.smpo.schedule;

import java.util.Map;

/// DPM-Solver++ in its multistep form with the midpoint rule (Lu et al., arXiv 2211.01095).
///
/// @param solverOrder 1 or 2
/// @param lowerOrderFinal take the last step of a run of fewer than 15 with order 1
/// @param eulerAtFinal take the last step with order 1 however many there are
/// @param karrasSigmas levels spaced by Karras et al. with rho 7, between the last and the first training
///     timestep's
/// @param lambdaMinClipped training timesteps whose half log-SNR is smaller are not visited; minus infinity
///     for all
public record DpmSolverMultistep(
        TimestepSpacing timestepSpacing,
        int stepsOffset,
        int solverOrder,
        boolean lowerOrderFinal,
        boolean eulerAtFinal,
        boolean karrasSigmas,
        FinalSigma finalSigma,
        double lambdaMinClipped)
        implements Sampler {
    /// Runs of fewer steps end with order 1 under `lower_order_final`, a constant of diffusers.
    private static final int FEW_STEPS = 15;

    public DpmSolverMultistep {
        if (solverOrder != 1 && solverOrder != 2) {
            throw new IllegalArgumentException("solver_order: expected 1 or 2, got " + solverOrder);
        }
    }

    public static DpmSolverMultistep fromConfig(Map<String, Object> config) {
        SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.DPM_SOLVER_MULTISTEP.className);
        values.requireOff("thresholding", false, "thresholding latents has no coefficients");
        values.requireText("algorithm_type", "dpmsolver++", "dpmsolver++", "only this algorithm is supported");
        values.requireText("solver_type", "midpoint", "midpoint", "only this solver is supported");
        values.requireKnownSigmas();
        values.requireOff("use_lu_lambdas", false, "only Karras sigmas are supported");
        values.requireNoFlowMatching();
        values.requireAbsent("variance_type", "models that learn their variance are not supported");
        return new DpmSolverMultistep(
                values.timestepSpacing(TimestepSpacing.LINSPACE),
                values.integer("steps_offset", 0),
                values.integer("solver_order", 2),
                values.flag("lower_order_final", true),
                values.flag("euler_at_final", false),
                values.flag("use_karras_sigmas", false),
                values.finalSigma(),
                values.number("lambda_min_clipped", Double.NEGATIVE_INFINITY));
    }

    @Override
    public SamplerPlan plan(NoiseSchedule schedule, int requested) {
        SigmaGrid grid = karrasSigmas
                ? SigmaGrid.karras(schedule, requested)
                : SigmaGrid.solver(schedule, timestepSpacing, stepsOffset, lambdaMinClipped, requested);
        grid.endAt(finalSigma);
        int steps = grid.steps();
        SamplerPlan plan = new SamplerPlan(this, steps, 1);
        for (int i = 0; i < steps; i++) {
            double sigma = grid.sigma(i);
            double next = grid.sigma(i + 1);
            plan.timestep[i] = grid.timestep(i);
            plan.keepCleanLatents(i, sigma, schedule.predictionType());
            plan.sample[i] = grid.noise(i + 1) / grid.noise(i);
            // alpha' (1 - exp(-h)), where h = log(sigma / sigma') is the step in half log-SNR.
            double weight = grid.signal(i + 1) * (1 - next / sigma);
            boolean lowerAtEnd = next == 0 || eulerAtFinal || (lowerOrderFinal && steps < FEW_STEPS);
            boolean first = i == 0 || solverOrder == 1 || (i == steps - 1 && lowerAtEnd);
            double slope = first ? 0 : weight / 2 * (Math.log(sigma / next) / Math.log(grid.sigma(i - 1) / sigma));
            plan.history[i * SamplerPlan.MAX_HISTORY] = weight + slope;
            plan.history[i * SamplerPlan.MAX_HISTORY + 1] = -slope;
        }
        return plan;
    }
}
