package org.smpo.bench;

import java.util.List;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.Sampler;
import org.smpo.schedule.SamplerPlan;
import org.smpo.schedule.TimestepSampler;
import org.smpo.schedule.TimestepSpacing;

/// The Java paths that the guard holds to their figures.
final class HotPaths {

    private HotPaths() {}

    static List<HotPath> all() {
        NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
        int[] window = TimestepSampler.uniform(1, 0, schedule.trainTimesteps()).draw(0, 256);
        Inversion exact = Inversion.of(Inversion.Semantics.EXACT, 10);
        Sampler pndm = new Sampler.Pndm(TimestepSpacing.LEADING, 1, false);
        return List.of(
                new HotPath("java/inversion_plan/256", 40, () -> InversionPlan.of(schedule, exact, window)),
                new HotPath("java/sampler_plan/pndm50", 400, () -> SamplerPlan.of(schedule, pndm, 50)));
    }
}
