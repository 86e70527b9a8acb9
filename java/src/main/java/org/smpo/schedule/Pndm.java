package org.smpo.schedule;

import java.util.Map;

/// PNDM (Liu et al., arXiv 2202.09778): a linear multistep rule of order 4 (PLMS). Its first steps are either of
/// lower order, where the second timestep is visited twice, or three Runge-Kutta steps of four evaluations.
///
/// @param setAlphaToOne whether the last step ends at level 1 instead of that of timestep 0
/// @param rungeKutta whether the first three steps are Runge-Kutta steps (`skip_prk_steps` false)
public record Pndm(TimestepSpacing timestepSpacing, int stepsOffset, boolean setAlphaToOne, boolean rungeKutta)
        implements Sampler {
    private static final int WARM_UP = 3;

    private static final int STAGES = 4;

    public static Pndm fromConfig(Map<String, Object> config) {
        SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.PNDM.className);
        return new Pndm(
                values.timestepSpacing(TimestepSpacing.LEADING),
                values.integer("steps_offset", 0),
                values.flag("set_alpha_to_one", false),
                !values.flag("skip_prk_steps", false));
    }

    @Override
    public SamplerPlan plan(NoiseSchedule schedule, int steps) {
        if (schedule.predictionType() == PredictionType.SAMPLE) {
            throw new IllegalArgumentException("prediction_type: PNDM takes epsilon or v_prediction, got sample");
        }
        if (schedule.zeroTerminalSnr()) {
            throw new IllegalArgumentException("rescale_betas_zero_snr: PNDM has no such parameter, expected false");
        }
        int[] grid = timestepSpacing.grid(schedule.trainTimesteps(), steps, stepsOffset);
        return rungeKutta ? afterRungeKutta(schedule, grid, steps) : fromLowOrder(schedule, grid, steps);
    }

    private SamplerPlan fromLowOrder(NoiseSchedule schedule, int[] grid, int steps) {
        int stride = schedule.trainTimesteps() / steps;
        int evaluations = steps == 1 ? 1 : steps + 1;
        SamplerPlan plan = new SamplerPlan(this, evaluations, 1);
        for (int i = 0; i < evaluations; i++) {
            // The second timestep is visited twice: step 1 takes step 0 again, with the mean of both ends' outputs.
            boolean again = i == 1;
            int t = grid[steps - 1 - (i < 2 ? i : i - 1)];
            int source = again ? t + stride : t;
            LevelChange change = change(schedule, source, again ? t : t - stride);
            plan.timestep[i] = t;
            plan.saves[i] = i == 0;
            plan.keeps[i] = !again;
            (again ? plan.saved : plan.sample)[i] = change.a();
            weigh(plan, i, change.b(), again ? new double[] {1 / 2.0, 1 / 2.0} : adamsBashforth(Math.max(i, 1)));
        }
        return plan;
    }

    private SamplerPlan afterRungeKutta(NoiseSchedule schedule, int[] grid, int steps) {
        if (steps <= WARM_UP) {
            throw new IllegalArgumentException("steps: expected " + (WARM_UP + 1) + " or more, since PNDM begins with "
                    + WARM_UP + " Runge-Kutta steps (skip_prk_steps is false), got " + steps);
        }
        int stride = schedule.trainTimesteps() / steps;
        int warmUp = WARM_UP * STAGES;
        SamplerPlan plan = new SamplerPlan(this, warmUp + steps - WARM_UP, 1);
        for (int i = 0; i < WARM_UP; i++) {
            rungeKuttaStep(plan, i * STAGES, schedule, grid[steps - 1 - i], grid[steps - 2 - i], stride / 2);
        }
        for (int i = warmUp; i < plan.steps(); i++) {
            int t = grid[steps - 1 - (i - warmUp + WARM_UP)];
            LevelChange change = change(schedule, t, t - stride);
            plan.timestep[i] = t;
            plan.sample[i] = change.a();
            weigh(plan, i, change.b(), adamsBashforth(WARM_UP + 1));
        }
        return plan;
    }

    /// Fills the four rows of a step from timestep `from` to `to`. All of them begin at the latents before the
    /// step: two go about half of the way, two go all of it. Of their outputs only the first stays in the history.
    private void rungeKuttaStep(SamplerPlan plan, int row, NoiseSchedule schedule, int from, int to, int half) {
        int middle = to + half;
        int[] at = {from, middle, middle, to};
        int[] end = {from - half, middle, middle - half, to};
        for (int stage = 0; stage < STAGES; stage++) {
            int i = row + stage;
            LevelChange change = change(schedule, from, end[stage]);
            plan.timestep[i] = at[stage];
            plan.saves[i] = stage == 0;
            plan.keeps[i] = stage < 2;
            if (stage < STAGES - 1) {
                (stage == 0 ? plan.sample : plan.saved)[i] = change.a();
                weigh(plan, i, change.b(), new double[] {1});
            } else {
                // x' = a s + b (h0 / 6 + h1 / 3 + h2 / 3 + out / 6). The latents are x = a s + b h2, which gives h2.
                plan.sample[i] = 1 / 3.0;
                plan.saved[i] = change.a() * 2 / 3;
                weigh(plan, i, change.b(), new double[] {1 / 6.0, 1 / 3.0, 1 / 6.0});
                plan.drops[i] = 1;
            }
        }
    }

    private LevelChange change(NoiseSchedule schedule, int source, int destination) {
        return LevelChange.of(
                schedule.alphaCumprod(source),
                schedule.alphaBelow(destination, setAlphaToOne),
                schedule.predictionType());
    }

    private static void weigh(SamplerPlan plan, int row, double factor, double[] weights) {
        for (int j = 0; j < weights.length; j++) {
            plan.history[row * SamplerPlan.MAX_HISTORY + j] = weights[j] * factor;
        }
    }

    /// Weights of the last outputs, latest first; order 4 at most.
    private static double[] adamsBashforth(int order) {
        return switch (order) {
            case 1 -> new double[] {1};
            case 2 -> new double[] {3 / 2.0, -1 / 2.0};
            case 3 -> new double[] {23 / 12.0, -16 / 12.0, 5 / 12.0};
            default -> new double[] {55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0};
        };
    }
}
