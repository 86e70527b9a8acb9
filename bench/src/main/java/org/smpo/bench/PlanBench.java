package org.smpo.bench;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.smpo.schedule.FinalSigma;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.Sampler;
import org.smpo.schedule.SamplerPlan;
import org.smpo.schedule.TimestepSampler;
import org.smpo.schedule.TimestepSpacing;

/// What the host pays for its plans: once per optimizer step for a window of 1024 pairs, once per run of a sampler.
/// Beside UNet evaluations of milliseconds all of it should vanish.
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class PlanBench {
    private static final int PAIRS = 1024;
    private static final int STEPS = 50;

    /// A window of the given semantics, with a grid of 10.
    @State(Scope.Benchmark)
    public static class Window {
        @Param({"V020", "V022", "EXACT"})
        public Inversion.Semantics semantics;

        NoiseSchedule schedule;
        TimestepSampler sampler;
        Inversion inversion;
        int[] timesteps;

        /// Draws the window and holds its plan to the plans of its rows, one by one.
        @Setup
        public void prepare() {
            schedule = NoiseSchedule.stableDiffusion();
            sampler = TimestepSampler.uniform(1, 0, schedule.trainTimesteps());
            inversion = Inversion.of(semantics, 10);
            timesteps = sampler.draw(0, PAIRS);
            InversionPlan window = InversionPlan.of(schedule, inversion, timesteps);
            for (int row = 0; row < PAIRS; row++) {
                InversionPlan alone = InversionPlan.of(schedule, inversion, new int[] {timesteps[row]});
                boolean same = alone.steps() == window.steps(row);
                for (int k = 0; same && k < alone.steps(); k++) {
                    int at = window.rowStart(row) + k;
                    same = alone.timestep(k) == window.timestep(at)
                            && alone.sampleCoefficient(k) == window.sampleCoefficient(at)
                            && alone.outputCoefficient(k) == window.outputCoefficient(at);
                }
                if (!same) {
                    throw new IllegalStateException("row " + row + " of the window is not the row planned alone");
                }
            }
        }
    }

    /// One of the four samplers with the options of its common use.
    @State(Scope.Benchmark)
    public static class Run {
        @Param({"DDIM", "EULER", "DPM_SOLVER", "PNDM"})
        public String rule;

        NoiseSchedule schedule;
        Sampler sampler;

        /// Makes the sampler and checks the length of its plan.
        @Setup
        public void prepare() {
            schedule = NoiseSchedule.stableDiffusion();
            sampler = switch (rule) {
                case "DDIM" -> new Sampler.Ddim(TimestepSpacing.LEADING, 1, false, 0);
                case "EULER" -> new Sampler.Euler(TimestepSpacing.LEADING, 1, false, FinalSigma.ZERO);
                case "DPM_SOLVER" ->
                    new Sampler.DpmSolverMultistep(
                            TimestepSpacing.LEADING,
                            1,
                            2,
                            true,
                            false,
                            true,
                            FinalSigma.ZERO,
                            Double.NEGATIVE_INFINITY);
                case "PNDM" -> new Sampler.Pndm(TimestepSpacing.LEADING, 1, false);
                default -> throw new IllegalArgumentException("rule: " + rule);
            };
            int evaluations = SamplerPlan.of(schedule, sampler, STEPS).steps();
            if (evaluations != (sampler instanceof Sampler.Pndm ? STEPS + 1 : STEPS)) {
                throw new IllegalStateException(rule + " plans " + evaluations + " evaluations");
            }
        }
    }

    /// The timesteps of a window.
    @Benchmark
    public int[] drawTimesteps(Window window) {
        return window.sampler.draw(1, PAIRS);
    }

    /// The inversion of a window.
    @Benchmark
    public InversionPlan planInversion(Window window) {
        return InversionPlan.of(window.schedule, window.inversion, window.timesteps);
    }

    /// A sampling run of 50 steps.
    @Benchmark
    public SamplerPlan planSampler(Run run) {
        return SamplerPlan.of(run.schedule, run.sampler, STEPS);
    }
}
