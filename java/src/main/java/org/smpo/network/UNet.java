package org.smpo.network;

import java.io.IOException;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelException;
import org.smpo.checkpoint.UNetConfig;
import org.smpo.ffi.Engine;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;
import org.smpo.ffi.UNetSpec;

/// A `UNet2DConditionModel` on an engine's device. Belongs to the engine's thread.
public final class UNet implements AutoCloseable {
    private final UNetConfig config;
    private final NativeModel network;

    private UNet(UNetConfig config, NativeModel network) {
        this.config = config;
        this.network = network;
    }

    /// Loads a component.
    ///
    /// @throws ModelException when it is no UNet, or a weight is not finite
    /// @throws IOException when a file cannot be read
    public static UNet load(Engine engine, Component component, ModelOptions options) throws IOException {
        UNetConfig config = NativeWeights.config(component, UNetConfig.class);
        return new UNet(config, NativeWeights.fill(NativeModel.openUNet(engine, spec(config), options), component));
    }

    static UNetSpec spec(UNetConfig config) {
        return new UNetSpec(
                config.inChannels(),
                config.outChannels(),
                config.blockOutChannels(),
                config.downAttention(),
                config.upAttention(),
                config.layersPerBlock(),
                config.transformerLayers(),
                config.attentionHeads(),
                config.crossAttentionDim(),
                config.useLinearProjection(),
                config.normNumGroups(),
                config.flipSinToCos(),
                config.additionTimeEmbedDim(),
                config.projectionClassEmbeddingsInputDim(),
                config.normEps(),
                config.freqShift());
    }

    /// The architecture.
    public UNetConfig config() {
        return config;
    }

    /// The network itself: predictions, gradients, adapters. It closes with this object.
    public NativeModel network() {
        return network;
    }

    @Override
    public void close() {
        network.close();
    }
}
