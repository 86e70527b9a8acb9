package org.smpo.recipe;

import java.util.List;
import java.util.Optional;

/// Weights to train.
public sealed interface WeightsRecipe extends Written {
    String KIND = "type";

    /// Every weight of the UNet.
    record Full() implements WeightsRecipe {
        @Override
        public Object written() {
            return ResolvedText.kind(KIND, "full", this);
        }
    }

    /// Low-rank adapters beside frozen weights: W + (alpha / rank) up down.
    ///
    /// @param rank inner dimension, 1 or more
    /// @param alpha > 0
    /// @param targets the adapted modules
    record Lora(int rank, double alpha, LoraTargets targets) implements WeightsRecipe {
        public Lora {
            Check.atLeast(1, "rank", rank);
            Check.positive("alpha", alpha);
        }

        @Override
        public Object written() {
            return ResolvedText.kind(KIND, "lora", this);
        }
    }

    static WeightsRecipe read(Section in) throws RecipeException {
        return in.build(() -> {
            if (in.kind(KIND, List.of("full", "lora"), Optional.of("full")).equals("full")) {
                return new Full();
            }
            int rank = in.small("rank", 16);
            return new Lora(
                    rank, in.number("alpha", rank), LoraTargets.read(in, "targets", LoraTargets.Preset.ATTENTION));
        });
    }
}
