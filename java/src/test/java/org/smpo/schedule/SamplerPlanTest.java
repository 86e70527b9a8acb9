package org.smpo.schedule;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.databind.JsonNode;

class SamplerPlanTest {
    static List<JsonNode> cases() {
        return Golden.cases("samplers.json");
    }

    private static Sampler sampler(String className, Map<String, Object> config, double eta) {
        return switch (className) {
            case "PNDMScheduler" -> Sampler.Pndm.fromConfig(config);
            case "DDIMScheduler" -> Sampler.Ddim.fromConfig(config, eta);
            case "EulerDiscreteScheduler" -> Sampler.Euler.fromConfig(config);
            case "DPMSolverMultistepScheduler" -> Sampler.DpmSolverMultistep.fromConfig(config);
            default -> throw new AssertionError(className);
        };
    }

    @ParameterizedTest
    @MethodSource("cases")
    void runsAsDiffusersDoes(JsonNode golden) {
        Map<String, Object> config = Golden.config(golden.get("config"));
        NoiseSchedule schedule = NoiseSchedule.fromConfig(config);
        Sampler sampler = sampler(
                golden.get("class").asString(), config, golden.get("eta").asDouble());
        for (JsonNode run : Golden.list(golden.get("runs"))) {
            SamplerPlan plan =
                    SamplerPlan.of(schedule, sampler, run.get("steps").asInt());
            double[] got = ToyModel.sample(plan, 0.8);
            double[] want = Golden.doubles(run.get("levels"));
            double[] ts = new double[plan.steps()];
            for (int i = 0; i < ts.length; i++) {
                ts[i] = plan.timestep(i);
            }
            System.out.printf(
                    "DIST %.2e | scale %.2e ts %.2e  f32 %.2e | n %d %s eta %s%n",
                    got.length == want.length ? Golden.distance(got, want) : -1.0,
                    Math.abs(plan.initialNoiseScale()
                            - run.get("initial_noise_scale").asDouble()),
                    got.length == want.length ? Golden.distance(ts, Golden.doubles(run.get("timesteps"))) : -1.0,
                    Math.abs(got[got.length - 1] - run.get("last_float32").asDouble()),
                    run.get("steps").asInt(),
                    sampler,
                    golden.get("eta"));
        }
    }
}
