package org.smpo.bench;

import java.io.IOException;
import java.util.List;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.InversionPlan;
import org.smpo.schedule.NoiseSchedule;
import org.smpo.schedule.Pndm;
import org.smpo.schedule.Sampler;
import org.smpo.schedule.SamplerPlan;
import org.smpo.schedule.TimestepSampler;
import org.smpo.schedule.TimestepSpacing;

/// The Java paths that the guard compares with their records: those of the benches of the same names.
/// Must be closed.
final class HotPaths implements AutoCloseable {

    private static final int PAIRS = 256;

    private final DowncallBench downcall = new DowncallBench();
    private final SafetensorsBench safetensors = new SafetensorsBench();

    HotPaths() throws IOException {
        downcall.open();
        safetensors.prepare();
    }

    List<HotPath> all() {
        NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
        int[] timesteps =
                TimestepSampler.uniform(1, 0, schedule.trainTimesteps()).draw(0, PAIRS);
        Inversion exact = Inversion.of(Inversion.Semantics.EXACT, 10);
        Sampler pndm = new Pndm(TimestepSpacing.LEADING, 1, false, false);
        return List.of(
                new HotPath("java/downcall", 50_000, downcall::abiVersion),
                new HotPath("java/inversion_plan/256", 20, () -> InversionPlan.of(schedule, exact, timesteps)),
                new HotPath("java/sampler_plan/pndm50", 200, () -> SamplerPlan.of(schedule, pndm, 50)),
                new HotPath("java/safetensors_open/1700", 2, safetensors::open));
    }

    @Override
    public void close() throws IOException {
        downcall.close();
        safetensors.cleanUp();
    }
}
