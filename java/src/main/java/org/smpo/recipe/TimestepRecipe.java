package org.smpo.recipe;

import java.util.List;
import java.util.Optional;
import org.smpo.schedule.TimestepSampler;

/// Which training timesteps are drawn.
public sealed interface TimestepRecipe extends Written {
    String KIND = "distribution";

    /// All of `low .. end - 1` alike; 0 to 1000 for a base model, 0 to 200 for SDXL's refiner.
    ///
    /// @param low 0 or more
    /// @param end above low
    record Uniform(int low, int end) implements TimestepRecipe {
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
            return ResolvedText.kind(KIND, "uniform", this);
        }
    }

    /// `low, low + stride, ...`, `count` of them, all alike; 249, 250, 4 for SDXL Turbo's own.
    ///
    /// @param low 0 or more
    /// @param stride 1 or more
    /// @param count 1 or more
    record Spaced(int low, int stride, int count) implements TimestepRecipe {
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
            return ResolvedText.kind(KIND, "spaced", this);
        }
    }

    /// Timestep t in proportion to the t-th weight.
    ///
    /// @param weights one for each training timestep from 0, of 0 or more, not all 0
    record Weighted(List<Double> weights) implements TimestepRecipe {
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
            return ResolvedText.kind(KIND, "weighted", this);
        }
    }

    /// The draws of a run with that seed.
    TimestepSampler sampler(long seed);

    /// The first timestep that is never drawn.
    default int end() {
        return switch (this) {
            case Uniform uniform -> uniform.end;
            case Spaced spaced -> spaced.low() + spaced.stride() * (spaced.count() - 1) + 1;
            case Weighted weighted -> weighted.weights().size();
        };
    }

    static TimestepRecipe read(Section in) throws RecipeException {
        return in.build(() -> switch (in.kind(KIND, List.of("uniform", "spaced", "weighted"), Optional.of("uniform"))) {
            case "spaced" -> new Spaced(in.small("low"), in.small("stride"), in.small("count"));
            case "weighted" -> new Weighted(in.numbers("weights"));
            default -> new Uniform(in.small("low", 0), in.small("end", 1000));
        });
    }
}
