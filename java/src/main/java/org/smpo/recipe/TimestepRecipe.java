package org.smpo.recipe;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.schedule.TimestepSampler;

/// Distribution of training timesteps. `shared` is written only where it is given, so that recipes from before it keep
/// their text.
public sealed interface TimestepRecipe extends Written {
    String KIND = "distribution";
    String SHARED = "shared";

    /// Uniform over `low .. end - 1`; 0 to 1000 for a base model, 0 to 200 for SDXL's refiner.
    ///
    /// @param low 0 or more
    /// @param end above low
    /// @param shared whether all pairs of a step have the same timestep; empty: as the objective asks
    record Uniform(int low, int end, Optional<Boolean> shared) implements TimestepRecipe {
        public Uniform {
            Check.atLeast(0, "low", low);
            Check.that(end > low, "end", "an integer above low (" + low + ")", end);
        }

        @Override
        public TimestepSampler sampler(long seed) {
            return TimestepSampler.uniform(seed, low, end);
        }

        @Override
        public Object written() {
            return TimestepRecipe.written("uniform", this);
        }
    }

    /// Uniform over `count` timesteps `low, low + stride, ...`; 249, 250, 4 for those of SDXL Turbo.
    ///
    /// @param low 0 or more
    /// @param stride 1 or more
    /// @param count 1 or more
    /// @param shared whether all pairs of a step have the same timestep; empty: as the objective asks
    record Spaced(int low, int stride, int count, Optional<Boolean> shared) implements TimestepRecipe {
        public Spaced {
            Check.atLeast(0, "low", low);
            Check.atLeast(1, "stride", stride);
            Check.atLeast(1, "count", count);
            long last = low + (long) stride * (count - 1);
            Check.that(last <= Integer.MAX_VALUE, "count", "a last timestep within 32 bits", last);
        }

        @Override
        public TimestepSampler sampler(long seed) {
            return TimestepSampler.spaced(seed, low, stride, count);
        }

        @Override
        public Object written() {
            return TimestepRecipe.written("spaced", this);
        }
    }

    /// Timestep t with a probability proportional to the t-th weight.
    ///
    /// @param weights one for each training timestep from 0, of 0 or more, not all 0
    /// @param shared whether all pairs of a step have the same timestep; empty: as the objective asks
    record Weighted(List<Double> weights, Optional<Boolean> shared) implements TimestepRecipe {
        public Weighted {
            weights = List.copyOf(weights);
            double sum = 0;
            for (double weight : weights) {
                Check.notNegative("weights", weight);
                sum += weight;
            }
            Check.that(sum > 0 && sum < Double.POSITIVE_INFINITY, "weights", "a finite sum above 0", sum);
        }

        @Override
        public TimestepSampler sampler(long seed) {
            return TimestepSampler.weighted(
                    seed, weights.stream().mapToDouble(Double::doubleValue).toArray());
        }

        @Override
        public Object written() {
            return TimestepRecipe.written("weighted", this);
        }
    }

    /// The sampler of a run with this seed.
    TimestepSampler sampler(long seed);

    /// Whether all pairs of a step have the same timestep; empty: as the objective asks.
    Optional<Boolean> shared();

    private static Map<String, Object> written(String kind, Record value) {
        Map<String, Object> fields = ResolvedText.kind(KIND, kind, value);
        if (((TimestepRecipe) value).shared().isEmpty()) {
            fields.remove(SHARED);
        }
        return fields;
    }

    /// The end of the range of timesteps, excluded.
    default int end() {
        return switch (this) {
            case Uniform uniform -> uniform.end;
            case Spaced spaced -> spaced.low() + spaced.stride() * (spaced.count() - 1) + 1;
            case Weighted weighted -> weighted.weights().size();
        };
    }

    static TimestepRecipe read(Section in) throws RecipeException {
        return in.build(() -> switch (in.kind(KIND, List.of("uniform", "spaced", "weighted"), Optional.of("uniform"))) {
            case "spaced" -> new Spaced(in.small("low"), in.small("stride"), in.small("count"), shared(in));
            case "weighted" -> new Weighted(in.numbers("weights"), shared(in));
            default -> new Uniform(in.small("low", 0), in.small("end", 1000), shared(in));
        });
    }

    private static Optional<Boolean> shared(Section in) throws RecipeException {
        return in.find(SHARED).isEmpty() ? Optional.empty() : Optional.of(in.flag(SHARED, false));
    }
}
