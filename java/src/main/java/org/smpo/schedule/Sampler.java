package org.smpo.schedule;

import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/// A sampling rule and its options, by diffusers' names. Each `fromConfig` reads a parsed
/// `scheduler_config.json` (of whatever class) as `Class.from_config` of diffusers 0.42.1 would: an absent key
/// takes this class's default, a key of another class is ignored, and an unsupported option is an error that
/// names it.
public sealed interface Sampler {
    /// The samplers by the names that recipes and command lines use.
    enum Kind {
        DDIM,
        EULER,
        DPMPP_2M,
        PNDM;

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
            throw new IllegalArgumentException("sampler: expected " + ids + ", got " + name);
        }

        /// Name in recipes and on command lines.
        public String id() {
            return name().toLowerCase(Locale.ROOT);
        }

        /// This sampler with the options of a model's `scheduler_config.json`. DDIM is deterministic (eta 0).
        ///
        /// @throws IllegalArgumentException naming an option that is not supported
        public Sampler fromConfig(Map<String, Object> config) {
            return switch (this) {
                case DDIM -> Ddim.fromConfig(config, 0);
                case EULER -> Euler.fromConfig(config);
                case DPMPP_2M -> DpmSolverMultistep.fromConfig(config);
                case PNDM -> Pndm.fromConfig(config);
            };
        }
    }

    TimestepSpacing timestepSpacing();

    int stepsOffset();

    /// DDIM (Song et al., arXiv 2010.02502).
    ///
    /// @param setAlphaToOne whether the last step ends at level 1 instead of that of timestep 0
    /// @param eta 0 is deterministic, 1 has the variance of DDPM
    record Ddim(TimestepSpacing timestepSpacing, int stepsOffset, boolean setAlphaToOne, double eta)
            implements Sampler {
        public Ddim {
            if (!(eta >= 0 && eta <= 1)) {
                throw new IllegalArgumentException("eta: expected 0 to 1, got " + eta);
            }
        }

        /// `eta` is not in the file; diffusers' pipelines take it as an argument.
        public static Ddim fromConfig(Map<String, Object> config, double eta) {
            SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.DDIM.className);
            values.requireOff("clip_sample", true, "clamping latents has no coefficients");
            values.requireOff("thresholding", false, "thresholding latents has no coefficients");
            return new Ddim(
                    values.timestepSpacing(TimestepSpacing.LEADING),
                    values.integer("steps_offset", 0),
                    values.flag("set_alpha_to_one", true),
                    eta);
        }
    }

    /// Euler's method on the noise level sigma (Karras et al., arXiv 2206.00364, algorithm 2 without churn).
    ///
    /// @param karrasSigmas levels spaced by Karras et al. with rho 7, between the first and the last of the
    ///     spacing's own
    record Euler(TimestepSpacing timestepSpacing, int stepsOffset, boolean karrasSigmas, FinalSigma finalSigma)
            implements Sampler {

        public static Euler fromConfig(Map<String, Object> config) {
            SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.EULER.className);
            values.requireText("interpolation_type", "linear", "linear", "only linear is supported");
            values.requireText("timestep_type", "discrete", "discrete", "only discrete timesteps are supported");
            values.requireOff("use_exponential_sigmas", false, "only Karras sigmas are supported");
            values.requireOff("use_beta_sigmas", false, "only Karras sigmas are supported");
            values.requireAbsent("sigma_min", "the range of sigmas comes from the timesteps");
            values.requireAbsent("sigma_max", "the range of sigmas comes from the timesteps");
            return new Euler(
                    values.timestepSpacing(TimestepSpacing.LINSPACE),
                    values.integer("steps_offset", 0),
                    values.flag("use_karras_sigmas", false),
                    values.finalSigma());
        }
    }

    /// DPM-Solver++ in its multistep form with the midpoint rule (Lu et al., arXiv 2211.01095).
    ///
    /// @param solverOrder 1 or 2
    /// @param lowerOrderFinal take the last step of a run of fewer than 15 with order 1
    /// @param eulerAtFinal take the last step with order 1 however many there are
    /// @param karrasSigmas levels spaced by Karras et al. with rho 7, between the last and the first training
    ///     timestep's
    /// @param lambdaMinClipped training timesteps whose half log-SNR is smaller are not visited; minus infinity
    ///     for all
    record DpmSolverMultistep(
            TimestepSpacing timestepSpacing,
            int stepsOffset,
            int solverOrder,
            boolean lowerOrderFinal,
            boolean eulerAtFinal,
            boolean karrasSigmas,
            FinalSigma finalSigma,
            double lambdaMinClipped)
            implements Sampler {
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
            values.requireOff("use_exponential_sigmas", false, "only Karras sigmas are supported");
            values.requireOff("use_beta_sigmas", false, "only Karras sigmas are supported");
            values.requireOff("use_lu_lambdas", false, "only Karras sigmas are supported");
            values.requireOff("use_flow_sigmas", false, "flow matching is not supported");
            values.requireOff("use_dynamic_shifting", false, "flow matching is not supported");
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
    }

    /// The linear multistep half of PNDM (PLMS; Liu et al., arXiv 2202.09778), which visits its second timestep
    /// twice.
    ///
    /// @param setAlphaToOne whether the last step ends at level 1 instead of that of timestep 0
    record Pndm(TimestepSpacing timestepSpacing, int stepsOffset, boolean setAlphaToOne) implements Sampler {

        public static Pndm fromConfig(Map<String, Object> config) {
            SchedulerConfig values = new SchedulerConfig(config, SchedulerClass.PNDM.className);
            values.requireOn("skip_prk_steps", false, "the Runge-Kutta steps are not supported");
            return new Pndm(
                    values.timestepSpacing(TimestepSpacing.LEADING),
                    values.integer("steps_offset", 0),
                    values.flag("set_alpha_to_one", false));
        }
    }
}
