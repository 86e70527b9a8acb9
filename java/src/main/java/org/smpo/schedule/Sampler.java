package org.smpo.schedule;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/// A sampling rule and its options, by diffusers' names. Each `fromConfig` reads a parsed
/// `scheduler_config.json` (of whatever class) as `Class.from_config` of diffusers 0.42.1 would: an absent key
/// takes this class's default, a key of another class is ignored, and an unsupported option is an error that
/// names it.
public sealed interface Sampler permits Ddim, DpmSolverMultistep, Euler, EulerAncestral, Pndm, UniPc {
    /// The samplers by the names that recipes and command lines use. Those with `_KARRAS` space their levels by
    /// Karras et al., whatever the model's scheduler does.
    enum Kind {
        /// Deterministic (eta 0).
        DDIM(config -> Ddim.fromConfig(config, 0), "DDIMScheduler"),
        EULER(Euler::fromConfig, "EulerDiscreteScheduler"),
        EULER_KARRAS(config -> Euler.fromConfig(withKarras(config)), "Euler Karras"),
        EULER_A(EulerAncestral::fromConfig, "EulerAncestralDiscreteScheduler", "euler_ancestral"),
        DPMPP_2M(DpmSolverMultistep::fromConfig, "DPMSolverMultistepScheduler", "DPM++ 2M"),
        DPMPP_2M_KARRAS(config -> DpmSolverMultistep.fromConfig(withKarras(config)), "DPM++ 2M Karras"),
        UNIPC(UniPc::fromConfig, "UniPCMultistepScheduler", "uni_pc", "uni_pc_bh2"),
        UNIPC_KARRAS(config -> UniPc.fromConfig(withKarras(config)), "UniPC Karras"),
        PNDM(Pndm::fromConfig, "PNDMScheduler", "PLMS");

        private final Function<Map<String, Object>, Sampler> reader;

        /// Names in diffusers and in user interfaces.
        private final List<String> foreignNames;

        Kind(Function<Map<String, Object>, Sampler> reader, String... foreignNames) {
            this.reader = reader;
            this.foreignNames = List.of(foreignNames);
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
                    || foreignNames.stream()
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
            return reader.apply(config);
        }
    }

    TimestepSpacing timestepSpacing();

    int stepsOffset();

    /// Plans a run; see [SamplerPlan#of].
    SamplerPlan plan(NoiseSchedule schedule, int steps);
}
