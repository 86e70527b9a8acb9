package org.smpo.recipe;

import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import org.smpo.io.Precision;

/// The optimization itself.
///
/// @param steps optimizer steps
/// @param pairsPerStep pairs whose gradients make one step, over all micro-batches
/// @param microBatch pairs that go through the network at once, at most [#pairsPerStep] and not necessarily a
///     divisor of it; absent: as many as memory holds. The result does not depend on it beyond rounding.
/// @param precision of the networks' arithmetic; master weights, gradients and the loss are in fp32 always
/// @param device `cpu`, `cuda` or `cuda:N`
/// @param threads of the CPU; absent: one per physical core
/// @param weights what is trained
/// @param gradientCheckpointing whether activations are computed again in the backward pass instead of kept
/// @param maxGradNorm gradients of a greater global norm are scaled down to it; absent: never
/// @param ema decay of a running mean of the weights, per step, from 0 to below 1; absent: no such mean
/// @param reference the frozen UNet that the policy is held against; absent: the model itself
/// @param deterministic whether the same inputs give the same bits on the same machine; otherwise the engine may choose
///     faster kernels, and a resumed run differs in its last bits. Written only when false, so that the text of a
///     recipe from before this key does not change.
public record TrainRecipe(
        long steps,
        int pairsPerStep,
        OptionalInt microBatch,
        Precision precision,
        String device,
        OptionalInt threads,
        WeightsRecipe weights,
        boolean gradientCheckpointing,
        OptionalDouble maxGradNorm,
        OptionalDouble ema,
        Optional<Path> reference,
        boolean deterministic)
        implements Written {
    private static final String DETERMINISTIC = "deterministic";

    /// @throws IllegalArgumentException naming the key whose value is out of range
    public TrainRecipe {
        Check.atLeast(1, "steps", steps);
        Check.atLeast(1, "pairs_per_step", pairsPerStep);
        if (microBatch.isPresent()) {
            Check.atLeast(1, "micro_batch", microBatch.getAsInt());
            Check.that(
                    microBatch.getAsInt() <= pairsPerStep,
                    "micro_batch",
                    "auto, or at most train.pairs_per_step (" + pairsPerStep + ")",
                    microBatch.getAsInt());
        }
        Check.that(device.matches("cpu|cuda(:\\d{1,4})?"), "device", "cpu, cuda or cuda:N", device);
        if (threads.isPresent()) {
            Check.atLeast(1, "threads", threads.getAsInt());
        }
        maxGradNorm.ifPresent(norm -> Check.positive("max_grad_norm", norm));
        ema.ifPresent(decay -> Check.belowOne("ema", decay));
    }

    static TrainRecipe read(Section in) throws RecipeException {
        return in.build(() -> new TrainRecipe(
                in.integer("steps"),
                in.small("pairs_per_step"),
                in.smallOrAuto("micro_batch", OptionalInt.empty()),
                in.choice("precision", Precision.class, Precision.FP32),
                in.text("device", "cpu"),
                in.smallOrAuto("threads", OptionalInt.empty()),
                WeightsRecipe.read(in.kinds("weights", WeightsRecipe.KIND)),
                in.flag("gradient_checkpointing", false),
                in.numberOrNone("max_grad_norm", OptionalDouble.of(1)),
                in.numberOrNone("ema", OptionalDouble.empty()),
                in.pathOrNone("reference"),
                in.flag(DETERMINISTIC, true)));
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        if (deterministic) {
            fields.remove(DETERMINISTIC);
        }
        return fields;
    }
}
