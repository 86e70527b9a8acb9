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
import org.smpo.schedule.Ddim;
import org.smpo.schedule.DpmSolverMultistep;
import org.smpo.schedule.Euler;
import org.smpo.schedule.FinalSigma;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.Pndm;
import org.smpo.schedule.Sampler;
import org.smpo.schedule.SamplerPlan;
import org.smpo.schedule.TimestepSampler;
import org.smpo.schedule.TimestepSpacing;

/// Host time of plans: once per optimizer step for a batch of 1024 pairs, once per run of a sampler. It
/// should be negligible compared with UNet evaluations of milliseconds.
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class PlanBench {
    private static final int PAIRS = 1024;
    private static final int STEPS = 50;

    /// A batch of pairs with the given semantics and a grid of 10.
    @State(Scope.Benchmark)
    public static class Batch {
        @Param({"V020", "V022", "EXACT"})
        public Inversion.Semantics semantics;

        NoiseSchedule schedule;
        TimestepSampler sampler;
        Inversion inversion;
        int[] timesteps;

        /// Draws the timesteps and compares the batch's plan with the plans of its rows, one by one.
        @Setup
        public void prepare() {
            schedule = NoiseSchedule.stableDiffusion();
            sampler = TimestepSampler.uniform(1, 0, schedule.trainTimesteps());
            inversion = Inversion.of(semantics, 10);
            timesteps = sampler.draw(0, PAIRS);
            InversionPlan batch = InversionPlan.of(schedule, inversion, timesteps);
            for (int row = 0; row < PAIRS; row++) {
                InversionPlan alone = InversionPlan.of(schedule, inversion, new int[] {timesteps[row]});
                boolean same = alone.steps() == batch.steps(row);
                for (int k = 0; same && k < alone.steps(); k++) {
                    int at = batch.rowStart(row) + k;
                    same = alone.timestep(k) == batch.timestep(at)
                            && alone.sampleCoefficient(k) == batch.sampleCoefficient(at)
                            && alone.outputCoefficient(k) == batch.outputCoefficient(at);
                }
                if (!same) {
                    throw new IllegalStateException("row " + row + " of the batch is not the row planned alone");
                }
            }
        }
    }

    /// One of the samplers with its usual options.
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
                case "DDIM" -> new Ddim(TimestepSpacing.LEADING, 1, false, 0);
                case "EULER" -> new Euler(TimestepSpacing.LEADING, 1, false, FinalSigma.ZERO);
                case "DPM_SOLVER" ->
                    new DpmSolverMultistep(
                            TimestepSpacing.LEADING,
                            1,
                            2,
                            true,
                            false,
                            true,
                            FinalSigma.ZERO,
                            Double.NEGATIVE_INFINITY);
                case "PNDM" -> new Pndm(TimestepSpacing.LEADING, 1, false, false);
                default -> throw new IllegalArgumentException("rule: " + rule);
            };
            int evaluations = SamplerPlan.of(schedule, sampler, STEPS).steps();
            if (evaluations != (sampler instanceof Pndm ? STEPS + 1 : STEPS)) {
                throw new IllegalStateException(rule + " plans " + evaluations + " evaluations");
            }
        }
    }

    /// Draws the timesteps of a batch.
    @Benchmark
    public int[] drawTimesteps(Batch batch) {
        return batch.sampler.draw(1, PAIRS);
    }

    /// Plans the inversion of a batch.
    @Benchmark
    public InversionPlan planInversion(Batch batch) {
        return InversionPlan.of(batch.schedule, batch.inversion, batch.timesteps);
    }

    /// Plans a sampling run of 50 steps.
    @Benchmark
    public SamplerPlan planSampler(Run run) {
        return SamplerPlan.of(run.schedule, run.sampler, STEPS);
    }
}
