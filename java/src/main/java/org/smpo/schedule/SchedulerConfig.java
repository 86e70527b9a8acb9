package org.smpo.schedule;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/// Typed reads of a parsed `scheduler_config.json`, as one scheduler class would take it: an absent key gives
/// the class's default. Every error names the key, the expected and the found value.
final class SchedulerConfig {
    /// Every parameter of the classes in [SchedulerClass].
    private static final Set<String> KNOWN_KEYS = Set.of(
            "_class_name",
            "_diffusers_version",
            "algorithm_type",
            "beta_end",
            "beta_schedule",
            "beta_start",
            "clip_sample",
            "clip_sample_range",
            "disable_corrector",
            "dynamic_thresholding_ratio",
            "euler_at_final",
            "final_sigmas_type",
            "flow_shift",
            "interpolation_type",
            "lambda_min_clipped",
            "lower_order_final",
            "num_train_timesteps",
            "predict_x0",
            "prediction_type",
            "rescale_betas_zero_snr",
            "sample_max_value",
            "set_alpha_to_one",
            "shift_terminal",
            "sigma_max",
            "sigma_min",
            "skip_prk_steps",
            "solver_order",
            "solver_p",
            "solver_type",
            "steps_offset",
            "thresholding",
            "time_shift_type",
            "timestep_spacing",
            "timestep_type",
            "trained_betas",
            "use_beta_sigmas",
            "use_dynamic_shifting",
            "use_exponential_sigmas",
            "use_flow_sigmas",
            "use_karras_sigmas",
            "use_lu_lambdas",
            "variance_type");

    private final Map<String, Object> values;
    private final String className;

    /// @param className class whose defaults apply, for messages
    SchedulerConfig(Map<String, Object> values, String className) {
        this.values = values;
        this.className = className;
    }

    /// The values with one of them replaced.
    static Map<String, Object> with(Map<String, Object> values, String key, Object value) {
        Map<String, Object> changed = new LinkedHashMap<>(values);
        changed.put(key, value);
        return changed;
    }

    /// Keys that no class in [SchedulerClass] takes.
    static List<String> unknownKeys(Map<String, Object> values) {
        return values.keySet().stream()
                .filter(key -> !KNOWN_KEYS.contains(key))
                .sorted()
                .toList();
    }

    double number(String key, double absent) {
        if (!values.containsKey(key)) {
            return absent;
        }
        if (values.get(key) instanceof Number number) {
            return number.doubleValue();
        }
        throw unexpected(key, "a number", values.get(key));
    }

    int integer(String key, int absent) {
        double value = number(key, absent);
        if (value != Math.rint(value) || Math.abs(value) > Integer.MAX_VALUE) {
            throw unexpected(key, "an integer", values.get(key));
        }
        return (int) value;
    }

    /// False also for an explicit null, as Python's optional flags write it.
    boolean flag(String key, boolean absent) {
        if (!values.containsKey(key)) {
            return absent;
        }
        Object value = values.get(key);
        if (value == null) {
            return false;
        }
        if (value instanceof Boolean flag) {
            return flag;
        }
        throw unexpected(key, "true or false", value);
    }

    boolean has(String key) {
        return values.get(key) != null;
    }

    String text(String key, String absent) {
        if (!values.containsKey(key)) {
            return absent;
        }
        if (values.get(key) instanceof String text) {
            return text;
        }
        throw unexpected(key, "a string", values.get(key));
    }

    PredictionType predictionType() {
        return choice("prediction_type", PredictionType.EPSILON, PredictionType.values(), PredictionType::configName);
    }

    BetaSchedule betaSchedule() {
        return choice("beta_schedule", BetaSchedule.LINEAR, BetaSchedule.values(), BetaSchedule::configName);
    }

    TimestepSpacing timestepSpacing(TimestepSpacing absent) {
        return choice("timestep_spacing", absent, TimestepSpacing.values(), TimestepSpacing::configName);
    }

    FinalSigma finalSigma() {
        return choice("final_sigmas_type", FinalSigma.ZERO, FinalSigma.values(), FinalSigma::configName);
    }

    /// The betas of `trained_betas`, or null if there are none.
    double[] trainedBetas() {
        if (!has("trained_betas")) {
            return null;
        }
        if (!(values.get("trained_betas") instanceof List<?> list)) {
            throw unexpected("trained_betas", "a list of numbers", values.get("trained_betas"));
        }
        double[] betas = new double[list.size()];
        for (int i = 0; i < betas.length; i++) {
            if (!(list.get(i) instanceof Number number)) {
                throw unexpected("trained_betas[" + i + "]", "a number", list.get(i));
            }
            betas[i] = number.doubleValue();
        }
        return betas;
    }

    /// Refuses a flag that is set, by the file or by the class's default.
    void requireOff(String key, boolean absent, String why) {
        if (flag(key, absent)) {
            throw unsupported(key, "false", "true", why);
        }
    }

    void requireOn(String key, boolean absent, String why) {
        if (!flag(key, absent)) {
            throw unsupported(key, "true", "false", why);
        }
    }

    void requireText(String key, String absent, String supported, String why) {
        String value = text(key, absent);
        if (!value.equals(supported)) {
            throw unsupported(key, supported, value, why);
        }
    }

    /// Refuses spacings of levels other than the scheduler's own and that of Karras et al.
    void requireKnownSigmas() {
        requireOff("use_exponential_sigmas", false, "only Karras sigmas are supported");
        requireOff("use_beta_sigmas", false, "only Karras sigmas are supported");
    }

    void requireNoFlowMatching() {
        requireOff("use_flow_sigmas", false, "flow matching is not supported");
        requireOff("use_dynamic_shifting", false, "flow matching is not supported");
    }

    /// Refuses a list with entries.
    void requireEmpty(String key, String why) {
        if (has(key) && !(values.get(key) instanceof List<?> list && list.isEmpty())) {
            throw unsupported(key, "an empty list", String.valueOf(values.get(key)), why);
        }
    }

    /// Text that must be one of several.
    String oneOf(String key, String absent, String... choices) {
        String value = text(key, absent);
        if (!List.of(choices).contains(value)) {
            throw unexpected(key, "one of " + String.join(", ", choices), value);
        }
        return value;
    }

    void requireAbsent(String key, String why) {
        if (has(key)) {
            throw unsupported(key, "nothing", String.valueOf(values.get(key)), why);
        }
    }

    private interface Name<E> {
        String of(E value);
    }

    private <E extends Enum<E>> E choice(String key, E absent, E[] choices, Name<E> name) {
        String value = text(key, name.of(absent));
        List<String> names = new ArrayList<>();
        for (E choice : choices) {
            if (name.of(choice).equals(value)) {
                return choice;
            }
            names.add(name.of(choice));
        }
        throw unexpected(key, "one of " + String.join(", ", names), value);
    }

    private IllegalArgumentException unsupported(String key, String expected, String found, String why) {
        String source = values.containsKey(key) ? "" : " (the key is absent; this is " + className + "'s default)";
        return new IllegalArgumentException(
                "scheduler_config.json: " + key + ": expected " + expected + ", got " + found + source + ": " + why);
    }

    private static IllegalArgumentException unexpected(String key, String expected, Object found) {
        String shown = found instanceof Object[] array ? Arrays.toString(array) : String.valueOf(found);
        return new IllegalArgumentException(
                "scheduler_config.json: " + key + ": expected " + expected + ", got " + shown);
    }
}
