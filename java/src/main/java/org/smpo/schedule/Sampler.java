package org.smpo.schedule;

import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/// A sampling rule and its options, by diffusers' names. Each `fromConfig` reads a parsed
/// `scheduler_config.json` (of whatever class) as `Class.from_config` of diffusers 0.42.1 would: an absent key
/// takes this class's default, a key of another class is ignored, and an unsupported option is an error that
/// names it.
public sealed interface Sampler permits Ddim, DpmSolverMultistep, Euler, EulerAncestral, Pndm, UniPc {
    /// The samplers by the names that recipes and command lines use. Those with `_KARRAS` space their levels by
    /// Karras et al., whatever the model's scheduler does.
    enum Kind {
        /// Deterministic; see [Ddim] for eta above 0.
        DDIM("DDIMScheduler"),
        EULER("EulerDiscreteScheduler"),
        EULER_KARRAS("Euler Karras"),
        EULER_A("EulerAncestralDiscreteScheduler, euler_ancestral"),
        DPMPP_2M("DPMSolverMultistepScheduler, DPM++ 2M"),
        DPMPP_2M_KARRAS("DPM++ 2M Karras"),
        UNIPC("UniPCMultistepScheduler, uni_pc, uni_pc_bh2"),
        UNIPC_KARRAS("UniPC Karras"),
        PNDM("PNDMScheduler, PLMS");

        /// Names in diffusers and in user interfaces, separated by commas.
        private final String foreignNames;

        Kind(String foreignNames) {
            this.foreignNames = foreignNames;
        }

        /// Returns the sampler of a name.
        ///
        /// @throws IllegalArgumentException for an unknown name, listing the known ones
        public static Kind parse(String name) {
            for (Kind kind : values()) {
                if (kind.id().equals(name)) {
                    return kind;
                }
            }
            String ids = Arrays.stream(values()).map(Kind::id).collect(Collectors.joining(", "));
            String here = Arrays.stream(values())
                    .filter(kind -> kind.isCalled(name))
                    .findFirst()
                    .map(kind -> "; here this is " + kind.id())
                    .orElse("");
            throw new IllegalArgumentException("sampler: expected " + ids + ", got " + name + here);
        }

        private boolean isCalled(String name) {
            return squeezed(id()).equals(squeezed(name))
                    || Arrays.stream(foreignNames.split(",", -1))
                            .anyMatch(foreign -> squeezed(foreign).equals(squeezed(name)));
        }

        /// A name without what people write differently: capitals, spaces, dashes and underscores, and `++` for `pp`.
        private static String squeezed(String name) {
            return name.toLowerCase(Locale.ROOT).replace("++", "pp").replaceAll("[^a-z0-9]", "");
        }

        private static Map<String, Object> withKarras(Map<String, Object> config) {
            return SchedulerConfig.with(config, "use_karras_sigmas", true);
        }

        /// Name in recipes and on command lines.
        public String id() {
            return name().toLowerCase(Locale.ROOT);
        }

        /// This sampler with the options of a model's `scheduler_config.json`.
        ///
        /// @throws IllegalArgumentException naming an option that is not supported
        public Sampler fromConfig(Map<String, Object> config) {
            return switch (this) {
                case DDIM -> Ddim.fromConfig(config, 0);
                case EULER -> Euler.fromConfig(config);
                case EULER_KARRAS -> Euler.fromConfig(withKarras(config));
                case EULER_A -> EulerAncestral.fromConfig(config);
                case DPMPP_2M -> DpmSolverMultistep.fromConfig(config);
                case DPMPP_2M_KARRAS -> DpmSolverMultistep.fromConfig(withKarras(config));
                case UNIPC -> UniPc.fromConfig(config);
                case UNIPC_KARRAS -> UniPc.fromConfig(withKarras(config));
                case PNDM -> Pndm.fromConfig(config);
            };
        }
    }

    TimestepSpacing timestepSpacing();

    int stepsOffset();

    /// Plans a run; see [SamplerPlan#of].
    SamplerPlan plan(NoiseSchedule schedule, int steps);
}
