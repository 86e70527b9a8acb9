package org.smpo.generate;

import java.util.Map;
import java.util.stream.IntStream;
import org.smpo.ffi.SamplerTable;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.Sampler;
import org.smpo.schedule.SamplerPlan;

/// The sampling rules, by the names that people give them. Options of each come from the model's scheduler config, as
/// diffusers' `from_config` takes them.
public enum SamplerName {
    DDIM("ddim"),
    EULER("euler"),
    DPMPP_2M("dpmpp_2m"),
    PNDM("pndm");

    private final String id;

    SamplerName(String id) {
        this.id = id;
    }

    /// As a word of a command line.
    public String id() {
        return id;
    }

    /// @throws IllegalArgumentException for an option that we do not support, naming it, or a number of steps that the
    ///     rule cannot take
    SamplerTable table(NoiseSchedule schedule, Map<String, Object> config, int steps) {
        Sampler sampler = switch (this) {
            case DDIM -> Sampler.Ddim.fromConfig(config, 0);
            case EULER -> Sampler.Euler.fromConfig(config);
            case DPMPP_2M -> Sampler.DpmSolverMultistep.fromConfig(config);
            case PNDM -> Sampler.Pndm.fromConfig(config);
        };
        SamplerPlan plan = SamplerPlan.of(schedule, sampler, steps);
        return new SamplerTable(
                plan.initialNoiseScale(),
                IntStream.range(0, plan.steps())
                        .mapToObj(step -> row(plan, step))
                        .toList());
    }

    private static SamplerTable.Row row(SamplerPlan plan, int step) {
        return new SamplerTable.Row(
                plan.saves(step),
                plan.keeps(step),
                plan.timestep(step),
                plan.inputScale(step),
                plan.historySampleCoefficient(step),
                plan.historyOutputCoefficient(step),
                plan.sampleCoefficient(step),
                plan.savedCoefficient(step),
                plan.noiseCoefficient(step),
                IntStream.range(0, SamplerPlan.MAX_HISTORY)
                        .mapToObj(back -> plan.historyCoefficient(step, back))
                        .toList());
    }
}
