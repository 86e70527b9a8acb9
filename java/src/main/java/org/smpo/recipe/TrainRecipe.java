package org.smpo.recipe;

import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import org.smpo.io.Precision;

/// Optimization.
///
/// @param steps number of optimizer steps
/// @param pairsPerStep global batch size: number of pairs per optimizer step
/// @param microBatch number of pairs per micro-batch, at most [#pairsPerStep] and not necessarily a
///     divisor of it; absent: as many as fit into memory. The result does not depend on it beyond
///     rounding.
/// @param precision precision of the networks; master weights, gradients and the loss are always fp32.
///     Absent: the device's, bf16 on a GPU and fp32 on the CPU
/// @param device `auto`, `cpu`, `cuda` or `cuda:N`; auto: the first GPU that can be used, else the CPU
/// @param threads number of CPU threads; absent: one per physical core
/// @param weights weights to train
/// @param gradientCheckpointing whether the backward pass recomputes activations instead of keeping them
/// @param maxGradNorm largest global norm of the gradients, to which they are clipped; absent: no
///     clipping
/// @param ema decay of the EMA weights per step, from 0 to below 1; absent or 0: no EMA weights
/// @param reference folder of the frozen reference UNet; absent: the model itself
/// @param deterministic whether equal inputs give equal bits on one machine; otherwise the engine may
///     choose faster kernels, and a resumed run differs in its last bits. Written only when false, so
///     that recipes from before this key keep their text.
/// @param shardOptimizer whether the processes of a run share the optimizer's state: each keeps and updates its part
///     (ZeRO stage 1). The numbers are the same. Written only when true.
public record TrainRecipe(
        long steps,
        int pairsPerStep,
        OptionalInt microBatch,
        Optional<Precision> precision,
        String device,
        OptionalInt threads,
        WeightsRecipe weights,
        boolean gradientCheckpointing,
        OptionalDouble maxGradNorm,
        OptionalDouble ema,
        Optional<Path> reference,
        boolean deterministic,
        boolean shardOptimizer)
        implements Written {
    private static final String DETERMINISTIC = "deterministic";
    private static final String PRECISION = "precision";
    private static final String SHARD_OPTIMIZER = "shard_optimizer";

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
        Check.that(device.matches("auto|cpu|cuda(:\\d{1,4})?"), "device", "auto, cpu, cuda or cuda:N", device);
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
                in.choiceOrAuto(PRECISION, Precision.class),
                in.text("device", Section.AUTO),
                in.smallOrAuto("threads", OptionalInt.empty()),
                WeightsRecipe.read(in.kinds("weights", WeightsRecipe.KIND)),
                in.flag("gradient_checkpointing", false),
                in.numberOrNone("max_grad_norm", OptionalDouble.of(1)),
                in.numberOrNone("ema", OptionalDouble.empty()),
                in.pathOrNone("reference"),
                in.flag(DETERMINISTIC, true),
                in.flag(SHARD_OPTIMIZER, false)));
    }

    /// Requires an optimizer whose state processes can share, where they do.
    void checkOptimizer(OptimizerRecipe optimizer) {
        Check.agreement(
                !shardOptimizer || optimizer instanceof OptimizerRecipe.AdamW,
                "train.shard_optimizer",
                "adafactor keeps statistics of whole matrices, which processes cannot share; set this to false, or"
                        + " optimizer.name to adamw");
    }

    /// Whether there are EMA weights.
    public boolean keepsEma() {
        return ema.orElse(0) > 0;
    }

    /// This recipe with another number of steps.
    TrainRecipe withSteps(long newSteps) {
        return with(newSteps, pairsPerStep, device, precision);
    }

    /// This recipe with another global batch size.
    TrainRecipe withPairsPerStep(int pairs) {
        return with(steps, pairs, device, precision);
    }

    /// This recipe with another reference.
    TrainRecipe withReference(Optional<Path> newReference) {
        return new TrainRecipe(
                steps,
                pairsPerStep,
                microBatch,
                precision,
                device,
                threads,
                weights,
                gradientCheckpointing,
                maxGradNorm,
                ema,
                newReference,
                deterministic,
                shardOptimizer);
    }

    /// This recipe on a device, with a precision unless it has one.
    TrainRecipe on(String chosen, Precision usual) {
        return with(steps, pairsPerStep, chosen, Optional.of(precision.orElse(usual)));
    }

    private TrainRecipe with(long newSteps, int pairs, String newDevice, Optional<Precision> newPrecision) {
        return new TrainRecipe(
                newSteps,
                pairs,
                microBatch,
                newPrecision,
                newDevice,
                threads,
                weights,
                gradientCheckpointing,
                maxGradNorm,
                ema,
                reference,
                deterministic,
                shardOptimizer);
    }

    @Override
    public Object written() {
        Map<String, Object> fields = ResolvedText.components(this);
        fields.put("device", device.equals(Section.AUTO) ? new ResolvedText.Word(device) : device);
        if (precision.isEmpty()) {
            fields.put(PRECISION, new ResolvedText.Word(Section.AUTO));
        }
        if (deterministic) {
            fields.remove(DETERMINISTIC);
        }
        if (!shardOptimizer) {
            fields.remove(SHARD_OPTIMIZER);
        }
        return fields;
    }
}
