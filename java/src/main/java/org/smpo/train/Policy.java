package org.smpo.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.Engine;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeOptimizer;
import org.smpo.ffi.OptimizerOptions;
import org.smpo.ffi.ParameterInfo;
import org.smpo.ffi.StepOutcome;
import org.smpo.io.Closer;
import org.smpo.io.JsonObject;
import org.smpo.io.Precision;
import org.smpo.network.UNet;
import org.smpo.parallel.Peers;
import org.smpo.recipe.ExportRecipe;
import org.smpo.recipe.InversionRecipe;
import org.smpo.recipe.OptimizerRecipe;
import org.smpo.recipe.Recipe;
import org.smpo.recipe.WeightsRecipe;

/// The UNet in training and everything that accompanies it: the frozen reference, the copy of the EMA
/// weights that inverts or teaches, new adapters, and the optimizer with its state. Belongs to the
/// engine's thread.
final class Policy implements AutoCloseable {
    private final Engine engine;
    private final Recipe recipe;
    private final Closer parts = new Closer();
    private final UNet policy;
    private final UNet reference;
    private Map<String, String> referenceDigests = Map.of();
    private final UNet ema;
    private final Peers peers;
    /// Whether the processes share the optimizer's state.
    private final boolean shared;
    private final NativeOptimizer optimizer;

    /// Loads the networks that the recipe needs.
    ///
    /// @param files the model that training starts from
    /// @param peers processes that train together; the caller keeps ownership
    Policy(Engine engine, ModelFiles files, Recipe recipe, Peers peers) throws IOException {
        this.engine = engine;
        this.recipe = recipe;
        this.peers = peers;
        this.shared = recipe.train().shardOptimizer() && peers.world().size() > 1;
        Precision precision = recipe.train().precision().orElseThrow();
        boolean full = recipe.train().weights() instanceof WeightsRecipe.Full;
        try {
            policy = parts.add(UNet.load(
                    engine,
                    files.component("unet"),
                    new ModelOptions(precision.dtype(), full, recipe.train().gradientCheckpointing())));
            addAdapters(policy);
            reference = openReference(files, full, ModelOptions.frozen(precision.dtype()));
            optimizer = parts.add(peers.openOptimizer(policy.network(), optimizerOptions(recipe), shared));
            ema = openEma(files, ModelOptions.frozen(precision.dtype()));
        } catch (IOException | RuntimeException e) {
            parts.closeAfter(e);
            throw e;
        }
    }

    private void addAdapters(UNet unet) {
        if (recipe.train().weights() instanceof WeightsRecipe.Lora lora) {
            Adapters.add(unet.network(), lora, recipe.seed());
        }
    }

    private UNet openReference(ModelFiles files, boolean full, ModelOptions frozen) throws IOException {
        if (!recipe.objective().loss().needsReference() && !movesLatents(InversionRecipe.Network.REFERENCE)) {
            return null;
        }
        Optional<Path> other = recipe.train().reference();
        if (other.isPresent()) {
            try (ModelFiles its = BaseModel.open(recipe, other.get())) {
                Component unet = its.unetOrOnly();
                referenceDigests = its.digests(unet);
                return parts.add(UNet.load(engine, unet, frozen));
            }
        }
        // With its adapters off, the policy is the reference. Inversions and rollouts use a network as it
        // is, and training full weights overwrites the reference: both cases need a second copy.
        return full || movesLatents(InversionRecipe.Network.REFERENCE)
                ? parts.add(UNet.load(engine, files.component("unet"), frozen))
                : null;
    }

    /// Creates a network like the policy, adapters included, that receives a copy of the EMA weights.
    private UNet openEma(ModelFiles files, ModelOptions frozen) throws IOException {
        if (!movesLatents(InversionRecipe.Network.EMA)) {
            return null;
        }
        UNet copy = parts.add(UNet.load(engine, files.component("unet"), frozen));
        addAdapters(copy);
        return copy;
    }

    private boolean movesLatents(InversionRecipe.Network network) {
        return recipe.latentNetwork().filter(network::equals).isPresent();
    }

    private static OptimizerOptions optimizerOptions(Recipe recipe) {
        OptimizerOptions.Rule rule = switch (recipe.optimizer()) {
            case OptimizerRecipe.AdamW adamw ->
                new OptimizerOptions.AdamW(adamw.beta1(), adamw.beta2(), adamw.eps(), adamw.weightDecay());
            case OptimizerRecipe.Adafactor adafactor ->
                new OptimizerOptions.Adafactor(
                        adafactor.beta1().orElse(0),
                        adafactor.eps1(),
                        adafactor.eps2(),
                        adafactor.clipThreshold(),
                        adafactor.decayRate(),
                        adafactor.weightDecay(),
                        adafactor.scaleParameter(),
                        adafactor.relativeStep(),
                        adafactor.warmupInit());
        };
        return new OptimizerOptions(rule, recipe.train().ema().orElse(0));
    }

    /// Digests of the reference that the recipe names; empty where the policy's own start is the
    /// reference.
    Map<String, String> referenceDigests() {
        return referenceDigests;
    }

    /// The network in training.
    UNet unet() {
        return policy;
    }

    /// The model that training started from, as a network of its own: the reference where that is this
    /// model, else another copy. Empty for adapters, without which the policy is this model.
    ///
    /// @param files the model that training started from
    Optional<UNet> start(ModelFiles files) throws IOException {
        if (!(recipe.train().weights() instanceof WeightsRecipe.Full)) {
            return Optional.empty();
        }
        boolean isReference = reference != null && recipe.train().reference().isEmpty();
        return Optional.of(
                isReference
                        ? reference
                        : parts.add(UNet.load(
                                engine,
                                files.component("unet"),
                                ModelOptions.frozen(
                                        recipe.train().precision().orElseThrow().dtype()))));
    }

    /// The networks of the next step. Copies the EMA weights into the network that inverts or
    /// teaches, where the recipe asks for it.
    Networks networks() {
        if (ema != null) {
            peers.collectively(() -> {
                optimizer.copyEma(ema.network());
                return null;
            });
        }
        UNet inverter = ema != null ? ema : movesLatents(InversionRecipe.Network.REFERENCE) ? reference : null;
        return new Networks(
                policy.network(),
                reference == null ? null : reference.network(),
                inverter == null ? null : inverter.network());
    }

    /// Updates the weights from the gradients accumulated since the last update.
    ///
    /// @param step number of the step, from 0, which determines the learning rate
    /// @param ids names of the step's pairs, for messages
    /// @throws NonFiniteStepException when the gradient is not finite; nothing has changed then
    StepOutcome update(long step, List<String> ids) {
        double rate = recipe.learningRateAt(step);
        double norm = recipe.train().maxGradNorm().orElse(Double.POSITIVE_INFINITY);
        StepOutcome outcome = peers.collectively(() -> optimizer.step(rate, norm));
        if (!outcome.applied()) {
            throw new NonFiniteStepException("the gradient is not finite, first in "
                    + optimizer.findNonFinite().orElse("its norm") + "; pairs of the step: " + String.join(", ", ids));
        }
        return outcome;
    }

    /// Replaces the gradients accumulated since the last update by their sums over all processes.
    void sumGradients() {
        peers.sumGradients(policy.network());
    }

    /// Discards the gradients accumulated since the last update.
    void discardGradients() {
        policy.network().zeroGradients();
    }

    /// Number of trained values.
    long trainedElements() {
        return policy.network().parameters().stream()
                .filter(ParameterInfo::trainable)
                .mapToLong(ParameterInfo::elements)
                .sum();
    }

    /// Writes a checkpoint of weights, optimizer, the given state of the run and the files of its other
    /// parts.
    Checkpoint save(Path checkpoints, long step, Map<String, Object> state, Checkpoint.Part more) throws IOException {
        try (OptimizerStates states = new OptimizerStates(optimizer, peers, shared)) {
            return Checkpoint.write(checkpoints, step, policy.network(), states, state, more);
        }
    }

    /// Takes part in a checkpoint that another process writes.
    void help() {
        new OptimizerStates(optimizer, peers, shared).close();
    }

    /// Size of the optimizer's state in this process, in bytes.
    long optimizerBytes() {
        return optimizer.bytes();
    }

    /// Restores weights and optimizer.
    ///
    /// @return the state of the run that the checkpoint holds
    JsonObject restore(Checkpoint checkpoint) throws IOException {
        return checkpoint.restore(policy.network(), optimizer);
    }

    /// Writes the tuned model of a checkpoint in every format of the recipe, and the EMA weights where
    /// there are any.
    ///
    /// @param metadata entries for files that can hold them
    /// @return the files and folders written
    List<Path> export(Checkpoint checkpoint, Path folder, Map<String, String> metadata) throws IOException {
        Export export = new Export(engine, recipe, metadata);
        List<ExportRecipe.Format> formats = recipe.export().formats();
        List<Path> written = new ArrayList<>(export.write(checkpoint, false, formats, folder, ""));
        if (recipe.train().keepsEma()) {
            written.addAll(export.write(checkpoint, true, formats, folder, "-ema"));
        }
        return written;
    }

    @Override
    public void close() {
        parts.closeUnchecked();
    }
}
