package org.smpo.network;

import java.io.IOException;
import java.util.List;
import org.smpo.checkpoint.Activation;
import org.smpo.checkpoint.ClipTextConfig;
import org.smpo.checkpoint.Component;
import org.smpo.checkpoint.ModelException;
import org.smpo.ffi.ClipActivation;
import org.smpo.ffi.ClipTextSpec;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.EncodedText;
import org.smpo.ffi.Engine;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.NativeModel;

/// CLIP's text tower on an engine's device. Belongs to the engine's thread.
public final class TextEncoder implements AutoCloseable {
    private final ClipTextConfig config;
    private final NativeModel network;

    private TextEncoder(ClipTextConfig config, NativeModel network) {
        this.config = config;
        this.network = network;
    }

    /// Loads a component.
    ///
    /// @throws ModelException when it is no text tower, or a weight is not finite
    /// @throws IOException when a file cannot be read
    public static TextEncoder load(Engine engine, Component component, ModelOptions options) throws IOException {
        ClipTextConfig config = NativeWeights.config(component, ClipTextConfig.class);
        ClipTextSpec spec = new ClipTextSpec(
                config.vocabSize(),
                config.maxPositionEmbeddings(),
                config.hiddenSize(),
                config.intermediateSize(),
                config.attentionHeads(),
                config.layers(),
                config.activation() == Activation.GELU ? ClipActivation.GELU : ClipActivation.QUICK_GELU,
                config.projectionDim(),
                config.eosTokenId(),
                config.layerNormEps());
        NativeModel network = NativeModel.openClipText(engine, spec, options);
        return new TextEncoder(config, NativeWeights.fill(network, component));
    }

    /// Its architecture.
    public ClipTextConfig config() {
        return config;
    }

    /// The network itself, for adapters. It closes with this.
    public NativeModel network() {
        return network;
    }

    /// Encodes prompts of equal length.
    ///
    /// @param prompts Prompts, at least one
    /// @param skip Number of final layers to skip
    /// @param finalNorm Whether the hidden states pass through the final norm
    /// @param wantPooled Whether to compute the pooled output
    /// @return the caller's to close
    public EncodedText encode(List<ClipTokens> prompts, int skip, boolean finalNorm, boolean wantPooled) {
        int length = prompts.getFirst().ids().length;
        int[] ids = new int[prompts.size() * length];
        for (int i = 0; i < prompts.size(); i++) {
            System.arraycopy(prompts.get(i).ids(), 0, ids, i * length, length);
        }
        try (DeviceTensor tokens = network.engine().fromHost(ids, prompts.size(), length)) {
            return network.encodeText(tokens, skip, finalNorm, wantPooled);
        }
    }

    @Override
    public void close() {
        network.close();
    }
}
